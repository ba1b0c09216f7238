"""Vouchers and batches as rows of a table."""

from typing import Any

from sqlalchemy.orm import Session

from billing import vouchers
from billing.models import Voucher, VoucherBatch
from herotill.quantities import Money
from sync_daemon.cli.output import Column, show_list, show_time

BATCH_COLUMNS = [
    Column("batch", right=True),
    Column("type"),
    Column("plan"),
    Column("count", right=True),
    Column("sell"),
    Column("price", right=True),
    Column("list_price", right=True),
    Column("states", lambda states: ", ".join(f"{count} {state}" for state, count in sorted(states.items()))),
    Column("use_by", show_time),
    Column("created_at", show_time),
    Column("created_by"),
]
COLUMNS = [
    Column("code", absent="(sealed)"),
    Column("serial"),
    Column("batch", right=True),
    Column("type"),
    Column("plan"),
    Column("state"),
    Column("changed_at", show_time),
    Column("changed_by"),
]
DETAILS = [
    *COLUMNS,
    Column("price"),
    Column("sell"),
    Column("use_by", show_time),
    Column("print_count", head="printed"),
    Column("printed_at", show_time, head="last printed"),
    Column("redeemed_for"),
    Column("history", show_list),
]


def batch_row(session: Session, batch: VoucherBatch) -> dict[str, Any]:
    """Return a batch as its table shows it."""
    list_price = None if batch.list_price_minor is None else Money(batch.list_price_minor, batch.currency)
    return {
        "batch": batch.batch_id,
        "type": batch.type,
        "plan": batch.plan_name,
        "count": batch.code_count,
        "sell": batch.sell,
        "price": batch.price,
        "list_price": list_price,
        "states": vouchers.count_states(session, [batch.batch_id]).get(batch.batch_id, {}),
        "use_by": batch.codes_expire_at,
        "created_at": batch.created_at,
        "created_by": batch.created_by,
    }


def voucher_row(found: Voucher) -> dict[str, Any]:
    """Return a voucher as its table shows it. A refill's code is not to be had this way."""
    return {
        "code": found.code,
        "serial": found.serial,
        "batch": found.batch_id,
        "type": found.batch.type,
        "plan": found.batch.plan_name,
        "state": found.state,
        "changed_at": found.changed_at,
        "changed_by": found.changed_by,
        "price": found.batch.price,
        "sell": found.batch.sell,
        "use_by": found.batch.codes_expire_at,
        "print_count": found.print_count,
        "printed_at": found.printed_at,
    }
