"""What happens by the clock: grants expire to the second, what packet time did is booked, and chores beside it.

The next expiry is waited for, not polled. Any number of daemons may run it: rows are taken with SKIP LOCKED. With two
databases the clock of RADIUS and the books have a thread each, so that neither waits for the other's database.
"""

import logging
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg2
import sqlalchemy
import sqlalchemy.exc
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from sqlalchemy.orm import Session as BillingSession

from billing import coa_alarms, code_schedule, notices, verification
from billing.access_events import BATCH_SIZE, MAX_SETTLED, book_access_events, settle_ended_vouchers
from herotill.ending import cuts_at_end
from herotill.grants import with_end_written
from sync_daemon.chores import Chores
from sync_daemon.database import are_apart, billing_engine, billing_url, connect, radius_url
from sync_daemon.grant_rows import write_ended
from sync_daemon.laddering import changes_of_step, service_before_expiry, service_of
from sync_daemon.meter.statements import load_accounts, load_live_sessions
from sync_daemon.outbox import request_changes, request_cuts
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 60.0
SHORTEST_WAIT_SECONDS = 0.005
RETRY_SECONDS = 1.0
JOIN_SECONDS = 5.0
EXPIRIES_AT_ONCE = 500

# Two indexes, two questions: a fixed end, and an end so long after the last use.
SELECT_DUE = """
    SELECT username FROM (
        (SELECT username FROM radius.entitlement
         WHERE ended_at IS NULL AND expires_at IS NOT NULL AND expires_at <= %(now)s
         ORDER BY expires_at LIMIT %(limit)s)
        UNION
        (SELECT username FROM radius.entitlement
         WHERE ended_at IS NULL AND seconds_after_last_use IS NOT NULL AND last_used_at IS NOT NULL
           AND last_used_at + make_interval(secs => seconds_after_last_use) <= %(now)s
         LIMIT %(limit)s)) AS due
"""

SELECT_NEXT = """
    SELECT LEAST(
        (SELECT min(expires_at) FROM radius.entitlement WHERE ended_at IS NULL AND expires_at IS NOT NULL),
        (SELECT min(last_used_at + make_interval(secs => seconds_after_last_use)) FROM radius.entitlement
         WHERE ended_at IS NULL AND seconds_after_last_use IS NOT NULL AND last_used_at IS NOT NULL))
"""

NOTIFY_ACCOUNTS = (
    "SELECT pg_notify('herotill_account', json_build_array(name)::text) FROM unnest(%s::text[]) AS name"
)


def expire_grants(connection: Connection, now: datetime) -> int:
    """End every grant whose clock has run out and cut the sessions that lived on it; return how many accounts that was."""
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_DUE, {"now": now, "limit": EXPIRIES_AT_ONCE})
        usernames = [row[0] for row in cursor.fetchall()]
        if usernames:
            _expire_accounts(cursor, usernames, now)
    return len(usernames)


def _expire_accounts(cursor: Cursor, usernames: Sequence[str], now: datetime) -> None:
    accounts = load_accounts(cursor, usernames)
    sessions = load_live_sessions(cursor, usernames)
    for account in accounts.values():
        grants = [with_end_written(grant, now) for grant in account.grants.values()]
        write_ended(cursor, grants)
        if account.kind is not None:
            live = [session for session in sessions if session.username == account.username]
            before = service_before_expiry(account.grants.values(), now)
            request_changes(cursor, changes_of_step(before, service_of(grants, now), live, now), now)
            request_cuts(cursor, cuts_at_end(account.kind, grants, live, now), now)
    cursor.execute(NOTIFY_ACCOUNTS, (sorted(accounts),))


def next_expiry(connection: Connection) -> datetime | None:
    """Return when the next grant expires, or None."""
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_NEXT)
        row = cursor.fetchone()
    expiry: datetime | None = None if row is None else row[0]
    return expiry


def run(settings: Settings, stop: threading.Event) -> None:
    """Keep the clock until `stop`; a database that goes away is waited for."""
    others = [threading.Thread(target=_do_chores, args=(settings, stop), name="chores", daemon=True)]
    if are_apart(settings):
        books = (_keep_books_apart, settings, stop, "the schedule of the books")
        others.append(threading.Thread(target=_while_connected, args=books, name="books", daemon=True))
    for thread in others:
        thread.start()
    try:
        _while_connected(_keep_time, settings, stop, "the schedule")
    finally:
        stop.set()
        for thread in others:
            thread.join(JOIN_SECONDS)


def _do_chores(settings: Settings, stop: threading.Event) -> None:
    """Do chores until `stop`; a fault of ours ends the worker, so that the supervisor starts it again."""
    try:
        Chores(settings, stop).run()
    except Exception:
        log.exception("the chores failed")
        stop.set()


def _while_connected(
    work: Callable[[Settings, threading.Event, Trouble], None],
    settings: Settings,
    stop: threading.Event,
    who: str,
) -> None:
    away = Trouble(log, f"{who} waits for the database: %s")
    while not stop.is_set():
        try:
            work(settings, stop, away)
        except (psycopg2.Error, sqlalchemy.exc.DBAPIError) as error:
            away.tell(error)
            stop.wait(RETRY_SECONDS)


def _keep_books_apart(settings: Settings, stop: threading.Event, away: Trouble) -> None:
    """Keep the books where they have a database of their own: what RADIUS did comes there with a notification."""
    listening = connect(billing_url(settings), "herotill schedule books listen", autocommit=True)
    engine = billing_engine(settings, "herotill schedule books")
    try:
        with listening.cursor() as cursor:
            cursor.execute("LISTEN herotill_event")
        while not stop.is_set():
            while not stop.is_set() and _keep_books(engine):
                pass
            away.is_over("the books' schedule goes on")
            _hear(listening, LONGEST_WAIT_SECONDS, stop)
    finally:
        engine.dispose()
        listening.close()


def _keep_time(settings: Settings, stop: threading.Event, away: Trouble) -> None:
    working = connect(radius_url(settings), "herotill schedule")
    listening = connect(radius_url(settings), "herotill schedule listen", autocommit=True)
    engine = billing_engine(settings, "herotill schedule books")
    try:
        with listening.cursor() as cursor:
            cursor.execute("LISTEN herotill_account; LISTEN herotill_event")
        while not stop.is_set():
            while not stop.is_set() and expire_grants(working, datetime.now(UTC)):
                pass
            while not stop.is_set() and not are_apart(settings) and _keep_books(engine):
                pass
            away.is_over("the schedule goes on")
            _wait(listening, working, stop)
    finally:
        engine.dispose()
        listening.close()
        working.close()


def _keep_books(engine: sqlalchemy.Engine) -> bool:
    """Book what packet time did, what became of codes, and remind; true when there may be more.

    Each step is a transaction of its own: locks are taken in one order within a step (billing/holding.py).
    """
    now = datetime.now(UTC)
    with _books(engine) as session:
        booked = book_access_events(session, now)
    with _books(engine) as session:
        settled = settle_ended_vouchers(session)
    with _books(engine) as session:
        more_codes = code_schedule.tick(session, now)
    with _books(engine) as session:
        told = max(coa_alarms.tell_of_sessions(session, now), coa_alarms.tell_of_nases(session, now))
    with _books(engine) as session:
        verification.expire_codes(session, now)
    with _books(engine) as session:
        notices.remind_of_ends(session, now)
        looked_at = notices.remind_of_low_balances(session, now)
    more_events = booked >= BATCH_SIZE or settled >= MAX_SETTLED or told >= coa_alarms.ALARMS_AT_ONCE
    return more_events or more_codes or looked_at >= notices.CHANGES_AT_ONCE


@contextmanager
def _books(engine: sqlalchemy.Engine) -> Iterator[BillingSession]:
    with BillingSession(engine) as session, session.begin():
        yield session


def _wait(listening: Connection, working: Connection, stop: threading.Event) -> None:
    """Wait for the next expiry, a notification, or the end; at most a minute."""
    expiry = next_expiry(working)
    seconds = LONGEST_WAIT_SECONDS
    if expiry is not None:
        seconds = min(seconds, (expiry - datetime.now(UTC)).total_seconds())
    _hear(listening, max(seconds, SHORTEST_WAIT_SECONDS), stop)


def _hear(listening: Connection, seconds: float, stop: threading.Event) -> None:
    deadline = datetime.now(UTC).timestamp() + seconds
    while not stop.is_set() and (left := deadline - datetime.now(UTC).timestamp()) > 0:
        # In short steps, because a signal handler can only set `stop`.
        if select.select([listening], [], [], min(left, 0.2))[0]:
            listening.poll()
            listening.notifies.clear()
            return
