"""The meter's loop: look whether the journal grew, apply what is new, remove what is old.

It looks every few milliseconds instead of being told by inotify: an event for each of two thousand records a second costs
more than metering them, and looking now and then gathers them into batches (docs/decisions).
"""

import gc
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from herotill.journal import Damaged, Record
from herotill.nas import SELECT_NASES, NasDirectory
from sync_daemon.database import connect, radius_url
from sync_daemon.meter.applying import Contents, JournalReadTwice, RecordReader, apply_chunk, understand
from sync_daemon.meter.journal_rows import forget_positions, read_positions
from sync_daemon.meter.reading import CHUNK_OCTETS, Chunk, JournalReader
from sync_daemon.prepared import PLAN_BY_INDEXES
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble

log = logging.getLogger(__name__)

POLL_SECONDS = 0.01
RETRY_SECONDS = 1.0
CLEANING_SECONDS = 600.0
LOGINS_POLL_SECONDS = 0.05
"""While there are only logins, which nobody waits for: a transaction costs as much as a hundred of them."""
BACKLOG_OCTETS = CHUNK_OCTETS // 2
"""With so much at once there is more: look again without a pause."""
STANDING_STILL_MILLISECONDS = 20_000
"""A meter that stands still with accounts locked (its machine is paused, or swaps) loses the locks, not its batch."""
CAUGHT_UP_SECONDS = 5.0
"""How often it is written down that everything is applied (rule R32 counts silence up to there)."""
NOTE_CAUGHT_UP = """
    INSERT INTO radius.meter_state (node, caught_up_at) VALUES (%s, %s)
    ON CONFLICT (node) DO UPDATE SET caught_up_at = excluded.caught_up_at
"""
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('herotill meter of ' || %s, 0))"


class Meter:
    """Applies one node's journal to one database, in the order it was written."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._node = settings.node
        self._class_secret = bytes.fromhex(settings.class_secret)
        self._reader = JournalReader(settings.journal_directory)
        self._keep_seconds = settings.journal_retention_seconds
        self.pause_seconds = 0.0
        """How long new records may gather before they are looked for again."""
        with connection, connection.cursor() as cursor:
            cursor.execute("LISTEN herotill_nas")
            cursor.execute(PLAN_BY_INDEXES)
            # What a crash of PostgreSQL takes away is in the journal, and so is the position: it is read again.
            cursor.execute("SET synchronous_commit = off")
            self._read_up_to = read_positions(cursor, self._node)
        self._record_reader = self._read_nases()

    def apply_new(self) -> int:
        """Apply what is new, up to one reading's worth; return how many records that was.

        After an exception nothing more must be asked of this meter: it has read further than it has applied.
        """
        self._connection.poll()
        if self._connection.notifies:
            self._connection.notifies.clear()
            self._record_reader = self._read_nases()
        chunks = self._reader.read(self._read_up_to)
        has_reports = False
        for chunk in chunks:
            self._read_up_to[chunk.segment] = chunk.end
            contents = understand(chunk.records, self._record_reader)
            self._apply(chunk, contents)
            has_reports = has_reports or bool(contents.steps)
        self.pause_seconds = _pause_after(chunks, has_reports)
        return sum(len(chunk.records) for chunk in chunks)

    def _read_nases(self) -> RecordReader:
        """Read whose NAS is of which make: that decides what its Input means."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(SELECT_NASES)
            return RecordReader(NasDirectory(cursor.fetchall()), self._class_secret)

    def _apply(self, chunk: Chunk, contents: Contents) -> None:
        try:
            apply_chunk(self._connection, self._node, chunk, contents)
        except (psycopg2.DataError, psycopg2.IntegrityError, ValueError) as error:
            # ValueError is psycopg2's own for text that PostgreSQL cannot hold: a NUL, a lone surrogate.
            self._apply_one_by_one(chunk, error)

    def _apply_one_by_one(self, chunk: Chunk, error: Exception) -> None:
        """A record the database refuses must not hold up the others: it alone is quarantined."""
        if len(chunk.records) == 1:
            log.error("a journal record is quarantined: %s", str(error).strip())
            refused = replace(chunk, records=(_refused(chunk.records[0], error),))
            apply_chunk(
                self._connection, self._node, refused, understand(refused.records, self._record_reader)
            )
            return
        starts = [record.offset for record in chunk.records]
        for record, start, end in zip(chunk.records, starts, [*starts[1:], chunk.end], strict=True):
            alone = Chunk(chunk.segment, start, end, (record,))
            self._apply(alone, understand(alone.records, self._record_reader))

    def note_caught_up(self, at: datetime) -> None:
        """Write down that what was journalled before this is applied."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(NOTE_CAUGHT_UP, (self._node, at))

    def remove_old(self) -> None:
        """Remove segments that were applied long ago; the file goes first, so that nothing is read twice."""
        removed = self._reader.remove_old(self._keep_seconds)
        if removed:
            with self._connection, self._connection.cursor() as cursor:
                forget_positions(cursor, self._node, removed)


def _pause_after(chunks: Sequence[Chunk], has_reports: bool) -> float:
    if sum(chunk.end - chunk.start for chunk in chunks) > BACKLOG_OCTETS:
        return 0.0
    return POLL_SECONDS if has_reports or not chunks else LOGINS_POLL_SECONDS


def _refused(record: Record | Damaged, error: Exception) -> Damaged:
    line = record.line if isinstance(record, Damaged) else repr(record.body).encode()
    return Damaged(record.offset, f"the database refused it: {str(error).strip()}", line)


def run(settings: Settings, stop: threading.Event) -> None:
    """Meter this node's journal until `stop`; a database that goes away is waited for."""
    # A batch makes many objects and no cycles: looking for cycles at the usual pace costs a fifth of the meter's time.
    gc.set_threshold(100_000, 50, 100)
    settings.journal_directory.mkdir(parents=True, exist_ok=True)
    away = Trouble(log, "the meter cannot use the database and tries again: %s")
    unread = Trouble(log, "the journal cannot be read, the meter tries again: %s", logging.ERROR)
    while not stop.is_set():
        try:
            _meter_while_connected(settings, stop, away)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            away.tell(error)
            stop.wait(RETRY_SECONDS)
        except OSError as error:
            unread.tell(error)
            stop.wait(RETRY_SECONDS)
        except JournalReadTwice as error:
            log.error("another meter has applied segment %s of this journal; starting over", error)
            stop.wait(RETRY_SECONDS)


def _meter_while_connected(settings: Settings, stop: threading.Event, away: Trouble) -> None:
    connection = connect(
        radius_url(settings), "herotill meter", idle_in_transaction_milliseconds=STANDING_STILL_MILLISECONDS
    )
    try:
        if not _become_the_meter(connection, settings.node, stop):
            return
        if not away.is_told:
            log.info("metering the journal of node %s in %s", settings.node, settings.journal_directory)
        _follow_journal(Meter(connection, settings), stop, away)
    finally:
        connection.close()


def _follow_journal(meter: Meter, stop: threading.Event, away: Trouble) -> None:
    """Apply whatever comes; when asked to stop, first what is there."""
    cleaned_at = caught_up_at = 0.0
    while True:
        looked_at = datetime.now(UTC)
        applied = meter.apply_new()
        if meter.pause_seconds and time.monotonic() - caught_up_at > CAUGHT_UP_SECONDS:
            meter.note_caught_up(looked_at)
            caught_up_at = time.monotonic()
            away.is_over("the meter is at work again")
        if time.monotonic() - cleaned_at > CLEANING_SECONDS:
            meter.remove_old()
            cleaned_at = time.monotonic()
        if stop.is_set() and not applied:
            return
        time.sleep(meter.pause_seconds)


def _become_the_meter(connection: Connection, node: str, stop: threading.Event) -> bool:
    """Wait until this is the only meter of the node; False when stopped before."""
    waiting = False
    while not stop.is_set():
        with connection, connection.cursor() as cursor:
            cursor.execute(TRY_LOCK, (node,))
            row = cursor.fetchone()
        if row is not None and row[0]:
            return True
        if not waiting:
            log.info("another meter is at work for node %s; waiting to take over", node)
            waiting = True
        stop.wait(RETRY_SECONDS)
    return False
