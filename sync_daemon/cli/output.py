"""How every noun prints: tables for people, JSON and CSV for programs; times in the operator's time zone.

A row is a mapping of raw values (integers, aware datetimes, Money); a Column says how people see one of them.
"""

import csv
import functools
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from enum import StrEnum
from typing import Any, Literal

import click

from herotill.ladder import show_ladder
from herotill.quantities import Money, format_bits_per_second, format_octets, format_seconds
from sync_daemon.cli.application import Application

Row = Mapping[str, Any]

_UNBOUNDED_WIDTH = 4000
_UNITS: dict[str, Callable[[int], str]] = {
    "_bits_per_second": format_bits_per_second,
    "_octets": format_octets,
    "_seconds": format_seconds,
}


class Format(StrEnum):
    """Whom the output is for."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: the key in the row, and how people see it (None shows as `absent`)."""

    key: str
    show: Callable[[Any], str] = str
    absent: str = ""
    right: bool = False
    head: str = ""

    @property
    def title(self) -> str:
        """The head of the column."""
        return self.head or self.key.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Output:
    """Prints rows or one record the way the command line asked for."""

    application: Application
    format: Format = Format.TABLE

    def rows(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        """Print a list: a table, a JSON array, or CSV with a head line."""
        match self.format:
            case Format.JSON:
                click.echo(self._json([self._selected(row, columns) for row in rows]))
            case Format.CSV:
                click.echo(csv_text(rows, [column.key for column in columns], self._zone), nl=False)
            case Format.TABLE:
                self._table(rows, columns)

    def record(self, record: Row, columns: Sequence[Column]) -> None:
        """Print one thing: a name and a value on each line, a JSON object, or CSV of one row."""
        if self.format is Format.JSON:
            click.echo(self._json(self._selected(record, columns)))
        elif self.format is Format.CSV:
            self.rows([record], columns)
        else:
            width = max(len(column.title) for column in columns)
            for column in columns:
                click.echo(f"{column.title:<{width}}  {self._cell(record, column)}".rstrip())

    @property
    def _zone(self) -> tzinfo:
        return self.application.time_zone

    def _table(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        from rich import box  # noqa: PLC0415 - slow to import; JSON and CSV need none of it
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        if not rows:
            click.echo("nothing to show")
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(columns):
            side: Literal["left", "right"] = "right" if column.right else "left"
            widest = max(len(word) for word in column.title.split())
            table.add_column(
                column.title, justify=side, no_wrap=index == 0, overflow="fold", min_width=widest
            )
        for row in rows:
            # Text: what people typed is data, never markup.
            table.add_row(*(Text(self._cell(row, column)) for column in columns))
        console = self.application.console
        # A terminal's lines wrap within their cells; a file or a pipe gets every line whole.
        if not console.is_terminal:
            console = Console(highlight=False, width=_UNBOUNDED_WIDTH)
        console.print(table)

    def _cell(self, row: Row, column: Column) -> str:
        value = row.get(column.key)
        if value is None:
            return column.absent
        if isinstance(value, bool):
            return "yes" if value else "no"
        return column.show(_in_zone(value, self._zone))

    def _selected(self, row: Row, columns: Sequence[Column]) -> dict[str, Any]:
        return {column.key: row.get(column.key) for column in columns}

    def _json(self, value: object) -> str:
        return json.dumps(value, default=self._plain, ensure_ascii=False, indent=2)

    def _plain(self, value: object) -> object:
        if isinstance(value, Money):
            return {"minor": value.minor, "currency": value.currency}
        if isinstance(value, datetime):
            return value.astimezone(self._zone).isoformat()
        return str(value)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--json` and `--csv`, and the argument `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
    @functools.wraps(command)
    def with_output(*arguments: Any, as_json: bool, as_csv: bool, **others: Any) -> Any:
        application = click.get_current_context().find_object(Application)
        if application is None:
            raise RuntimeError("the main command makes the Application")
        wanted = Format.JSON if as_json else Format.CSV if as_csv else Format.TABLE
        return command(*arguments, output=Output(application, wanted), **others)

    return with_output


def csv_text(rows: Sequence[Row], keys: Sequence[str], zone: tzinfo) -> str:
    """Return CSV with a head line; times carry their offset."""
    return "".join(csv_lines(rows, keys, zone))


def csv_lines(rows: Iterable[Row], keys: Sequence[str], zone: tzinfo) -> Iterator[str]:
    """Yield the lines of CSV, the head first, so that long lists need little memory."""
    yield _csv_line(keys)
    for row in rows:
        yield _csv_line([_csv_cell(row.get(key), zone) for key in keys])


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def show_time(moment: datetime) -> str:
    """Show a time to the minute; it is in the operator's zone already."""
    return f"{moment:%Y-%m-%d %H:%M}"


def show_octets(octets: int) -> str:
    """Show octets exactly, as they can be typed."""
    return format_octets(octets)


def show_seconds(seconds: int) -> str:
    """Show a duration exactly, as it can be typed."""
    return format_seconds(seconds)


def show_list(values: Sequence[object]) -> str:
    """Show several values on one line."""
    return ", ".join(str(value) for value in values)


def show_mapping(mapping: Mapping[str, Any]) -> str:
    """Show a policy on one line, with quantities as they can be typed."""
    return ", ".join(_show_field(key, value) for key, value in mapping.items())


def _show_field(key: str, value: object) -> str:
    if key == "ladder":
        return f"ladder {show_ladder(str(value))}"
    for unit, show in _UNITS.items():
        if key.endswith(unit) and isinstance(value, int):
            return f"{key.removesuffix(unit).replace('_', ' ')} {show(value)}"
    return f"{key.replace('_', ' ')} {'unlimited' if value is None else value}"


def _in_zone(value: object, zone: tzinfo) -> object:
    return value.astimezone(zone) if isinstance(value, datetime) else value


def _csv_cell(value: object, zone: tzinfo) -> str:
    value = _in_zone(value, zone)
    if value is None:
        return ""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return show_list(value)
    return _harmless(str(value))


def _harmless(text: str) -> str:
    """Keep spreadsheets from running what a customer typed as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and not text[1:].isdigit() else text
