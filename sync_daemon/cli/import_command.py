"""`herotill import`: customers from somebody else's CSV file, into one group (rule R4)."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import click

from billing import imports
from billing.csv_columns import IGNORED, Field
from billing.import_report import ImportReport
from billing.imports import ImportOrder
from herotill.errors import InvalidValue, Refused
from herotill.snapshot import AccountKind
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Format, Output, output_options
from sync_daemon.cli.parameters import limit_option, with_options
from sync_daemon.cli.progress import step_bar
from sync_daemon.cli.voucher_sheets import private_file

ROWS = [
    Column("line", right=True),
    Column("outcome"),
    Column("user"),
    Column("name"),
    Column("column"),
    Column("reason"),
]
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";"}

_OPTIONS = [
    click.option("--group", required=True, help="The group they join."),
    click.option("--dry-run", is_flag=True, help="Say row by row what would happen, and change nothing."),
    click.option("--skip-bad", is_flag=True, help="Enter the good rows though others are bad; else all or nothing."),
    click.option("--allow-look-alikes", is_flag=True, help="Flag names that look like another, but do not refuse them."),
    click.option(
        "--report", type=click.Path(dir_okay=False, path_type=Path),
        help="Write what is not in the books afterwards, with the reasons, as CSV: correct it and import it.",
    ),
    click.option(
        "--map", "wishes", multiple=True, metavar="HEAD=FIELD",
        help=f"What a column is: {', '.join(Field)} or {IGNORED}; may be repeated.",
    ),
    click.option(
        "--kind", type=click.Choice([AccountKind.PREPAID.value, AccountKind.MONTHLY.value]),
        default=AccountKind.PREPAID.value, show_default=True, help="The accounts' kind.",
    ),
    click.option(
        "--user-from", type=click.Choice([Field.PHONE.value, Field.EMAIL.value]),
        help="Make a user name of this for rows that have none; else these get no account.",
    ),
    click.option("--encoding", help="Such as utf-8 or windows-1252; default: as detected."),
    click.option("--separator", help="Such as ; or tab; default: as detected."),
]  # fmt: skip


def _import_options(command: Any) -> Any:
    return with_options(command, _OPTIONS)


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_import_options
@limit_option
@output_options
@pass_application
def import_(
    application: Application, /, output: Output, file: Path, report: Path | None, limit: int, **options: Any
) -> None:
    """Enter customers from a CSV file: unverified, and with a password to be chosen by a code."""
    order = _order(application, options, limit)
    with _report_file(report) as text, application.billing_session() as session, step_bar() as told:
        done = imports.import_file(
            session, file, order=order, now=application.now(), report=text, progress=told
        )
    _show(output, done)
    if not done.applied and not order.dry_run:
        hint = "correct them (--report writes them), or enter the others with --skip-bad"
        raise Refused(f"nothing was imported: {done.refused} of {done.total} rows are refused; {hint}", "R4")
    _tell(output, done, report)


def _order(application: Application, options: Mapping[str, Any], limit: int) -> ImportOrder:
    separator, user_from = options["separator"], options["user_from"]
    same = ("group", "dry_run", "skip_bad", "allow_look_alikes", "encoding")
    return ImportOrder(
        kind=AccountKind(options["kind"]),
        region=application.settings.phone_region,
        user_from=None if user_from is None else Field(user_from),
        separator=None if separator is None else _SEPARATORS.get(separator, separator),
        column_map=_column_map(options["wishes"]),
        shown_rows=limit,
        **{name: options[name] for name in same},
    )


def _column_map(wishes: Sequence[str]) -> dict[str, str]:
    pairs = [wish.rpartition("=") for wish in wishes]
    for wish, (head, _, field) in zip(wishes, pairs, strict=True):
        if not head or not field:
            raise InvalidValue("--map", wish, "it is a column's head and a field, like 'Cell no.=phone'")
    return {head.strip(): field.strip().lower() for head, _, field in pairs}


@contextmanager
def _report_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    # With a mark in front, for spreadsheets; it holds what people gave in confidence.
    with private_file(path, "--report") as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        yield text
        text.flush()
        text.detach()


def _show(output: Output, done: ImportReport) -> None:
    rows = [asdict(row) for row in done.rows]
    if output.format is Format.JSON:
        summary = {
            name: getattr(done, name)
            for name in (
                "applied",
                "total",
                "new",
                "unchanged",
                "refused",
                "warnings",
                "encoding",
                "separator",
            )
        }
        record = summary | {"columns": done.columns, "ignored": list(done.ignored), "rows": rows}
        output.record(record, [Column(name) for name in record])
        return
    output.rows(rows, ROWS)
    if done.total > len(rows):
        click.echo(
            f"… and {done.total - len(rows)} rows more (--limit shows more, --report writes them)", err=True
        )


def _tell(output: Output, done: ImportReport, report: Path | None) -> None:
    if output.format is not Format.TABLE:
        return
    read = _SEPARATOR_NAMES.get(done.separator, repr(done.separator))
    click.echo(
        f"read as {done.encoding} with {read}: {', '.join(f'{head} is {what}' for head, what in done.columns.items())}"
    )
    if done.ignored:
        click.echo(f"ignored: {', '.join(done.ignored)}")
    verb = "imported" if done.applied else "would import"
    told = f"{verb} {done.new} of {done.total} rows; {done.unchanged} unchanged, {done.refused} refused"
    click.echo(told + (f", {done.warnings} look-alikes" if done.warnings else ""))
    if report is not None:
        click.echo(f"wrote what is not in the books to {report}")
