"""`herotill explain USER`: for people at the telephone."""

import json
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from herotill.quantities import approximate_octets
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Output, show_seconds, show_time

if TYPE_CHECKING:
    from sync_daemon.explaining import Explanation

_GRANTS = (
    Column("plan_name"),
    Column("source"),
    Column("state"),
    Column("used_octets", approximate_octets, right=True),
    Column("remaining_octets", approximate_octets, "unlimited", right=True),
    Column("remaining_seconds", show_seconds, "unlimited", right=True),
    Column("ends_at", lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}", "never"),
)
_SESSIONS = (
    Column("started_at", show_time),
    Column("stopped_at", show_time, "online"),
    Column("calling_station_id"),
    Column("session_seconds", show_seconds, right=True),
    Column("input_octets", approximate_octets, right=True),
    Column("output_octets", approximate_octets, right=True),
    Column("terminate_cause"),
)
_HISTORY = (
    Column("at", lambda moment: f"{moment:%Y-%m-%d %H:%M:%S.%f}"[:-3]),
    Column("event"),
    Column("detail"),
)


@click.command()
@click.argument("user")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Lines of history."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_application
def explain(application: Application, user: str, limit: int, as_json: bool) -> None:
    """Tell whether USER would be let in now and which rule decides, what is left, and what happened last."""
    from billing import suspension  # noqa: PLC0415 - slow to import
    from sync_daemon.explaining import explain_account  # noqa: PLC0415 - slow to import

    with application.radius_connection() as connection, connection.cursor() as cursor:
        told = explain_account(cursor, user, application.now(), limit)
    with application.billing_session() as session:
        told = replace(told, verdict=told.verdict + suspension.explain(session, user, application.now()))
    if as_json:
        click.echo(json.dumps(asdict(told), default=_plain, indent=2, ensure_ascii=False))
    else:
        _print(application, told)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _print(application: Application, told: "Explanation") -> None:
    who = [part for part in (told.kind, told.status, told.group and f"group {told.group}") if part]
    click.echo(f"{told.username}: {', '.join(who) or 'unknown'}")
    for sentence in told.verdict:
        click.echo(sentence)
    if told.known or told.sessions:
        click.echo(
            f"Used in all: {approximate_octets(told.input_octets)} up, {approximate_octets(told.output_octets)} down, "
            f"{approximate_octets(told.input_octets + told.output_octets)} together, in {show_seconds(told.seconds)}."
        )
    _table(application, "What was given", told.grants, _GRANTS)
    _table(application, "Sessions", told.sessions, _SESSIONS)
    _table(application, "What happened", told.history, _HISTORY)


def _table(application: Application, title: str, lines: tuple[Any, ...], columns: tuple[Column, ...]) -> None:
    if lines:
        click.echo(f"\n{title}")
        Output(application).rows([asdict(line) for line in lines], columns)
