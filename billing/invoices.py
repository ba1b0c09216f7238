"""Bills. Just what suspension for an unpaid one needs (rule R24); the billing run comes with the recurring plans."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import accounts
from billing.ledger import Entry, post_sale
from billing.models import Account, Invoice
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind


def bill(
    session: Session, *, username: str, amount: Money, due_at: datetime, now: datetime, billed_by: str
) -> Invoice:
    """Bill a monthly account: the amount lowers the customer's balance. Raises Refused for another kind (rule R23)."""
    account = accounts.get(session, username, lock=True)
    if account.kind != AccountKind.MONTHLY:
        raise Refused(f"{username} is {account.kind}; only monthly accounts get bills", "R23")
    if amount.minor <= 0:
        raise InvalidValue("amount", str(amount), "a bill is for more than zero")
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
    return invoice


def listing(session: Session, account: Account) -> list[Invoice]:
    """Return an account's bills, newest first."""
    query = select(Invoice).where(Invoice.account_id == account.account_id)
    return list(session.scalars(query.order_by(Invoice.issued_at.desc(), Invoice.invoice_id.desc())))
