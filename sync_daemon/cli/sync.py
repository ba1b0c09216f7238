"""`herotill sync`: what differs between what the books say and what RADIUS has, and making it so (rule R30)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from herotill.errors import InvalidValue, Refused
from herotill.reconciling import Change
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Output, output_options, show_mapping, show_time
from sync_daemon.cli.parameters import ask_before, limit_option, operator_name, yes_option
from sync_daemon.cli.progress import progress_bar

if TYPE_CHECKING:
    from sync_daemon.reconcile.comparing import Databases
    from sync_daemon.reconcile.planning import RefusedRow, Survey

DIFFERS = 4
"""The exit status of `sync plan --exit-code` where there is something to do."""

PLAN_COLUMNS = [
    Column("step"),
    Column("table"),
    Column("name"),
    Column("item"),
    Column("before", show_mapping, "nothing"),
    Column("after", show_mapping, "nothing"),
    Column("why"),
]
DRIFT_COLUMNS = [
    Column("mended_at", show_time),
    Column("table"),
    Column("name"),
    Column("item"),
    Column("before", show_mapping, "nothing"),
    Column("after", show_mapping, "nothing"),
    Column("since", show_time, "not seen"),
    Column("edited_as", absent="not seen"),
    Column("sessions_cut", right=True),
    Column("mended_by"),
]
ADOPT_COLUMNS = [Column("table"), Column("name"), Column("item"), Column("op"), Column("value")]
_DRIFT = """
    SELECT mended_at, relation AS table, name, item, before, after, since, edited_as, sessions_cut, mended_by
    FROM radius.drift ORDER BY drift_id DESC LIMIT %s
"""
_STANDING = """
    SELECT (SELECT count(*) FROM radius.managed_account), (SELECT count(*) FROM radius.hand_edit),
           (SELECT count(*) FROM radius.drift WHERE mended_at > now() - interval '1 day')
"""


@click.group()
def sync() -> None:
    """Compare the books with RADIUS, and make RADIUS what they say."""


@sync.command("plan")
@click.option("--user", help="Only this user.")
@click.option("--exit-code", is_flag=True, help=f"Exit with {DIFFERS} where there is something to do.")
@output_options
@pass_application
def plan_(application: Application, /, output: Output, user: str | None, exit_code: bool) -> None:
    """Show what differs, in the order in which it would be mended. Changes nothing; prints nothing when all is well."""
    from sync_daemon.reconcile.planning import plan  # noqa: PLC0415 - slow to import

    with _databases(application) as databases:
        changes, found = plan(databases, user)
    _show(output, changes, found)
    if exit_code and (changes or found.refused):
        raise click.exceptions.Exit(DIFFERS)


@sync.command()
@click.option(
    "--max-cut-off", help="Which share of the accounts may be cut off, like 20%.  [default: of the settings]"
)
@yes_option
@pass_application
def apply(application: Application, /, max_cut_off: str | None, yes: bool) -> None:
    """Make RADIUS what the books say: restrictions first, relaxations last. Can be interrupted at any time."""
    from sync_daemon.reconcile.mending import Mending  # noqa: PLC0415
    from sync_daemon.reconcile.planning import check_brake, survey  # noqa: PLC0415

    percent = application.settings.sync_max_cut_off_percent if max_cut_off is None else _percent(max_cut_off)
    with _databases(application) as databases:
        found = survey(databases)
        _tell_refused(found.refused)
        check_brake(found, percent)
        if found.changes == 0:
            return
        ask_before(_summary(found), yes)
        total = sum(len(names) for names in found.names.values())
        with progress_bar("mending", total) as progress:
            run = Mending(databases, operator_name(), application.now())
            done = run.all_of(found, progress)
    click.echo(f"mended {_counted(done.changes, 'row')}; {_counted(done.sessions_cut, 'live session')} cut")
    if done.refused:
        raise Refused(f"{_counted(len(done.refused), 'row')} not written: FreeRADIUS would misread it", "R30")


@sync.command()
@limit_option
@output_options
@pass_application
def status(application: Application, /, output: Output, limit: int) -> None:
    """Show what was found changed past the books, and mended: newest first; with two databases, how far use is known."""
    with application.radius_connection() as connection, connection.cursor() as cursor:
        cursor.execute(_STANDING)
        accounts, waiting, today = cursor.fetchone() or (0, 0, 0)
        cursor.execute(_DRIFT, (limit,))
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    click.echo(
        f"{_counted(accounts, 'account')} in RADIUS; {_counted(today, 'row')} mended in the last 24 hours; "
        f"{_counted(waiting, 'edit')} by hand not looked at yet",
        err=True,
    )
    _tell_regions(application)
    output.rows(rows, DRIFT_COLUMNS)


def _tell_regions(application: Application) -> None:
    from billing import regions  # noqa: PLC0415

    with application.billing_session() as session:
        for region in regions.listing(session):
            until = region.returned_until
            known = (
                "nothing yet"
                if until is None
                else until.astimezone(application.time_zone).isoformat(" ", "seconds")
            )
            click.echo(f"region {region.name}: what was used is in the books up to {known}", err=True)


@sync.command()
@click.option("--user", help="Only rows of this user.")
@click.option("--group", help="Only rows of this group.")
@click.option("--drop", is_flag=True, help="Take them over and remove them, instead of keeping them.")
@yes_option
@output_options
@pass_application
def adopt(
    application: Application, /, output: Output, user: str | None, group: str | None, drop: bool, yes: bool
) -> None:
    """Take over rows nobody owns: they are in the books then, and kept as they are. Shows them first."""
    from sync_daemon.reconcile.adopting import Adoption, drop_rows, keep_rows, unowned  # noqa: PLC0415

    with _databases(application) as databases:
        found = unowned(databases, user, group)
        if not found:
            click.echo("nobody's rows: there are none", err=True)
            return
        output.rows([each.as_row() for each in found], ADOPT_COLUMNS)
        verb = "removed" if drop else "taken into the books, and held to this"
        ask_before(f"{_counted(len(found), 'row')} will be {verb}", yes)
        adoption = Adoption(databases, operator_name(), application.now())
        (drop_rows if drop else keep_rows)(adoption, found)
    click.echo(f"{_counted(len(found), 'row')} {'removed' if drop else 'adopted'}", err=True)


@contextmanager
def _databases(application: Application) -> "Iterator[Databases]":
    from sync_daemon.database import ensure_running  # noqa: PLC0415
    from sync_daemon.reconcile.comparing import open_databases  # noqa: PLC0415

    ensure_running(application.settings)
    databases = open_databases(application.settings)
    try:
        yield databases
    finally:
        databases.close()


def _show(output: Output, changes: Sequence[Change], found: "Survey") -> None:
    rows = [
        {
            "step": change.phase.name.lower(),
            "table": change.relation,
            "name": change.name,
            "item": change.item,
            "before": change.shown(change.before),
            "after": change.shown(change.after),
            "why": change.why,
        }
        for change in changes
    ]
    if rows or output.format != "table":
        output.rows(rows, PLAN_COLUMNS)
    if rows:
        click.echo(_summary(found), err=True)
    _tell_refused(found.refused)


def _summary(found: "Survey") -> str:
    tables = ", ".join(f"{table} {count}" for table, count in sorted(Counter(found.counts).items()))
    return (
        f"{_counted(found.changes, 'row')} to mend ({tables}); {_counted(len(found.cut_off), 'account')} cut off, "
        f"{_counted(found.live_sessions, 'live session')} cut"
    )


def _tell_refused(refused: "Sequence[RefusedRow]") -> None:
    for row in refused:
        click.echo(f"not written: {row}", err=True)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _percent(text: str) -> float:
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise InvalidValue("--max-cut-off", text, "it is a share from 0% to 100%")
    return percent
