"""The ledger: double entry, append-only, sums to zero, once per external key (rule R25).

A positive amount is credit, a negative one debit. A customer's balance is the sum of that customer's postings: what has
been paid raises it, what was bought lowers it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.models import LedgerPosting, LedgerTransaction
from herotill.errors import Refused
from herotill.quantities import Money

CASH = "cash"
SALES = "sales"
CUSTOMER = "customer"


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened, when, and who wrote it down; `external_key` makes it happen once."""

    external_key: str
    description: str
    occurred_at: datetime
    recorded_by: str


@dataclass(frozen=True, slots=True)
class Posting:
    """One side: cash, sales, or the customer with this id."""

    ledger_account: str
    amount_minor: int
    currency: str
    customer_id: int | None = None


def post(session: Session, entry: Entry, postings: Sequence[Posting]) -> bool:
    """Record one balanced transaction; False when its key was recorded before. Raises Refused when it does not balance."""
    _check_balance(postings)
    new = insert(LedgerTransaction).values(
        external_key=entry.external_key,
        description=entry.description,
        occurred_at=entry.occurred_at,
        recorded_by=entry.recorded_by,
    )
    added = session.execute(new.on_conflict_do_nothing().returning(LedgerTransaction.transaction_id)).scalar()
    if added is None:
        return False
    for posting in postings:
        session.add(_row(added, posting))
    session.flush()
    return True


def post_payment(session: Session, entry: Entry, amount: Money, customer_id: int) -> bool:
    """Record money received: it raises the customer's balance."""
    return _move(session, entry, amount, (CASH, None), (CUSTOMER, customer_id))


def post_sale(session: Session, entry: Entry, price: Money, customer_id: int | None) -> bool:
    """Record a sale: it lowers the customer's balance, or takes cash where nobody is in the books. Nothing for free."""
    payer = (CASH, None) if customer_id is None else (CUSTOMER, customer_id)
    return _move(session, entry, price, payer, (SALES, None))


def balances(session: Session, customer_id: int) -> list[Money]:
    """Return the customer's balance in each currency there ever was a posting in."""
    total = select(LedgerPosting.currency, func.sum(LedgerPosting.amount_minor)).where(
        LedgerPosting.customer_id == customer_id
    )
    rows = session.execute(total.group_by(LedgerPosting.currency).order_by(LedgerPosting.currency))
    return [Money(int(amount), currency) for currency, amount in rows]


def balance(session: Session, customer_id: int, currency: str) -> Money:
    """Return the customer's balance in one currency."""
    known = {money.currency: money for money in balances(session, customer_id)}
    return known.get(currency, Money(0, currency))


def _move(
    session: Session,
    entry: Entry,
    amount: Money,
    debit: tuple[str, int | None],
    credit: tuple[str, int | None],
) -> bool:
    if amount.minor == 0:
        return False
    sides = ((debit, -amount.minor), (credit, amount.minor))
    return post(
        session, entry, [Posting(name, minor, amount.currency, owner) for (name, owner), minor in sides]
    )


def _check_balance(postings: Sequence[Posting]) -> None:
    sums: dict[str, int] = {}
    for posting in postings:
        sums[posting.currency] = sums.get(posting.currency, 0) + posting.amount_minor
    if not postings or any(sums.values()):
        raise Refused(f"a ledger transaction must sum to zero, this one sums to {sums}", "R25")


def _row(transaction_id: int, posting: Posting) -> LedgerPosting:
    return LedgerPosting(
        transaction_id=transaction_id,
        ledger_account=posting.ledger_account,
        customer_id=posting.customer_id,
        amount_minor=posting.amount_minor,
        currency=posting.currency,
    )
