"""Import of customers from somebody else's CSV file into one group (rule R4).

A file is read as a stream into staging tables, compared there with itself and with the books, and entered in one
transaction: all of it, or nothing, or, if asked for, all but the bad rows. Whoever is imported is unverified (rule R3)
and must choose a password before the account is of use.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing import groups
from billing.csv_columns import ColumnMap, Field, map_columns
from billing.csv_files import CsvDialect, Record, detect, read_records
from billing.import_checks import Counts, check
from billing.import_entering import Entering, enter
from billing.import_report import ImportReport, RowReport, first_rows, write_report
from billing.import_rows import RowReader
from billing.import_staging import stage, stage_known
from billing.phones import check_region
from herotill.errors import InvalidValue, Refused
from herotill.snapshot import AccountKind

# What is under way, how much of it is done, and how much there is (0: nobody knows).
Progress = Callable[[str, int, int], None]

# The comparison of a big file is one long statement, and so is waiting for another import.
_TAKE_TIME = text("SET LOCAL statement_timeout = '30min'")
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtext('herotill import'))")
_KNOWN_COUNT = text("""
    SELECT (SELECT count(*) FROM billing.account WHERE customer_id IS NOT NULL AND status <> 'closed')
         + (SELECT count(*) FROM billing.customer WHERE email IS NOT NULL AND deleted_at IS NULL)
""")


def no_progress(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What is to be imported, and how.

    `column_map` says what a column is (a field's name, or `ignore`) by its head. `user_from` makes a user name, of the phone
    or the e-mail, for rows without one; a row without any becomes a customer without an account. `shown_rows` is how
    many rows the report brings with it.
    """

    group: str
    dry_run: bool = False
    skip_bad: bool = False
    allow_look_alikes: bool = False
    kind: AccountKind = AccountKind.PREPAID
    region: str | None = None
    user_from: Field | None = None
    encoding: str | None = None
    separator: str | None = None
    column_map: Mapping[str, str] = field(default_factory=dict)
    shown_rows: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot be. Raises InvalidValue."""
        if self.kind is AccountKind.HOTSPOT:
            raise InvalidValue("kind", str(self.kind), "customers have prepaid or monthly accounts")
        if self.user_from not in (None, Field.PHONE, Field.EMAIL):
            raise InvalidValue("user_from", str(self.user_from), "it is phone or email")
        if self.region is not None:
            check_region("region", self.region)


def import_file(
    session: Session,
    path: Path,
    *,
    order: ImportOrder,
    now: datetime,
    report: TextIO | None = None,
    progress: Progress = no_progress,
) -> ImportReport:
    """Import a file and say what became of its rows; nothing was written unless the report says `applied`.

    `report` gets the rows that are not in the books afterwards, with the reasons, as CSV. The caller commits. Raises
    InvalidValue for a file or an option that makes no sense.
    """
    group = groups.get(session, order.group)
    session.execute(_TAKE_TIME)
    session.execute(_TAKE_TURNS)
    dialect = detect(path, order.encoding, order.separator)
    columns = _stage_file(session, path, dialect, order, progress)
    stage_known(session, _counter(progress, "comparing", session.scalar(_KNOWN_COUNT) or 0))
    counts = check(session, group.group_id, allow_look_alikes=order.allow_look_alikes)
    applied = not order.dry_run and (order.skip_bad or not counts.refused)
    entered: list[int] = []
    if applied:
        told = _counter(progress, "entering", counts.new)
        entered = _enter(session, Entering(group.group_id, order.kind, now), told)
    if report is not None:
        write_report(session, columns, report, dialect.separator, are_entered=applied)
    rows = first_rows(session, columns, order.shown_rows)
    return _report(dialect, columns, counts, rows=rows, applied=applied, entered=entered)


def _stage_file(
    session: Session, path: Path, dialect: CsvDialect, order: ImportOrder, progress: Progress
) -> ColumnMap:
    size = path.stat().st_size
    records = read_records(path, dialect, lambda octets: progress("reading", octets, size))
    head = next(records, Record(1, []))
    columns = map_columns(head.cells, order.column_map)
    reader = RowReader(columns, order.region, order.user_from)
    count = stage(session, (reader.read(record) for record in records), order.group)
    if not count:
        raise InvalidValue("file", str(path), "it has no rows but the heads")
    return columns


def _enter(session: Session, entering: Entering, told: Callable[[int], None]) -> list[int]:
    try:
        return enter(session, entering, told)
    except IntegrityError as error:
        reason = (
            "somebody entered one of these customers at the same moment; nothing was imported, run it again"
        )
        raise Refused(reason, "R4") from error


def _counter(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        progress(what, done, total)

    return told


def _report(
    dialect: CsvDialect,
    columns: ColumnMap,
    counts: Counts,
    *,
    rows: tuple[RowReport, ...],
    applied: bool,
    entered: list[int],
) -> ImportReport:
    return ImportReport(
        encoding=dialect.encoding,
        separator=dialect.separator,
        columns={columns.heads[number]: str(each) for each, number in columns.columns.items()},
        ignored=tuple(columns.ignored),
        applied=applied,
        rows=rows,
        customer_ids=tuple(entered),
        **asdict(counts),
    )
