"""`herotill status`: how the installation does at this moment, as a table that follows it."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from herotill.quantities import approximate_octets
from sync_daemon.cli.application import Application, pass_application

if TYPE_CHECKING:
    from rich.table import Table

    from sync_daemon.metrics.gathering import Picture

_WORST_NASES = 10


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One line: what, how it stands, and whether somebody should look at it."""

    what: str
    stands: str
    is_fine: bool = True


@click.command()
@click.option("--once", is_flag=True, help="Print it once, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, once.")
@click.option(
    "--every", type=click.FloatRange(0.5, 3600), default=2.0, show_default=True, metavar="SECONDS",
    help="How often to look.",
)  # fmt: skip
@pass_application
def status(application: Application, once: bool, as_json: bool, every: float) -> None:
    """Show what waits, how late the meter is, and the routers; until Ctrl-C. Exit status 1 with --once when not ready."""
    from sync_daemon.metrics.gathering import Gathering  # noqa: PLC0415 - slow to import

    gathering = Gathering(application.settings)
    try:
        if once or as_json or not application.console.is_terminal:
            _show_once(application, gathering.look(), as_json=as_json)
        else:
            _follow(application, gathering.look, every)
    finally:
        gathering.close()


def _show_once(application: Application, picture: "Picture", *, as_json: bool) -> None:
    if as_json:
        document = asdict(picture) | {"unready": picture.unready()}
        zone = application.time_zone
        click.echo(
            json.dumps(document, default=lambda value: _plain(value, zone), indent=2, ensure_ascii=False)
        )
    else:
        for line in lines_of(picture):
            click.echo(f"{line.what:<28}  {line.stands}".rstrip())
    if picture.unready():
        raise click.exceptions.Exit(1)


def _plain(value: Any, zone: tzinfo) -> str:
    return value.astimezone(zone).isoformat() if isinstance(value, datetime) else str(value)


def _follow(application: Application, look: Any, every_seconds: float) -> None:
    from rich.live import Live  # noqa: PLC0415 - slow to import

    with Live(_table(application, look()), console=application.console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every_seconds)
                live.update(_table(application, look()), refresh=True)
        except KeyboardInterrupt:
            return


def _table(application: Application, picture: "Picture") -> "Table":
    from rich.table import Table  # noqa: PLC0415 - slow to import
    from rich.text import Text  # noqa: PLC0415

    at = f"{picture.at.astimezone(application.time_zone):%Y-%m-%d %H:%M:%S %Z}"
    table = Table("", at, box=None, pad_edge=False)
    for line in lines_of(picture):
        table.add_row(Text(line.what), Text(line.stands, style="" if line.is_fine else "bold red"))
    return table


def lines_of(picture: "Picture") -> list[StatusLine]:
    """Say for people what was seen; what somebody should look at is not fine."""
    reasons = picture.unready()
    lines = [StatusLine("ready", ", ".join(reasons) or "yes", not reasons)]
    if picture.lag is not None:
        lines += _journal_lines(picture)
    if picture.live is not None:
        lines.append(StatusLine("live sessions", str(sum(count.sessions for count in picture.live.values()))))
    if picture.radius is not None:
        lines += _radius_lines(picture)
    if picture.books is not None:
        lines += [*_region_lines(picture), *_events_lines(picture)]
    elif picture.radius is not None:
        lines.append(StatusLine("books", "do not answer; RADIUS goes on without them", False))
    return lines


def _journal_lines(picture: "Picture") -> list[StatusLine]:
    assert picture.lag is not None  # noqa: S101 - the caller asked
    lag, seconds = picture.lag, picture.lag.seconds(picture.at)
    behind = (
        f"{lag.records} records, {approximate_octets(lag.octets)}, {seconds:.1f} s"
        if lag.octets
        else "nothing"
    )
    return [
        StatusLine("journal not applied yet", behind, seconds < 10),
        StatusLine(
            "room for the journal", f"{lag.free_octets // 1024**2} MiB", lag.free_octets > 2 * 1024**3
        ),
    ]


def _radius_lines(picture: "Picture") -> list[StatusLine]:
    assert picture.radius is not None  # noqa: S101 - the caller asked
    state, now = picture.radius, picture.at
    outbox = ", ".join(f"{waiting.count} {name}" for name, waiting in state.outbox.items()) or "nothing"
    lines = [StatusLine("sessions to cut or change", outbox)]
    for node, caught_up_at in state.nodes.items():
        seconds = (now - caught_up_at).total_seconds()
        lines.append(
            StatusLine(f"node {node}", f"everything applied {max(0.0, seconds):.0f} s ago", seconds < 60)
        )
    edits = f"{state.hand_edits} not looked at yet" if state.hand_edits else "none waiting"
    return [*lines, StatusLine("edits by hand", edits, not state.hand_edits), *_nas_lines(picture)]


def _nas_lines(picture: "Picture") -> list[StatusLine]:
    assert picture.radius is not None  # noqa: S101 - the caller asked
    nases = picture.radius.nases
    failing = [nas for nas in nases if nas.coa_state == "fails"]
    works = sum(nas.coa_state == "works" for nas in nases)
    lines = [
        StatusLine(
            "routers", f"{len(nases)}: {works} do what they are asked, {len(failing)} do not", not failing
        )
    ]
    lines += [
        StatusLine(f"  {nas.name}", nas.coa_failure or "does not", False) for nas in failing[:_WORST_NASES]
    ]
    if len(failing) > _WORST_NASES:
        lines.append(StatusLine("", f"and {len(failing) - _WORST_NASES} more: herotill coa nas", False))
    return lines


def _region_lines(picture: "Picture") -> list[StatusLine]:
    assert picture.books is not None  # noqa: S101 - the caller asked
    lines = []
    for name, until in picture.books.regions.items():
        seconds = None if until is None else max(0.0, (picture.at - until).total_seconds())
        known = (
            "nothing is in the books yet" if seconds is None else f"in the books up to {seconds:.0f} s ago"
        )
        lines.append(StatusLine(f"region {name}", known, seconds is not None and seconds < 60))
    return lines


def _events_lines(picture: "Picture") -> list[StatusLine]:
    assert picture.books is not None  # noqa: S101 - the caller asked
    books = picture.books
    waiting = ", ".join(f"{line.count} for {sink}" for sink, line in books.events.items()) or "nothing"
    dead = f"; {books.dead} given up: herotill event list --state dead" if books.dead else ""
    return [StatusLine("events waiting", waiting + dead, not books.dead)]
