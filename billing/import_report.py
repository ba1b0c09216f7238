"""What an import did, or would do, row by row, and the CSV that can be corrected and fed back (rule R4)."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.csv_columns import REPORT_COLUMNS, ColumnMap, Field

ROWS_AT_ONCE = 5000

# A row's problems on one line; the column is named as the file names it.
_ROWS = """
    SELECT line, outcome, cells, name, username,
           (SELECT array_agg(DISTINCT field) FROM pg_temp.import_problem WHERE import_problem.line = import_row.line
            AND field <> '') AS fields,
           (SELECT string_agg(DISTINCT reason, '; ') FROM pg_temp.import_problem
            WHERE import_problem.line = import_row.line) AS reason
    FROM pg_temp.import_row
"""
_WORST_FIRST = text(
    _ROWS
    + """ORDER BY outcome <> 'refused', NOT EXISTS (SELECT FROM pg_temp.import_problem
                                              WHERE import_problem.line = import_row.line), line LIMIT :limit"""
)
# The report is what is not in the books afterwards: corrected and fed back, it completes the import.
_MISSING = text(_ROWS + "WHERE outcome = 'refused' OR (outcome = 'new' AND NOT :are_entered) ORDER BY line")


@dataclass(frozen=True, slots=True)
class RowReport:
    """What becomes of one row: `outcome` is new, unchanged or refused; a new row with a reason looks like another."""

    line: int
    outcome: str
    user: str | None
    name: str | None
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would do.

    `applied` tells whether the new rows are in the books now. `rows` are those to look at first, the refused before the
    others; `customer_ids` are of the customers that were entered.
    """

    encoding: str
    separator: str
    columns: dict[str, str]
    ignored: tuple[str, ...]
    new: int
    unchanged: int
    refused: int
    warnings: int
    applied: bool
    rows: tuple[RowReport, ...]
    customer_ids: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """How many rows the file has."""
        return self.new + self.unchanged + self.refused


def first_rows(session: Session, columns: ColumnMap, limit: int) -> tuple[RowReport, ...]:
    """Return the rows an operator wants to see first."""
    return tuple(_report(row, columns) for row in session.execute(_WORST_FIRST, {"limit": limit}))


def write_report(
    session: Session, columns: ColumnMap, file: TextIO, separator: str, *, are_entered: bool
) -> None:
    """Write the rows that are not in the books, as they were read, with what became of each and why."""
    kept = [index for index, head in enumerate(columns.heads) if head.casefold() not in REPORT_COLUMNS]
    writer = csv.writer(file, delimiter=separator)
    writer.writerow([columns.heads[index] for index in kept] + list(REPORT_COLUMNS))
    for row in _stream(session, are_entered):
        told = _report(row, columns)
        cells = _kept_cells(row.cells, kept, len(columns.heads))
        writer.writerow([*cells, told.line, told.outcome, told.column, told.reason])


def _stream(session: Session, are_entered: bool) -> Iterator[Any]:
    options = {"yield_per": ROWS_AT_ONCE}
    yield from session.execute(_MISSING, {"are_entered": are_entered}, execution_options=options)


def _kept_cells(cells: Sequence[str], kept: Sequence[int], head_count: int) -> list[Any]:
    shown = [cells[index] if index < len(cells) else "" for index in kept]
    if len(cells) > head_count and shown:
        # What had no head stays visible, where it can be corrected.
        shown[-1] = " ".join([shown[-1], *cells[head_count:]])
    return list(shown)


def _report(row: Any, columns: ColumnMap) -> RowReport:
    heads = [columns.head_of(Field(field)) for field in row.fields or ()]
    return RowReport(row.line, row.outcome, row.username, row.name, ", ".join(heads), row.reason or "")
