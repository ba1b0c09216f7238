"""`herotill topup`: data or time for nothing, by the operator (rule R19)."""

from uuid import uuid4

import click

from billing import top_ups
from billing.models import TopUp
from billing.paging import Page
from billing.top_ups import Gift
from herotill.errors import InvalidValue
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import list_options
from sync_daemon.cli.output import Column, Output, show_octets, show_seconds, show_time
from sync_daemon.cli.parameters import OCTETS_NEEDED, SECONDS_NEEDED, operator_name

COLUMNS = [
    Column("user"),
    Column("octets", show_octets, right=True),
    Column("time", show_seconds, right=True),
    Column("expires_at", show_time, "never"),
    Column("top_up"),
    Column("given_at", show_time),
    Column("repeated"),
]
HISTORY_COLUMNS = [
    Column("top_up"),
    Column("user"),
    Column("octets", show_octets, right=True),
    Column("time", show_seconds, right=True),
    Column("given_at", show_time),
    Column("given_by"),
    Column("reason"),
    Column("key"),
]


@click.command()
@click.argument("user", required=False)
@click.option(
    "--octets", type=OCTETS_NEEDED, help="How much data, like 2GB; without it, as much as the time allows."
)
@click.option("--seconds", "--time", "seconds", type=SECONDS_NEEDED, help="How much time online, like 2h.")
@click.option(
    "--valid-for", "valid_seconds", type=SECONDS_NEEDED, help="From now on, like 7d; else for ever."
)
@click.option("--reason", help="Why; it stays in the books.")
@click.option("--key", help="Gives once, however often you repeat the command with the same key.")
@click.option("--list", "is_list", is_flag=True, help="Show what was given: to USER, or to everybody.")
@list_options(top_ups.SORT_KEYS)
@pass_application
def topup(
    application: Application, /, output: Output, user: str | None, is_list: bool, page: Page, **wanted: object
) -> None:
    """Give USER data or time for nothing; whoever was cut or slowed down is let in again."""
    if is_list:
        with application.billing_session() as session:
            found = top_ups.listing(session, username=user or "", page=page)
            output.rows([_row(each) for each in found], HISTORY_COLUMNS)
        return
    gift = _gift(user, wanted)
    with application.billing_session() as session:
        given = top_ups.top_up(session, gift=gift, now=application.now())
    record = {
        "user": given.username,
        "octets": given.octets,
        "time": given.seconds,
        "expires_at": given.expires_at,
        "top_up": given.top_up_id,
        "given_at": given.given_at,
        "repeated": given.repeated,
    }
    output.record(record, COLUMNS)


def _gift(user: str | None, wanted: dict[str, object]) -> Gift:
    if user is None:
        raise InvalidValue("USER", None, "say who is topped up, or --list")
    if wanted["reason"] is None:
        raise InvalidValue("--reason", None, "say why: it stays in the books")
    key = wanted.pop("key")
    return Gift(
        username=user,
        key=f"operator:{uuid4()}" if key is None else str(key),
        given_by=operator_name(),
        **wanted,  # type: ignore[arg-type] # as the options' types made them
    )


def _row(found: TopUp) -> dict[str, object]:
    return {
        "top_up": found.top_up_id,
        "user": found.account.username,
        "octets": found.quota_octets,
        "time": found.quota_seconds,
        "given_at": found.topped_up_at,
        "given_by": found.topped_up_by,
        "reason": found.reason,
        "key": found.idempotency_key,
    }
