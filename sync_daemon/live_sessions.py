"""The worker `live`: sessions that are online are told what their accounts were given since (rule R16).

Who gives it (the books, packet time, somebody by hand) leaves a row of radius.session_review in the same transaction; here
it becomes requests to NASes. Any number of daemons may run it: rows are taken with SKIP LOCKED.
"""

import logging
import select
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.reviewing import Review, changes_of_review
from herotill.service import percent_now
from herotill.sessions import Session
from sync_daemon.database import connect, radius_url
from sync_daemon.laddering import set_steps, steps_since
from sync_daemon.meter.batch import Account
from sync_daemon.meter.statements import load_accounts, load_live_sessions
from sync_daemon.outbox import request_changes, spare_sessions
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble

log = logging.getLogger(__name__)

REVIEWS_AT_ONCE = 200
RETRY_SECONDS = 1.0
LOOK_SECONDS = 10.0
"""In case a notification was lost."""

TAKE_REVIEWS = """
    DELETE FROM radius.session_review WHERE session_review_id IN (
        SELECT session_review_id FROM radius.session_review ORDER BY session_review_id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING username, session_review_id, given, before, asked_at
"""
SELECT_ACTIVE = "SELECT username FROM radius.managed_account WHERE username = ANY (%s) AND status = 'active'"


def review_sessions(connection: Connection, now: datetime) -> int:
    """Tell the sessions of accounts that were given something; return how many such changes there were."""
    with connection, connection.cursor() as cursor:
        cursor.execute(TAKE_REVIEWS, (REVIEWS_AT_ONCE,))
        rows = sorted(cursor.fetchall(), key=lambda row: row[1])
        if rows:
            reviews: dict[str, Review] = {}
            for username, review_id, given, before, _ in rows:
                reviews[username] = _joined(reviews.get(username), Review(review_id, given, before))
            caused_at = {username: asked_at for username, _, _, _, asked_at in reversed(rows)}
            _review_accounts(cursor, reviews, caused_at, now)
    return len(rows)


def _joined(earlier: Review | None, later: Review) -> Review:
    if earlier is None:
        return later
    # What a grant was before the first change is what the sessions were told.
    return Review(later.review_id, {*earlier.given, *later.given}, {**later.before, **earlier.before})


def _review_accounts(
    cursor: Cursor, reviews: dict[str, Review], caused_at: dict[str, datetime], now: datetime
) -> None:
    accounts = load_accounts(cursor, list(reviews))
    cursor.execute(SELECT_ACTIVE, (list(reviews),))
    active = {row[0] for row in cursor.fetchall()}
    live: dict[str, list[Session]] = {}
    for session in load_live_sessions(cursor, sorted(active)):
        live.setdefault(session.username, []).append(session)
    _remember_steps(cursor, (accounts[username] for username in live), now)
    for username, sessions in live.items():
        grants = list(accounts[username].grants.values())
        changes = changes_of_review(grants, reviews[username], sessions, now)
        if changes:
            spare_sessions(cursor, sessions)
            request_changes(cursor, changes, caused_at[username])


def _remember_steps(cursor: Cursor, accounts: Iterable[Account], now: datetime) -> None:
    percents = {
        account.username: percent_now(account.grants.values(), now)
        for account in accounts
        if any(grant.policy.ladder for grant in account.grants.values())
    }
    known = steps_since(cursor, percents)
    moved = {name: percent for name, percent in percents.items() if percent != known.get(name, (0,))[0]}
    set_steps(cursor, moved, now)


def run(settings: Settings, stop: threading.Event) -> None:
    """Tell sessions until `stop`; a database that goes away is waited for."""
    away = Trouble(log, "live changes wait for the database: %s")
    while not stop.is_set():
        try:
            _follow_reviews(settings, stop, away)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            away.tell(error)
            stop.wait(RETRY_SECONDS)


def _follow_reviews(settings: Settings, stop: threading.Event, away: Trouble) -> None:
    working = connect(radius_url(settings), "herotill live")
    listening = connect(radius_url(settings), "herotill live listen", autocommit=True)
    try:
        with listening.cursor() as cursor:
            cursor.execute("LISTEN herotill_review")
        while not stop.is_set():
            while not stop.is_set() and review_sessions(working, datetime.now(UTC)):
                pass
            away.is_over("live changes go on")
            _wait(listening, stop)
    finally:
        listening.close()
        working.close()


def _wait(listening: Connection, stop: threading.Event) -> None:
    waited = 0.0
    while not stop.is_set() and waited < LOOK_SECONDS:
        # In short steps, because a signal handler can only set `stop`.
        if select.select([listening], [], [], 0.2)[0]:
            listening.poll()
            listening.notifies.clear()
            return
        waited += 0.2
