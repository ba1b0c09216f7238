"""Bills: issued by the billing run or by hand, paid from the customer's balance, oldest first (rules R24, R25).

Issuing a bill lowers the balance; a bill is paid when what was paid covers it and every older one. What a bill's being paid
leads to is in billing.suspension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, select, text
from sqlalchemy.orm import Session

from billing import accounts, credit, ledger
from billing.customers import get as get_customer
from billing.cycle_grants import align_grants
from billing.events import emit, emit_all
from billing.ledger import Entry, post_sale
from billing.models import Account, Invoice, LedgerTransaction
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind

_LOCK_CUSTOMERS = text("""
    SELECT customer_id FROM billing.customer WHERE customer_id = ANY(:customer_ids) ORDER BY customer_id
    FOR NO KEY UPDATE
""")
_ACCOUNTS_OF = text("SELECT account_id FROM billing.account WHERE customer_id = ANY(:customer_ids)")
# The balance has every bill taken from it already; with the open ones added again it is what there is to pay them with.
_SETTLE = text("""
    WITH open AS (
        SELECT invoice_id, customer_id, currency, amount_minor, issued_at, username
        FROM billing.invoice JOIN billing.account USING (account_id)
        WHERE account_id = ANY(:account_ids) AND paid_at IS NULL AND voided_at IS NULL),
    ordered AS (
        SELECT open.*,
               (SELECT sum(amount_minor) FROM billing.ledger_posting posting
                WHERE posting.customer_id = open.customer_id AND posting.currency = open.currency)
               + sum(amount_minor) OVER (PARTITION BY customer_id, currency)
               - sum(amount_minor) OVER (PARTITION BY customer_id, currency ORDER BY issued_at, invoice_id) AS left_over
        FROM open)
    UPDATE billing.invoice SET paid_at = :now FROM ordered
    WHERE invoice.invoice_id = ordered.invoice_id AND left_over >= 0
    RETURNING invoice.invoice_id, invoice.account_id, username, customer_id, invoice.amount_minor, invoice.currency
""")


class State(StrEnum):
    """What became of a bill."""

    OPEN = "open"
    OVERDUE = "overdue"
    PAID = "paid"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Paid:
    """A bill that was paid just now."""

    invoice_id: int
    account_id: int
    username: str
    customer_id: int
    amount: Money


def bill(
    session: Session,
    *,
    username: str,
    amount: Money,
    due_at: datetime,
    now: datetime,
    billed_by: str,
) -> Invoice:
    """Bill a monthly account: the amount lowers the customer's balance. Raises Refused for another kind (rule R23)."""
    account = accounts.get(session, username)
    if account.kind != AccountKind.MONTHLY:
        raise Refused(f"{username} is {account.kind}; only monthly accounts get bills", "R23")
    if amount.minor <= 0:
        raise InvalidValue("amount", str(amount), "a bill is for more than zero")
    if account.customer_id is not None:
        credit.lock(session, account.customer_id)
    invoice = Invoice(
        account_id=account.account_id,
        amount_minor=amount.minor,
        currency=amount.currency,
        issued_at=now,
        due_at=due_at,
    )
    session.add(invoice)
    session.flush()
    entry = Entry(f"invoice:{invoice.invoice_id}", f"bill to {username}", now, billed_by)
    post_sale(session, entry, amount, account.customer_id)
    emit(session, "invoice.issued", entry.external_key, _payload(invoice, username), now, account.customer_id)
    return invoice


def get(session: Session, invoice_id: int, *, lock: bool = False) -> Invoice:
    """Return a bill by its number. Raises InvalidValue."""
    found = session.get(Invoice, invoice_id, with_for_update=lock or None, populate_existing=lock)
    if found is None:
        raise InvalidValue("invoice", invoice_id, "there is no such bill; `herotill invoice list` shows them")
    return found


def listing(session: Session, account: Account) -> list[Invoice]:
    """Return an account's bills, newest first."""
    query = select(Invoice).where(Invoice.account_id == account.account_id)
    return list(session.scalars(query.order_by(Invoice.issued_at.desc(), Invoice.invoice_id.desc())))


SORT_KEYS: SortKeys = {
    "user": Account.username,
    "amount": Invoice.amount_minor,
    "issued_at": Invoice.issued_at,
    "due_at": Invoice.due_at,
    "paid_at": Invoice.paid_at,
}


def search(
    session: Session,
    *,
    reference: str = "",
    state: State | None = None,
    now: datetime,
    page: Page = FIRST_PAGE,
) -> list[Invoice]:
    """Return bills, newest first; of the customer or account this reference names, and of one state."""
    query = select(Invoice).join(Invoice.account)
    if reference:
        query = query.where(Account.customer_id == get_customer(session, reference).customer_id)
    if state is not None:
        query = query.where(*_in_state(state, now))
    newest_first = (Invoice.issued_at.desc(), Invoice.invoice_id.desc())
    return list(session.scalars(paged(query, page, SORT_KEYS, *newest_first)))


def state_of(invoice: Invoice, now: datetime) -> State:
    """Return what became of a bill."""
    if invoice.voided_at is not None:
        return State.VOID
    if invoice.paid_at is not None:
        return State.PAID
    return State.OVERDUE if invoice.due_at <= now else State.OPEN


def void(session: Session, *, invoice_id: int, reason: str, now: datetime, voided_by: str) -> Invoice:
    """Take an open bill back: its ledger entry is reversed, what it was for stays. Raises Refused for one that is not open.

    Then call billing.suspension.settle, which ends what it was the cause of.
    """
    if not reason.strip() or not reason.isprintable():
        raise InvalidValue("reason", reason, "it says in one line why")
    owner = get(session, invoice_id).account.customer_id
    if owner is not None:
        credit.lock(session, owner)
    invoice = get(session, invoice_id, lock=True)
    if not invoice.is_open:
        raise Refused(f"bill {invoice_id} is {state_of(invoice, now)}; only an open one can be voided", "R25")
    entry = session.scalars(
        select(LedgerTransaction).where(LedgerTransaction.external_key == f"invoice:{invoice_id}")
    ).one_or_none()
    if entry is not None:
        why = Entry("", f"bill {invoice_id} voided: {reason}", now, voided_by)
        ledger.reverse(session, transaction_id=entry.transaction_id, reason=why)
    invoice.voided_at, invoice.voided_by, invoice.void_reason = now, voided_by, reason
    align_grants(session, [invoice.account_id], now)
    emit(
        session,
        "invoice.voided",
        f"invoice.voided:{invoice_id}",
        _payload(invoice, invoice.account.username),
        now,
        owner,
    )
    return invoice


def postpone(session: Session, *, invoice_id: int, due_at: datetime, now: datetime) -> Invoice:
    """Give an open bill another payment date: till then it suspends nobody, and what it is for goes on."""
    invoice = get(session, invoice_id, lock=True)
    if not invoice.is_open:
        raise Refused(
            f"bill {invoice_id} is {state_of(invoice, now)}; only an open one has a payment date", "R24"
        )
    if due_at <= now:
        raise InvalidValue("due", due_at.isoformat(), "it is in the future")
    invoice.due_at = due_at
    align_grants(session, [invoice.account_id], now)
    return invoice


def settle(session: Session, customer_ids: Sequence[int], now: datetime) -> list[Paid]:
    """Pay these customers' open bills as far as their balances reach, oldest first, and return which were paid.

    A bill that is not covered stops those after it. Locks the customers.
    """
    if not customer_ids:
        return []
    session.flush()
    lock_customers(session, customer_ids)
    values = {"customer_ids": list(customer_ids), "now": now}
    account_ids = session.execute(_ACCOUNTS_OF, values).scalars().all()
    rows = session.execute(_SETTLE, values | {"account_ids": account_ids}).all()
    paid = sorted((_paid(row) for row in rows), key=lambda each: each.invoice_id)
    if paid:
        session.expire_all()
    happened = [  # one that was opened again is paid again
        (f"invoice.paid:{each.invoice_id}:{now.isoformat()}", _paid_payload(each), each.customer_id)
        for each in paid
    ]
    emit_all(session, "invoice.paid", happened, now)
    return paid


def lock_customers(session: Session, customer_ids: Sequence[int]) -> None:
    """Hold many customers, in the one order."""
    session.execute(_LOCK_CUSTOMERS, {"customer_ids": list(customer_ids)})


def _in_state(state: State, now: datetime) -> list[ColumnElement[bool]]:
    is_open: list[ColumnElement[bool]] = [Invoice.paid_at.is_(None), Invoice.voided_at.is_(None)]
    match state:
        case State.OPEN:
            return is_open
        case State.OVERDUE:
            return [*is_open, Invoice.due_at <= now]
        case State.PAID:
            return [Invoice.paid_at.is_not(None)]
        case State.VOID:
            return [Invoice.voided_at.is_not(None)]


def _paid(row: Row[Any]) -> Paid:
    amount = Money(row.amount_minor, row.currency)
    return Paid(row.invoice_id, row.account_id, row.username, row.customer_id, amount)


def _paid_payload(paid: Paid) -> dict[str, object]:
    return {
        "invoice": paid.invoice_id,
        "user": paid.username,
        "amount_minor": paid.amount.minor,
        "currency": paid.amount.currency,
    }


def _payload(invoice: Invoice, username: str) -> dict[str, object]:
    return {
        "invoice": invoice.invoice_id,
        "user": username,
        "amount_minor": invoice.amount_minor,
        "currency": invoice.currency,
        "due_at": invoice.due_at,
    }
