"""Bills by the thousand: invoices, their ledger entries and their events, each in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.events import emit_all
from herotill.quantities import Money

# The rows come back in the order they went in.
_ADD_INVOICES = text("""
    INSERT INTO billing.invoice (account_id, amount_minor, currency, issued_at, due_at, description,
                                 cycle_began_on)
    SELECT account_id, amount_minor, currency, :now, due_at, description, cycle_began_on
    FROM unnest(CAST(:account_ids AS bigint[]), CAST(:amounts AS bigint[]), CAST(:currencies AS text[]),
                CAST(:due_ats AS timestamptz[]), CAST(:descriptions AS text[]), CAST(:cycles AS date[]))
         WITH ORDINALITY AS bill (account_id, amount_minor, currency, due_at, description, cycle_began_on, position)
    ORDER BY position RETURNING invoice_id
""")
_ADD_LEDGER_ENTRIES = text("""
    WITH bill AS (
        SELECT * FROM unnest(CAST(:invoice_ids AS bigint[]), CAST(:customer_ids AS bigint[]), CAST(:amounts AS bigint[]),
                             CAST(:currencies AS text[]), CAST(:descriptions AS text[]))
        AS bill (invoice_id, customer_id, amount_minor, currency, description)),
    entry AS (
        INSERT INTO billing.ledger_transaction (external_key, description, occurred_at, recorded_by)
        SELECT 'invoice:' || invoice_id, description, :now, :actor FROM bill ORDER BY invoice_id
        RETURNING transaction_id, external_key)
    INSERT INTO billing.ledger_posting (transaction_id, ledger_account, customer_id, amount_minor, currency)
    SELECT transaction_id, side.ledger_account, side.customer_id, side.amount_minor, currency
    FROM bill JOIN entry ON external_key = 'invoice:' || invoice_id
    CROSS JOIN LATERAL (VALUES ('customer', bill.customer_id, -bill.amount_minor), ('sales', NULL, bill.amount_minor))
         AS side (ledger_account, customer_id, amount_minor)
    ORDER BY transaction_id
""")


@dataclass(frozen=True, slots=True)
class NewBill:
    """A bill to be issued to an account of a customer."""

    account_id: int
    username: str
    customer_id: int
    amount: Money
    due_at: datetime
    description: str
    cycle_began_on: date | None = None


def issue(session: Session, bills: Sequence[NewBill], *, now: datetime, billed_by: str) -> list[int]:
    """Issue these bills and return their numbers, in the same order. The customers' balances sink by them."""
    if not bills:
        return []
    columns = {
        "account_ids": [bill.account_id for bill in bills],
        "customer_ids": [bill.customer_id for bill in bills],
        "amounts": [bill.amount.minor for bill in bills],
        "currencies": [bill.amount.currency for bill in bills],
        "due_ats": [bill.due_at for bill in bills],
        "descriptions": [bill.description for bill in bills],
        "cycles": [bill.cycle_began_on for bill in bills],
    }
    added = session.execute(_ADD_INVOICES, columns | {"now": now})
    invoice_ids: list[int] = list(added.scalars())
    session.execute(
        _ADD_LEDGER_ENTRIES, columns | {"invoice_ids": invoice_ids, "now": now, "actor": billed_by}
    )
    happened = [
        (f"invoice:{number}", _payload(number, bill), bill.customer_id)
        for number, bill in zip(invoice_ids, bills, strict=True)
    ]
    emit_all(session, "invoice.issued", happened, now)
    return invoice_ids


def _payload(invoice_id: int, bill: NewBill) -> dict[str, object]:
    return {
        "invoice": invoice_id,
        "user": bill.username,
        "amount_minor": bill.amount.minor,
        "currency": bill.amount.currency,
        "due_at": bill.due_at,
        "description": bill.description,
    }
