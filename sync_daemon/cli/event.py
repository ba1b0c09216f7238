"""`herotill event`: what happened that somebody outside is told, and how far that got."""

from collections.abc import Mapping
from typing import Any

import click

from billing import deliveries
from billing.deliveries import Wanted
from billing.paging import Page
from herotill.errors import InvalidValue, Refused
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import list_options
from sync_daemon.cli.output import Column, Output, output_options, show_time
from sync_daemon.cli.parameters import ask_before, yes_option

_SECRET_WORDS = ("code", "secret", "password", "token", "link")
_HIDDEN = "(hidden; --reveal shows it)"
COLUMNS = [
    Column("event"),
    Column("kind"),
    Column("key"),
    Column("customer"),
    Column("occurred_at", show_time),
    Column("sink", absent="-"),
    Column("state"),
    Column("attempts", right=True),
    Column("next_attempt_at", show_time),
    Column("last_error"),
]
DETAILS = [
    *COLUMNS[:3],
    Column("customer"),
    Column("occurred_at", show_time),
    Column("payload", lambda payload: ", ".join(f"{name}: {value}" for name, value in payload.items())),
]


@click.group()
def event() -> None:
    """What somebody outside is told, and how far that got."""


@event.command(name="list")
@click.option("--state", default="", type=click.Choice(["", *deliveries.STATES]), help="How far it got.")
@click.option("--sink", default="", metavar="NAME", help="Only on the way to this sink.")
@click.option("--kind", default="", metavar="PATTERN", help="Only this kind, like sale or notice.*")
@list_options(deliveries.SORT_KEYS)
@pass_application
def list_events(application: Application, /, output: Output, page: Page, **wanted: str) -> None:
    """List events and their deliveries, newest first."""
    with application.billing_session() as session:
        lines = deliveries.listing(session, page=page, **wanted)
    output.rows([_row(line) for line in lines], COLUMNS)


@event.command()
@click.argument("event_id", type=click.INT, metavar="EVENT")
@click.option("--reveal", is_flag=True, help="Also show codes and other secrets it holds.")
@output_options
@pass_application
def show(application: Application, /, output: Output, event_id: int, reveal: bool) -> None:
    """Show one event, and what became of it at each sink."""
    with application.billing_session() as session:
        found, lines = deliveries.get(session, event_id)
        payload = found.payload if reveal else _masked(found.payload)
    rows = [_row(line) for line in lines]
    record = rows[0] | {"payload": payload, "deliveries": rows}
    output.record(record, [*DETAILS, Column("deliveries", _show_deliveries)])


@event.command()
@click.argument("event_ids", type=click.INT, nargs=-1, metavar="[EVENT]...")
@click.option("--sink", metavar="NAME", help="Only to this sink.")
@click.option("--all-dead", is_flag=True, help="Every one that was given up.")
@yes_option
@pass_application
def retry(
    application: Application, /, event_ids: tuple[int, ...], sink: str | None, all_dead: bool, yes: bool
) -> None:
    """Deliver again, at once: what was given up, discarded or is waiting."""
    states = ("dead",) if all_dead else ("dead", "discarded", "pending")
    wanted = _wanted(states, event_ids, sink, is_all=all_dead)
    with application.billing_session() as session:
        number = deliveries.count(session, wanted)
        _refuse_none(number)
        if all_dead:
            ask_before(f"{number} deliveries will be tried again", yes)
        done = deliveries.retry(session, wanted, application.now())
    click.echo(f"{done} deliveries are tried again; `herotill serve` does it")


@event.command()
@click.argument("event_ids", type=click.INT, nargs=-1, metavar="[EVENT]...")
@click.option("--sink", metavar="NAME", help="Only to this sink.")
@click.option("--all", "is_all", is_flag=True, help="Every one that waits or was given up.")
@yes_option
@pass_application
def discard(
    application: Application, /, event_ids: tuple[int, ...], sink: str | None, is_all: bool, yes: bool
) -> None:
    """Deliver no more what waits or was given up; the events stay on record."""
    wanted = _wanted(("pending", "dead"), event_ids, sink, is_all=is_all)
    with application.billing_session() as session:
        number = deliveries.count(session, wanted)
        _refuse_none(number)
        ask_before(f"{number} deliveries will not be made", yes)
        done = deliveries.discard(session, wanted, application.now())
    click.echo(f"discarded {done} deliveries")


def _wanted(states: tuple[str, ...], event_ids: tuple[int, ...], sink: str | None, *, is_all: bool) -> Wanted:
    if bool(event_ids) == is_all:
        raise InvalidValue("event", " ".join(map(str, event_ids)), "say which events, or all of them")
    return Wanted(states, event_ids, sink)


def _refuse_none(number: int) -> None:
    if number == 0:
        raise Refused("there is no such delivery; `herotill event list` shows them", "events")


def _row(line: deliveries.Line) -> dict[str, Any]:
    return {
        "event": line.event_id,
        "kind": line.kind,
        "key": line.event_key,
        "customer": line.account_number,
        "occurred_at": line.occurred_at,
        "sink": line.sink,
        "state": line.state,
        "attempts": line.attempts,
        "next_attempt_at": line.next_attempt_at,
        "last_error": line.last_error,
    }


def _masked(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Hide what opens something: codes are for their receiver, not for whoever looks over a shoulder."""
    return {
        name: _HIDDEN if any(word in name for word in _SECRET_WORDS) else value
        for name, value in payload.items()
    }


def _show_deliveries(rows: list[dict[str, Any]]) -> str:
    return "; ".join(_one_line(row) for row in rows)


def _one_line(row: dict[str, Any]) -> str:
    if row["sink"] is None:
        return (
            "no sink wanted it" if row["state"] == deliveries.UNWANTED else "not laid out for the sinks yet"
        )
    error = f" ({row['last_error']})" if row["last_error"] else ""
    return f"{row['sink']}: {row['state']} after {row['attempts']} attempts{error}"
