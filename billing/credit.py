"""Credit lines of customers and how each stands, read from the ledger (rule R26). What that allows: herotill.credit."""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing import ledger
from billing.models import CreditLine as CreditLineRow
from billing.models import Customer
from herotill.credit import CreditLine, Standing
from herotill.quantities import Money

# Payments settle the oldest debts, so what is owed was bought last: go back from the newest debit until they make up the
# debt. What was reversed, and its reversal, never happened.
_OWED_SINCE = text("""
    SELECT occurred_at FROM (
        SELECT entry.occurred_at,
               sum(-posting.amount_minor) OVER (ORDER BY entry.occurred_at DESC, posting.posting_id DESC) AS owed_by_then
        FROM billing.ledger_posting posting JOIN billing.ledger_transaction entry USING (transaction_id)
        WHERE posting.customer_id = :customer_id AND posting.currency = :currency AND posting.amount_minor < 0
          AND entry.reverses_id IS NULL
          AND NOT EXISTS (SELECT FROM billing.ledger_transaction WHERE reverses_id = entry.transaction_id)
    ) AS debit
    WHERE owed_by_then >= :owed ORDER BY owed_by_then LIMIT 1
""")


def grant(session: Session, *, customer: Customer, line: CreditLine, now: datetime, granted_by: str) -> None:
    """Let a customer buy now and pay later; it replaces the line there was."""
    values = {
        "customer_id": customer.customer_id,
        "limit_minor": line.limit.minor,
        "currency": line.limit.currency,
        "overdue_after_seconds": line.overdue_after_seconds,
        "granted_at": now,
        "granted_by": granted_by,
    }
    lock(session, customer.customer_id)
    new = insert(CreditLineRow).values(values)
    session.execute(new.on_conflict_do_update(index_elements=["customer_id"], set_=values))
    session.expire_all()


def withdraw(session: Session, *, customer: Customer) -> None:
    """Lend nothing more. What is owed stays owed."""
    lock(session, customer.customer_id)
    line = _row(session, customer.customer_id)
    if line is not None:
        session.delete(line)
        session.flush()


def line_of(session: Session, customer_id: int) -> CreditLine | None:
    """Return the customer's credit line."""
    row = _row(session, customer_id)
    return (
        None if row is None else CreditLine(Money(row.limit_minor, row.currency), row.overdue_after_seconds)
    )


def standing(session: Session, customer_id: int, currency: str) -> Standing:
    """Return how a customer stands in one currency. A line in another currency lends nothing in this one."""
    balance = ledger.balance(session, customer_id, currency)
    line = line_of(session, customer_id)
    if line is not None and line.limit.currency != currency:
        line = None
    owed_since = None
    if balance.minor < 0:
        values = {"customer_id": customer_id, "currency": currency, "owed": -balance.minor}
        owed_since = session.scalar(_OWED_SINCE, values)
    return Standing(balance, owed_since, line)


def lock(session: Session, customer_id: int) -> None:
    """Hold the customer's row, so that two purchases at once cannot both spend the same balance or credit.

    Taken before the lock of an account, by everybody. Foreign keys to the customer do not wait for it.
    """
    held = select(Customer.customer_id).where(Customer.customer_id == customer_id)
    session.execute(held.with_for_update(key_share=True)).one()


def _row(session: Session, customer_id: int) -> CreditLineRow | None:
    query = select(CreditLineRow).where(CreditLineRow.customer_id == customer_id)
    return session.scalars(query).one_or_none()
