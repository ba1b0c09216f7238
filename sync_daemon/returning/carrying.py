"""One batch of what RADIUS has metered, into the books.

The order makes it safe to be killed anywhere and to have several carriers: the region's row in the books is locked first,
RADIUS is read after that, and the log is cleared only when the books have committed. Whoever loses its connection loses the
lock and what it wrote; whoever dies before clearing leaves what the next one writes again, to no effect.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from sync_daemon.returning.relations import RELATIONS, Returning

CHANGES_AT_ONCE = 5_000
NOTE_EVERY = timedelta(seconds=5)
"""How old the note of how far the books are may get while there is nothing to carry."""

_HOLD = """
    SELECT returned_until FROM billing.region WHERE region_id = %s AND database_id = %s FOR NO KEY UPDATE
"""
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
# The clock before the first look: what is committed by then is seen.
_CLOCK = "SELECT clock_timestamp()"
_EVENTS = "SELECT change_id FROM radius.return_change WHERE relation = 'access_event'"
_CHANGES = "SELECT change_id FROM radius.return_change ORDER BY change_id LIMIT %s"
_NAMES_OF = """
    SELECT FROM radius.managed_account WHERE username = ANY(%s) ORDER BY username FOR NO KEY UPDATE
"""
_NOTE = """
    UPDATE billing.region SET carried_change = GREATEST(carried_change, %s), returned_until = coalesce(%s, returned_until)
    WHERE region_id = %s
"""
_WAKE = "SELECT pg_notify('herotill_event', '')"
# What waits here for books that are elsewhere is noted there by the same triggers.
_CLEAR = """
    DELETE FROM radius.return_change WHERE change_id = ANY(%(ids)s);
    DELETE FROM radius.ended_grant;
    DELETE FROM radius.used_up_account;
    UPDATE radius.access_event SET booked_at = now() WHERE event_key = ANY(%(events)s) AND booked_at IS NULL;
    UPDATE radius.return_state SET carried_change = GREATEST(carried_change, %(last)s);
"""
_WAKING = frozenset({"access_event", "coa_request", "login_limit", "nas"})


@dataclass(frozen=True, slots=True)
class Region:
    """One RADIUS database, as the books know it."""

    region_id: int
    name: str
    database_id: str


@dataclass(frozen=True, slots=True)
class _Load:
    """What is carried: rows of each relation as JSON, as they were at `seen_at`; `is_all` where nothing else waits."""

    ids: tuple[int, ...]
    rows: dict[str, str]
    seen_at: datetime
    is_all: bool


def carry(books: Connection, radius: Connection, region: Region, limit: int = CHANGES_AT_ONCE) -> int:
    """Carry one batch and return of how many changes; as many as `limit`: there may be more. Raises psycopg2's errors."""
    with books, books.cursor() as cursor:
        cursor.execute(_HOLD, (region.region_id, region.database_id))
        held = cursor.fetchone()
        if held is None:
            return 0
        load = _read(radius, limit)
        if load.ids:
            _write(cursor, region, load)
        if load.ids or held[0] is None or load.seen_at - held[0] > NOTE_EVERY:
            until = load.seen_at if load.is_all else None
            cursor.execute(_NOTE, (max(load.ids, default=0), until, region.region_id))
    if load.ids:
        _clear(radius, load)
    return len(load.ids)


def _read(radius: Connection, limit: int) -> _Load:
    try:
        with radius, radius.cursor() as cursor:
            cursor.execute(_SNAPSHOT)
            cursor.execute(_CLOCK)
            (seen_at,) = cursor.fetchone() or (None,)
            assert seen_at is not None  # noqa: S101 - a function call returns one row
            cursor.execute(_CHANGES, (limit,))
            ids = [row[0] for row in cursor.fetchall()]
            is_all = len(ids) < limit
            if not is_all:
                cursor.execute(_EVENTS)
                ids = sorted({*ids, *(row[0] for row in cursor.fetchall())})
            rows = {relation.name: _rows(cursor, relation, ids) for relation in RELATIONS} if ids else {}
    finally:
        radius.rollback()
    return _Load(tuple(ids), rows, seen_at, is_all)


def _rows(cursor: Cursor, relation: Returning, ids: list[int]) -> str:
    cursor.execute(relation.read, {"ids": ids})
    (rows,) = cursor.fetchone() or ("[]",)
    return str(rows)


def _write(cursor: Cursor, region: Region, load: _Load) -> None:
    """Write all relations, under the locks everybody takes who looks at what an account has."""
    cursor.execute(_NAMES_OF, (sorted(_names(load.rows.values())),))
    for relation in RELATIONS:
        if load.rows[relation.name] != "[]":
            cursor.execute(relation.write, {"rows": load.rows[relation.name], "region_id": region.region_id})
    if any(load.rows[name] != "[]" for name in _WAKING):
        cursor.execute(_WAKE)


def _names(documents: Iterable[str]) -> set[str]:
    rows: Iterable[dict[str, Any]] = (row for document in documents for row in json.loads(document))
    return {row["username"] for row in rows if "username" in row}


def _clear(radius: Connection, load: _Load) -> None:
    events = [row["event_key"] for row in json.loads(load.rows["access_event"])]
    with radius, radius.cursor() as cursor:
        cursor.execute(_CLEAR, {"ids": list(load.ids), "events": events, "last": max(load.ids)})
