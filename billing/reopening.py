"""Bills whose money is taken back: they are open again, with the payment date they had (rules R24, R25).

Payments settle the oldest bills, so the newest are those that were not paid after all. What an unpaid bill leads to is
done as always: its cycle ends on the payment date, and the billing run suspends.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.cycle_grants import align_grants
from billing.events import emit_all
from herotill.quantities import Money

# No more than was taken back, and only bills that were paid since it came: others were paid without it. A debt that was
# there before, by buying on credit, reopens nothing.
_REOPEN = text("""
    WITH own AS (
        SELECT invoice_id, amount_minor, issued_at, paid_at FROM billing.invoice JOIN billing.account USING (account_id)
        WHERE customer_id = :customer_id AND currency = :currency AND voided_at IS NULL),
    fund AS (
        SELECT coalesce((SELECT sum(amount_minor) FROM billing.ledger_posting
                         WHERE customer_id = :customer_id AND currency = :currency), 0)
               + coalesce((SELECT sum(amount_minor) FROM own WHERE paid_at IS NULL), 0) AS minor),
    newest AS (
        SELECT invoice_id, sum(amount_minor) OVER (ORDER BY issued_at DESC, invoice_id DESC) - amount_minor AS before
        FROM own WHERE paid_at >= :since)
    UPDATE billing.invoice SET paid_at = NULL FROM newest, fund, billing.account
    WHERE invoice.invoice_id = newest.invoice_id AND before < least(:taken_back, -fund.minor)
      AND account.account_id = invoice.account_id
    RETURNING invoice.invoice_id, invoice.account_id, username, invoice.amount_minor, invoice.currency, due_at
""")


@dataclass(frozen=True, slots=True)
class Reopened:
    """A bill that was paid and is open again."""

    invoice_id: int
    account_id: int
    username: str
    amount: Money
    due_at: datetime


def reopen(
    session: Session, customer_id: int, taken_back: Money, *, since: datetime, now: datetime
) -> list[Reopened]:
    """Open the bills that money paid which came at `since` and was taken back. The caller holds the customer."""
    session.flush()
    values = {
        "customer_id": customer_id,
        "currency": taken_back.currency,
        "taken_back": taken_back.minor,
        "since": since,
    }
    rows = session.execute(_REOPEN, values).all()
    reopened = [
        Reopened(
            row.invoice_id, row.account_id, row.username, Money(row.amount_minor, row.currency), row.due_at
        )
        for row in sorted(rows, key=lambda row: row.invoice_id)
    ]
    if reopened:
        session.expire_all()
        align_grants(session, sorted({each.account_id for each in reopened}), now)
    happened = [
        (f"invoice.reopened:{each.invoice_id}:{now.isoformat()}", _payload(each), customer_id)
        for each in reopened
    ]
    emit_all(session, "invoice.reopened", happened, now)
    return reopened


def _payload(each: Reopened) -> dict[str, object]:
    return {
        "invoice": each.invoice_id,
        "user": each.username,
        "amount_minor": each.amount.minor,
        "currency": each.amount.currency,
        "due_at": each.due_at,
    }
