"""The ledger: double entry, append-only, sums to zero, once per external key (rule R25).

A positive amount is credit, a negative one debit. A customer's balance is the sum of that customer's postings: what has
been paid raises it, what was bought lowers it. A reseller's likewise. The first word of an external key says what happened
(`Kind`). Nothing is changed: a mistake is reversed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.models import LedgerPosting, LedgerTransaction
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money

CASH = "cash"
SALES = "sales"
CUSTOMER = "customer"
RESELLER = "reseller"
UNMATCHED = "unmatched"  # money that came in, and nobody knows from whom
COMMISSION = "commission"  # what resellers earned


class Kind(StrEnum):
    """What a ledger transaction records."""

    PAYMENT = "payment"
    SALE = "sale"
    INVOICE = "invoice"
    REFUND = "refund"
    REVERSAL = "reversal"
    OTHER = "other"


KIND_OF_KEY = {
    "payment": Kind.PAYMENT,
    "purchase": Kind.SALE,
    "voucher": Kind.SALE,
    "batch": Kind.SALE,
    "invoice": Kind.INVOICE,
    "refund": Kind.REFUND,
    "reversal": Kind.REVERSAL,
}


def kind_of(external_key: str) -> Kind:
    """Read from a key what was recorded under it."""
    return KIND_OF_KEY.get(external_key.split(":", 1)[0], Kind.OTHER)


@dataclass(frozen=True, slots=True)
class Entry:
    """What happened, when, and who wrote it down; `external_key` makes it happen once."""

    external_key: str
    description: str
    occurred_at: datetime
    recorded_by: str


@dataclass(frozen=True, slots=True)
class Posting:
    """One side: where money lies, what was earned, or the customer or reseller with this id."""

    ledger_account: str
    amount_minor: int
    currency: str
    customer_id: int | None = None
    reseller_id: int | None = None


def post(session: Session, entry: Entry, postings: Sequence[Posting]) -> bool:
    """Record one balanced transaction; False when its key was recorded before. Raises Refused when it does not balance."""
    return _add(session, entry, postings) is not None


def reverse(session: Session, *, transaction_id: int, reason: Entry) -> LedgerTransaction:
    """Undo a transaction by its opposite, once; `reason` says who and why (its key is ours). Returns the reversal.

    Raises InvalidValue when there is no such transaction, Refused for a reversal or one that was reversed before.
    """
    wrong = get(session, transaction_id)
    if wrong.reverses_id is not None:
        raise Refused(f"transaction {transaction_id} is itself a reversal; enter what is right anew", "R25")
    opposite = [
        Posting(side.ledger_account, -side.amount_minor, side.currency, side.customer_id, side.reseller_id)
        for side in postings_of(session, wrong)
    ]
    entry = replace(reason, external_key=f"reversal:{transaction_id}")
    added = _add(session, entry, opposite, reverses_id=transaction_id)
    if added is None:
        raise Refused(f"transaction {transaction_id} was reversed before", "R25")
    return session.get_one(LedgerTransaction, added)


def get(session: Session, transaction_id: int) -> LedgerTransaction:
    """Return a transaction. Raises InvalidValue."""
    query = select(LedgerTransaction).where(LedgerTransaction.transaction_id == transaction_id)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise InvalidValue("transaction", transaction_id, "there is none; `herotill ledger list` shows them")
    return found


def is_recorded(session: Session, external_key: str) -> bool:
    """Tell whether something was recorded under this key."""
    query = select(LedgerTransaction.transaction_id).where(LedgerTransaction.external_key == external_key)
    return session.scalar(query) is not None


def postings_of(session: Session, transaction: LedgerTransaction) -> list[LedgerPosting]:
    """Return the sides of a transaction."""
    sides = select(LedgerPosting).where(LedgerPosting.transaction_id == transaction.transaction_id)
    return list(session.scalars(sides.order_by(LedgerPosting.posting_id)))


def post_payment(session: Session, entry: Entry, amount: Money, customer_id: int, into: str = CASH) -> bool:
    """Record money received: it raises the customer's balance."""
    return _move(session, entry, amount, (into, None), (CUSTOMER, customer_id))


def post_sale(session: Session, entry: Entry, price: Money, customer_id: int | None) -> bool:
    """Record a sale: it lowers the customer's balance, or takes cash where nobody is in the books. Nothing for free."""
    payer = (CASH, None) if customer_id is None else (CUSTOMER, customer_id)
    return _move(session, entry, price, payer, (SALES, None))


def balances(session: Session, customer_id: int) -> list[Money]:
    """Return the customer's balance in each currency there ever was a posting in."""
    return _sums(session, LedgerPosting.customer_id == customer_id)


def balances_of_reseller(session: Session, reseller_id: int) -> list[Money]:
    """Return the reseller's balance in each currency there ever was a posting in."""
    return _sums(session, LedgerPosting.reseller_id == reseller_id)


def _sums(session: Session, whose: ColumnElement[bool]) -> list[Money]:
    total = select(LedgerPosting.currency, func.sum(LedgerPosting.amount_minor)).where(whose)
    rows = session.execute(total.group_by(LedgerPosting.currency).order_by(LedgerPosting.currency))
    return [Money(int(amount), currency) for currency, amount in rows]


def balance(session: Session, customer_id: int, currency: str) -> Money:
    """Return the customer's balance in one currency."""
    return in_currency(balances(session, customer_id), currency)


def in_currency(amounts: Sequence[Money], currency: str) -> Money:
    """Return the amount that is in this currency, or none of it."""
    return next((money for money in amounts if money.currency == currency), Money(0, currency))


def _add(
    session: Session, entry: Entry, postings: Sequence[Posting], reverses_id: int | None = None
) -> int | None:
    _check_balance(postings)
    new = insert(LedgerTransaction).values(
        external_key=entry.external_key,
        description=entry.description,
        occurred_at=entry.occurred_at,
        recorded_by=entry.recorded_by,
        reverses_id=reverses_id,
    )
    added = session.scalar(new.on_conflict_do_nothing().returning(LedgerTransaction.transaction_id))
    if added is not None:
        session.add_all(_row(added, posting) for posting in postings)
        session.flush()
    return added


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
        reseller_id=posting.reseller_id,
        amount_minor=posting.amount_minor,
        currency=posting.currency,
    )
