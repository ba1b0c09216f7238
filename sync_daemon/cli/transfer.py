"""`herotill transfer`: unused data from one account to another (rule R20)."""

from uuid import uuid4

import click

from billing import transfers
from billing.models import Transfer
from billing.paging import Page
from billing.transfers import Wish
from herotill.errors import InvalidValue
from herotill.quantities import Money, parse_money
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import list_options
from sync_daemon.cli.output import Column, Output, show_octets, show_time
from sync_daemon.cli.parameters import OCTETS_NEEDED, operator_name

COLUMNS = [
    Column("transfer"),
    Column("from"),
    Column("to"),
    Column("octets", show_octets, right=True),
    Column("fee"),
    Column("transferred_at", show_time),
    Column("repeated"),
]
HISTORY_COLUMNS = [*COLUMNS[:-1], Column("by"), Column("key")]


@click.command()
@click.argument("giver", required=False, metavar="[FROM]")
@click.argument("receiver", required=False, metavar="[TO]")
@click.option("--octets", type=OCTETS_NEEDED, help="How much, like 500MB.")
@click.option("--fee", help="Taken from the giver's balance, like 5KES.")
@click.option("--key", help="Transfers once, however often you repeat the command with the same key.")
@click.option("--list", "is_list", is_flag=True, help="Show transfers: from or to FROM, or all.")
@list_options(transfers.SORT_KEYS)
@pass_application
def transfer(
    application: Application,
    /,
    output: Output,
    giver: str | None,
    is_list: bool,
    page: Page,
    **wanted: object,
) -> None:
    """Give unused data of FROM to TO, where its plan allows that (`herotill plan add --transferable`)."""
    if is_list:
        with application.billing_session() as session:
            found = transfers.listing(session, username=giver or "", page=page)
            output.rows([_row(each) for each in found], HISTORY_COLUMNS)
        return
    wish = _wish(application, giver, wanted)
    with application.billing_session() as session:
        done = transfers.transfer(session, wish=wish, now=application.now())
    record = {
        "transfer": done.transfer_id,
        "from": done.giver,
        "to": done.receiver,
        "octets": done.octets,
        "fee": done.fee,
        "transferred_at": done.transferred_at,
        "repeated": done.repeated,
    }
    output.record(record, COLUMNS)


def _wish(application: Application, giver: str | None, wanted: dict[str, object]) -> Wish:
    receiver, octets, fee, key = (wanted[name] for name in ("receiver", "octets", "fee", "key"))
    if giver is None or receiver is None:
        raise InvalidValue("FROM TO", None, "say from whom and to whom, or --list")
    if not isinstance(octets, int):
        raise InvalidValue("--octets", None, "say how much, like 500MB")
    currency = application.settings.currency
    return Wish(
        giver=giver,
        receiver=str(receiver),
        octets=octets,
        key=f"operator:{uuid4()}" if key is None else str(key),
        by=operator_name(),
        fee=Money(0, currency) if fee is None else parse_money(str(fee), "--fee", currency),
    )


def _row(found: Transfer) -> dict[str, object]:
    return {
        "transfer": found.transfer_id,
        "from": found.from_account.username,
        "to": found.to_account.username,
        "octets": found.octets,
        "fee": Money(found.fee_minor, found.currency),
        "transferred_at": found.transferred_at,
        "by": found.transferred_by,
        "key": found.idempotency_key,
    }
