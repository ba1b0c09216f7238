"""Usage-based accounts: what they used since the last bill becomes one, at the interval chosen for their batch (rule R7).

Usage counts up in the account's grant. A bill is for all units begun so far less those billed before, so that usage
reported late comes with the next bill and nothing is lost or billed twice. An account that has ended gets its last bill
at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from billing import invoices
from billing.events import emit_all
from billing.ledger import Entry, post_sale
from herotill.errors import Refused
from herotill.quantities import Money
from herotill.usage_intervals import UsageInterval, begun_units, interval_end, intervals_ended

MAX_AT_ONCE = 20_000
DEFAULT_DAYS_TO_PAY = 14

_SELECT_BATCH = text("""
    SELECT usage_interval, usage_time_zone FROM billing.voucher JOIN billing.voucher_batch USING (batch_id)
    WHERE voucher_id = :voucher_id AND type = 'usage'
""")
_BEGIN = text("""
    UPDATE billing.usage_account SET started_at = :at, billed_until = :at, next_bill_at = :next_bill_at
    WHERE voucher_id = :voucher_id AND started_at IS NULL
""")
# SKIP LOCKED: two billing runs at once share the work.
_DUE = """
    SELECT usage_account.voucher_id, account_id, account.username, customer_id, currency, usage_unit_size,
           usage_unit_price_minor, usage_interval, usage_time_zone, units_billed, started_at, billed_until,
           CASE usage_unit WHEN 'octets' THEN used_octets ELSE used_seconds END AS used,
           CASE WHEN ended_at <= :now THEN ended_at END AS ended_at
    FROM billing.usage_account
    JOIN billing.voucher ON voucher.voucher_id = usage_account.voucher_id
    JOIN billing.voucher_batch USING (batch_id)
    JOIN billing.account USING (account_id)
    JOIN radius.entitlement ON external_key = 'voucher:' || usage_account.voucher_id
    WHERE next_bill_at <= :now
    ORDER BY usage_account.voucher_id LIMIT :batch_size
"""
_READ_DUE = text(_DUE)
_TAKE_DUE = text(_DUE + "FOR UPDATE OF usage_account SKIP LOCKED")
_ADVANCE = text("""
    UPDATE billing.usage_account SET
        intervals_ended = billed.intervals_ended, billed_until = billed.until, next_bill_at = billed.next_bill_at,
        units_billed = billed.units_billed
    FROM unnest(CAST(:voucher_ids AS bigint[]), CAST(:intervals AS int[]), CAST(:untils AS timestamptz[]),
                CAST(:next_bills AS timestamptz[]), CAST(:units AS bigint[]))
         AS billed (voucher_id, intervals_ended, until, next_bill_at, units_billed)
    WHERE usage_account.voucher_id = billed.voucher_id
""")
# The rows come back in the order they went in.
_ADD_INVOICES = text("""
    INSERT INTO billing.invoice (account_id, amount_minor, currency, issued_at, due_at)
    SELECT account_id, amount_minor, currency, :now, :due_at
    FROM unnest(CAST(:account_ids AS bigint[]), CAST(:amounts AS bigint[]), CAST(:currencies AS text[]))
         WITH ORDINALITY AS bill (account_id, amount_minor, currency, position)
    ORDER BY position RETURNING invoice_id
""")
_ADD_BILLS = text("""
    INSERT INTO billing.usage_bill (voucher_id, invoice_id, began_at, ended_at, units)
    SELECT * FROM unnest(CAST(:voucher_ids AS bigint[]), CAST(:invoice_ids AS bigint[]),
                         CAST(:begins AS timestamptz[]), CAST(:ends AS timestamptz[]), CAST(:units AS bigint[]))
""")
_ADD_TRANSACTIONS = text("""
    INSERT INTO billing.ledger_transaction (external_key, description, occurred_at, recorded_by)
    SELECT 'invoice:' || invoice_id, 'usage of ' || username, :now, :actor
    FROM unnest(CAST(:invoice_ids AS bigint[]), CAST(:usernames AS text[])) AS bill (invoice_id, username)
    ORDER BY invoice_id
""")
_ADD_POSTINGS = text("""
    INSERT INTO billing.ledger_posting (transaction_id, ledger_account, customer_id, amount_minor, currency)
    SELECT transaction_id, side.ledger_account, side.customer_id, side.amount_minor, currency
    FROM unnest(CAST(:invoice_ids AS bigint[]), CAST(:customer_ids AS bigint[]), CAST(:amounts AS bigint[]),
                CAST(:currencies AS text[])) AS bill (invoice_id, customer_id, amount_minor, currency)
    JOIN billing.ledger_transaction ON external_key = 'invoice:' || invoice_id
    CROSS JOIN LATERAL (VALUES ('customer', bill.customer_id, -bill.amount_minor), ('sales', NULL, bill.amount_minor))
         AS side (ledger_account, customer_id, amount_minor)
    ORDER BY transaction_id
""")
_TAKE_UNPAID = text("""
    UPDATE billing.invoice SET paid_at = :now
    FROM billing.account
    WHERE account.account_id = invoice.account_id AND username = :username AND customer_id IS NULL
      AND paid_at IS NULL AND voided_at IS NULL
      AND EXISTS (SELECT FROM billing.usage_bill WHERE usage_bill.invoice_id = invoice.invoice_id)
    RETURNING invoice_id, amount_minor, currency
""")


@dataclass(frozen=True, slots=True)
class UsageDue:
    """A usage-based account whose interval has ended, or that has ended itself; `amount` may be nothing.

    `units_billed` is what all bills, this one too, are for; `next_bill_at` is None after the last one.
    """

    voucher_id: int
    account_id: int
    username: str
    customer_id: int | None
    began_at: datetime
    ended_at: datetime
    units: int
    amount: Money
    units_billed: int
    intervals_ended: int
    next_bill_at: datetime | None


def begin(session: Session, voucher_id: int, at: datetime) -> None:
    """Start the intervals of a usage-based account at its first use; nothing for every other voucher."""
    batch = session.execute(_SELECT_BATCH, {"voucher_id": voucher_id}).one_or_none()
    if batch is not None:
        first_end = interval_end(at, UsageInterval(batch.usage_interval), 1, batch.usage_time_zone)
        session.execute(_BEGIN, {"voucher_id": voucher_id, "at": at, "next_bill_at": first_end})


def due(session: Session, now: datetime, *, limit: int = MAX_AT_ONCE) -> list[UsageDue]:
    """Return what a billing run at `now` would bill, at most so many accounts; nothing changes."""
    return _due(session.execute(_READ_DUE, {"now": now, "batch_size": limit}).all(), now)


def bill_usage(
    session: Session, *, now: datetime, billed_by: str, days_to_pay: int = DEFAULT_DAYS_TO_PAY
) -> list[UsageDue]:
    """Bill what is due, at most MAX_AT_ONCE accounts, and return it; call again, in another transaction, until it is empty.

    A customer's bill lowers the balance, and is paid at once where that suffices; the bill of an account without a customer
    waits for `receive`.
    """
    taken = _due(session.execute(_TAKE_DUE, {"now": now, "batch_size": MAX_AT_ONCE}).all(), now)
    if taken:
        _advance(session, taken)
    bills = [each for each in taken if each.amount.minor > 0]
    if bills:
        due_at = now + timedelta(days=days_to_pay)
        invoice_ids = _add_invoices(session, bills, now, due_at)
        _post(session, bills, invoice_ids, {"now": now, "actor": billed_by})
        _announce(session, dict(zip(invoice_ids, bills, strict=True)), now, due_at)
        owners = {bill.customer_id for bill in bills if bill.customer_id is not None}
        invoices.settle(session, sorted(owners), now)
    return taken


def receive(session: Session, *, username: str, now: datetime, received_by: str) -> Money:
    """Take the money, over the counter, for all open usage bills of an account without a customer; return how much."""
    taken = session.execute(_TAKE_UNPAID, {"username": username, "now": now}).all()
    if not taken:
        raise Refused(f"{username} has no unpaid usage bill of its own", "R7")
    for row in taken:
        entry = Entry(f"invoice:{row.invoice_id}", f"usage of {username}", now, received_by)
        post_sale(session, entry, Money(row.amount_minor, row.currency), customer_id=None)
    return Money(sum(row.amount_minor for row in taken), taken[0].currency)


def _due(rows: Sequence[Row[Any]], now: datetime) -> list[UsageDue]:
    return [_due_of(row, now) for row in rows]


def _due_of(row: Row[Any], now: datetime) -> UsageDue:
    interval, zone = UsageInterval(row.usage_interval), row.usage_time_zone
    passed = intervals_ended(row.started_at, interval, zone, row.ended_at or now)
    until = row.ended_at or interval_end(row.started_at, interval, passed, zone)
    units = begun_units(row.used, row.usage_unit_size)
    fresh = max(0, units - row.units_billed)
    return UsageDue(
        voucher_id=row.voucher_id,
        account_id=row.account_id,
        username=row.username,
        customer_id=row.customer_id,
        began_at=row.billed_until,
        ended_at=until,
        units=fresh,
        amount=Money(fresh * row.usage_unit_price_minor, row.currency),
        units_billed=max(units, row.units_billed),
        intervals_ended=passed,
        next_bill_at=None if row.ended_at else interval_end(row.started_at, interval, passed + 1, zone),
    )


def _advance(session: Session, taken: Sequence[UsageDue]) -> None:
    columns = {
        "voucher_ids": [each.voucher_id for each in taken],
        "intervals": [each.intervals_ended for each in taken],
        "untils": [each.ended_at for each in taken],
        "next_bills": [each.next_bill_at for each in taken],
        "units": [each.units_billed for each in taken],
    }
    session.execute(_ADVANCE, columns)


def _add_invoices(
    session: Session, bills: Sequence[UsageDue], now: datetime, due_at: datetime
) -> Sequence[int]:
    invoices = {
        "account_ids": [bill.account_id for bill in bills],
        "amounts": [bill.amount.minor for bill in bills],
        "currencies": [bill.amount.currency for bill in bills],
    }
    added = session.execute(_ADD_INVOICES, invoices | {"now": now, "due_at": due_at})
    invoice_ids: Sequence[int] = added.scalars().all()
    usage = {
        "voucher_ids": [bill.voucher_id for bill in bills],
        "invoice_ids": list(invoice_ids),
        "begins": [bill.began_at for bill in bills],
        "ends": [bill.ended_at for bill in bills],
        "units": [bill.units for bill in bills],
    }
    session.execute(_ADD_BILLS, usage)
    return invoice_ids


def _post(
    session: Session, bills: Sequence[UsageDue], invoice_ids: Sequence[int], said: dict[str, Any]
) -> None:
    """Lower the balances of those bills that have a customer."""
    owed = [
        (bill, number)
        for bill, number in zip(bills, invoice_ids, strict=True)
        if bill.customer_id is not None
    ]
    if not owed:
        return
    columns = {
        "invoice_ids": [number for _, number in owed],
        "usernames": [bill.username for bill, _ in owed],
        "customer_ids": [bill.customer_id for bill, _ in owed],
        "amounts": [bill.amount.minor for bill, _ in owed],
        "currencies": [bill.amount.currency for bill, _ in owed],
    }
    session.execute(_ADD_TRANSACTIONS, columns | said)
    session.execute(_ADD_POSTINGS, columns)


def _announce(session: Session, issued: Mapping[int, UsageDue], now: datetime, due_at: datetime) -> None:
    happened = [
        (
            f"invoice:{number}",
            {
                "invoice": number,
                "user": bill.username,
                "amount_minor": bill.amount.minor,
                "currency": bill.amount.currency,
                "due_at": due_at,
            },
            bill.customer_id,
        )
        for number, bill in issued.items()
    ]
    emit_all(session, "invoice.issued", happened, now)
