"""Requests to NASes put into the outbox `radius.coa_request`, in the transaction that makes them necessary.

What is newer takes the place of what is older: a session that is to be ended need not be slowed first, and one whose account
was given more is not ended for what it had used up.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extras import execute_values

from herotill.dialect import as_attributes, dialect_for
from herotill.ending import Cut
from herotill.live_change import ChangeBy, LiveChange, Purpose, Reconnect, Unsayable, Way, way_to_change
from herotill.multiplier import PER_MILLE
from herotill.nas import SELECT_NASES, NasDirectory
from herotill.sessions import Session, identifying_attributes

INSERT_REQUESTS = """
    INSERT INTO radius.coa_request (
        request_key, action, purpose, reason, username, acct_unique_id, nas_address, session_attributes, changes, caused_at,
        next_attempt_at)
    VALUES %s
    ON CONFLICT (request_key) DO NOTHING
    RETURNING coa_request_id
"""

# What is on its way is let arrive, and not gone on with. What was tried in vain is not tried again.
SUPERSEDE = """
    UPDATE radius.coa_request AS older
    SET is_superseded = true,
        state = CASE WHEN older.finished_at IS NULL AND older.state <> 'sent' THEN 'superseded' ELSE older.state END,
        outcome = CASE WHEN older.finished_at IS NULL AND older.state <> 'sent'
                       THEN concat_ws(' ', older.outcome, 'Something newer is wanted of the session.')
                       ELSE older.outcome END,
        finished_at = CASE WHEN older.finished_at IS NULL AND older.state <> 'sent' THEN clock_timestamp()
                           ELSE older.finished_at END
    FROM radius.coa_request AS newer
    WHERE newer.coa_request_id = ANY (%(ids)s)
      AND older.acct_unique_id = newer.acct_unique_id AND older.coa_request_id < newer.coa_request_id
      AND NOT older.is_superseded AND older.state NOT IN ('confirmed', 'superseded')
      AND older.purpose <> 'end'
"""

# An account that has something again: nobody is thrown out, or slowed, for what it had used up.
SUPERSEDE_ENDS = """
    UPDATE radius.coa_request
    SET is_superseded = true,
        state = CASE WHEN finished_at IS NULL AND state <> 'sent' THEN 'superseded' ELSE state END,
        outcome = CASE WHEN finished_at IS NULL AND state <> 'sent'
                       THEN concat_ws(' ', outcome, 'The account was given more.') ELSE outcome END,
        finished_at = CASE WHEN finished_at IS NULL AND state <> 'sent' THEN clock_timestamp() ELSE finished_at END
    WHERE acct_unique_id = ANY (%(sessions)s) AND NOT is_superseded AND state NOT IN ('confirmed', 'superseded')
      AND reason IN ('quota', 'time', 'expiry', 'void', 'ladder')
"""

ROW = f"({'%s, ' * 10}clock_timestamp() + make_interval(secs => %s))"

NOTIFY_COA = "SELECT pg_notify('herotill_coa', '')"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request: what is asked of a session's NAS, and what for. Without `changes` the session is ended.

    `named_by` is how the NAS may be told which session is meant; None: by all that is known. It is asked `after_seconds`.
    """

    session: Session
    request_key: str
    purpose: Purpose
    reason: str
    changes: Mapping[str, str | list[str]]
    named_by: Mapping[str, str] | None = None
    after_seconds: float = 0.0


def request_cuts(cursor: Cursor, cuts: Iterable[Cut], caused_at: datetime | None) -> None:
    """Ask the NASes to end or change these sessions. Asking twice for one end asks once."""
    wanted = list(cuts)
    if wanted:
        nases = read_nases(cursor)
        put_requests(cursor, [_cut(cut, nases) for cut in wanted], caused_at)


def request_changes(cursor: Cursor, changes: Iterable[LiveChange], caused_at: datetime | None) -> int:
    """Ask the NASes to let these sessions have more or less; return of how many something is asked."""
    wanted = list(changes)
    if not wanted:
        return 0
    nases = read_nases(cursor)
    requests = [request for change in wanted if (request := _change(change, nases)) is not None]
    put_requests(cursor, requests, caused_at)
    return len(requests)


def spare_sessions(cursor: Cursor, sessions: Sequence[Session]) -> None:
    """Take back what was asked because something was used up."""
    cursor.execute(SUPERSEDE_ENDS, {"sessions": [session.acct_unique_id for session in sessions]})


def put_requests(cursor: Cursor, requests: Sequence[Wanted], caused_at: datetime | None) -> None:
    """Put requests into the outbox, in the place of older ones, and wake the workers."""
    if not requests:
        return
    rows = [_row(request, caused_at) for request in requests]
    added = [row[0] for row in execute_values(cursor, INSERT_REQUESTS, rows, ROW, fetch=True)]
    if added:
        cursor.execute(SUPERSEDE, {"ids": added})
        cursor.execute(NOTIFY_COA)


def read_nases(cursor: Cursor) -> NasDirectory:
    """Return the NASes as the database has them now."""
    cursor.execute(SELECT_NASES)
    return NasDirectory(cursor.fetchall())


def _cut(cut: Cut, nases: NasDirectory) -> Wanted:
    """Change the session where it may go on with less and its make can be told live; else end it."""
    if cut.reply is None:
        return Wanted(cut.session, cut.request_key, Purpose.END, str(cut.reason), {})
    restrict = Purpose.RESTRICT
    way = _way(
        LiveChange(cut.session, cut.request_key, str(cut.reason), restrict, cut.before, cut.reply), nases
    )
    changes = as_attributes(way.pairs) if isinstance(way, ChangeBy) else {}
    return Wanted(cut.session, cut.request_key, restrict, str(cut.reason), changes)


def _change(change: LiveChange, nases: NasDirectory) -> Wanted | None:
    way = _way(change, nases)
    match way:
        case ChangeBy(pairs):
            changes = as_attributes(pairs)
            return Wanted(change.session, change.request_key, change.purpose, change.reason, changes)
        case Reconnect():
            return Wanted(change.session, change.request_key, change.purpose, change.reason, {})
        case Unsayable():
            return None
        case _:
            assert_never(way)


def _way(change: LiveChange, nases: NasDirectory) -> Way:
    nas = nases.find(change.session.nas_address)
    if nas is None:
        return way_to_change(change, dialect_for("other"), PER_MILLE)
    return way_to_change(change, nas.dialect, nas.multiplier_per_mille)


def _row(request: Wanted, caused_at: datetime | None) -> tuple[object, ...]:
    session = request.session
    return (
        request.request_key,
        "coa" if request.changes else "disconnect",
        request.purpose.value,
        request.reason,
        session.username,
        session.acct_unique_id,
        session.nas_address,
        json.dumps(identifying_attributes(session) if request.named_by is None else dict(request.named_by)),
        json.dumps(request.changes),
        caused_at,
        request.after_seconds,
    )
