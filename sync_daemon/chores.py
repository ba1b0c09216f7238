"""What the schedule does now and then: stale sessions, retention, the archive. One daemon does it, by an advisory lock.

In a thread and on connections of their own, so that no expiry waits for them. A chore that fails is one line in the log and
is tried again at its next time; the others go on.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from sync_daemon.archive import ARCHIVED_AT_ONCE, archive_closed, drop_old_months, forget_copies
from sync_daemon.database import are_apart, billing_url, connect, radius_url
from sync_daemon.retention import delete_old
from sync_daemon.settings import Settings
from sync_daemon.stale import CLOSED_AT_ONCE, close_stale, observe_intervals
from sync_daemon.trouble import Trouble, in_one_line

log = logging.getLogger(__name__)

TRY_LOCK = "SELECT pg_try_advisory_lock(hashtext('herotill chores'))"
RETRY_SECONDS = 2.0
STEP_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Desk:
    """What the chores work with."""

    settings: Settings
    radius: Connection
    books: Connection
    stop: threading.Event

    @property
    def copies(self) -> tuple[Connection, ...]:
        """Where there is a schema radius in use: with two databases the books have a copy of much of it."""
        return (self.radius, self.books) if are_apart(self.settings) else (self.radius,)


def close_stale_sessions(desk: Desk) -> None:
    """Close sessions whose Stop was lost (rule R32)."""
    now = datetime.now(UTC)
    observe_intervals(desk.radius, now)
    closed = CLOSED_AT_ONCE
    while closed >= CLOSED_AT_ONCE and not desk.stop.is_set():
        closed = close_stale(desk.radius, now, desk.settings.stale_without_interims_seconds)
        if closed:
            log.info("closed %s sessions that no longer report", closed)


def archive_sessions(desk: Desk) -> None:
    """Move sessions that ended long ago to the archive, and drop its oldest months."""
    now, kept = datetime.now(UTC), desk.settings.retention_days
    moved, total = ARCHIVED_AT_ONCE, 0
    while kept.sessions is not None and moved >= ARCHIVED_AT_ONCE and not desk.stop.is_set():
        moved = archive_closed(desk.radius, now - timedelta(days=kept.sessions))
        total += moved
    if kept.sessions is not None and are_apart(desk.settings):
        total += forget_copies(desk.books, now - timedelta(days=kept.sessions))
    if total:
        log.info("archived %s sessions", total)
    if kept.archive is not None:
        for name in drop_old_months(desk.radius, now - timedelta(days=kept.archive)):
            log.info("dropped the month %s of the archive", name)


def apply_retention(desk: Desk) -> None:
    """Delete what is kept no longer (rule R36)."""
    totals: dict[str, int] = {}
    for name, deleted in delete_old(desk.copies, desk.books, desk.settings.retention_days, datetime.now(UTC)):
        totals[name] = totals.get(name, 0) + deleted
        if desk.stop.is_set():
            break
    if totals:
        log.info("retention removed %s", ", ".join(f"{count} {name}" for name, count in totals.items()))


@dataclass(slots=True)
class _Chore:
    work: Callable[[Desk], None]
    every_seconds: float
    due_at: float = 0.0


@dataclass
class Chores:
    """The chores of one daemon, done while it holds the lock."""

    settings: Settings
    stop: threading.Event
    _chores: list[_Chore] = field(
        default_factory=lambda: [
            _Chore(close_stale_sessions, 15.0),
            _Chore(archive_sessions, 900.0),
            _Chore(apply_retention, 900.0),
        ]
    )

    _away: Trouble = field(default_factory=lambda: Trouble(log, "the chores wait for the database: %s"))

    def run(self) -> None:
        """Do what is due until stopped; a database that goes away is waited for."""
        while not self.stop.is_set():
            try:
                self._work_while_connected()
            except psycopg2.Error as error:
                self._away.tell(error)
                self.stop.wait(RETRY_SECONDS)

    def _work_while_connected(self) -> None:
        radius = connect(radius_url(self.settings), "herotill chores")
        try:
            books = connect(billing_url(self.settings), "herotill chores books")
            try:
                self._work(Desk(self.settings, radius, books, self.stop))
            finally:
                books.close()
        finally:
            radius.close()

    def _work(self, desk: Desk) -> None:
        while not self.stop.is_set() and not _is_alone(desk.radius):
            self.stop.wait(RETRY_SECONDS)
        while not self.stop.is_set():
            for chore in self._chores:
                if chore.due_at <= time.monotonic() and not self.stop.is_set():
                    chore.due_at = time.monotonic() + chore.every_seconds
                    _do(chore, desk)
                    self._away.is_over("the chores go on")
            self.stop.wait(STEP_SECONDS)


def _is_alone(connection: Connection) -> bool:
    """Take the lock, which lasts as long as the connection, unless another daemon has it."""
    with connection, connection.cursor() as cursor:
        cursor.execute(TRY_LOCK)
        row = cursor.fetchone()
    return row is not None and bool(row[0])


def _do(chore: _Chore, desk: Desk) -> None:
    try:
        chore.work(desk)
    except psycopg2.Error as error:
        if desk.radius.closed or desk.books.closed:
            raise
        name = chore.work.__name__.replace("_", " ")
        log.error("the schedule could not %s and tries again: %s", name, in_one_line(error))
