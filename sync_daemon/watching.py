"""How the installation does at this moment, for `herotill status`, the metrics and `/readyz`.

Every question is answered from what is waiting, by partial indexes, or from small tables: none reads history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

SELECT_OUTBOX = """
    SELECT state, count(*), min(created_at) FROM radius.coa_request WHERE finished_at IS NULL GROUP BY state ORDER BY state
"""
SELECT_NODES = "SELECT node, caught_up_at FROM radius.meter_state ORDER BY node"
SELECT_LIVE = """
    SELECT host(nas_address), count(*), max(last_report_at) FROM radius.session
    WHERE stopped_at IS NULL AND nas_address IS NOT NULL GROUP BY nas_address
"""
SELECT_NASES = """
    SELECT n.shortname, n.nasname, n.type, coalesce(p.coa_state, 'unknown'), p.coa_failure
    FROM radius.nas n LEFT JOIN radius.nas_profile p ON p.nas_id = n.id ORDER BY n.shortname
"""
SELECT_INTERIMS = "SELECT host(nas_address), interval_seconds FROM radius.nas_interim"
SELECT_EVENTS = """
    SELECT sink, count(*), min(occurred_at) FROM billing.event_delivery JOIN billing.event USING (event_id)
    WHERE state = 'pending' GROUP BY sink ORDER BY sink
"""
SELECT_UNDISPATCHED = "SELECT count(*) FROM billing.event WHERE dispatched_at IS NULL"
SELECT_DEAD = "SELECT count(*) FROM billing.event_delivery WHERE state = 'dead'"
SELECT_UNBOOKED = "SELECT count(*) FROM radius.access_event WHERE booked_at IS NULL"
SELECT_REGIONS = "SELECT name, returned_until FROM billing.region ORDER BY region_id"
SELECT_HAND_EDITS = "SELECT count(*) FROM radius.hand_edit"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many wait, and since when the oldest does."""

    count: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class NasState:
    """One router: who it is, and whether it does what it is asked (radius.nas_profile)."""

    name: str
    address: str
    type: str
    coa_state: str
    coa_failure: str | None


@dataclass(frozen=True, slots=True)
class LiveCount:
    """Live sessions of one source address, and when the last of them reported."""

    sessions: int
    last_report_at: datetime


@dataclass(frozen=True, slots=True)
class RadiusState:
    """What waits in the schema radius, and the routers."""

    outbox: Mapping[str, Waiting]
    nodes: Mapping[str, datetime]
    nases: tuple[NasState, ...]
    interim_seconds: Mapping[str, int]
    unbooked: int
    hand_edits: int

    @property
    def outbox_depth(self) -> int:
        """How many sessions are still to be cut or changed."""
        return sum(waiting.count for waiting in self.outbox.values())


@dataclass(frozen=True, slots=True)
class BooksState:
    """What waits in the schema billing: events by sink, those not laid out yet, and those given up.

    `regions` says of each RADIUS database apart up to when the books know what was metered there.
    """

    events: Mapping[str, Waiting]
    undispatched: int
    dead: int
    regions: Mapping[str, datetime | None]


def read_radius_state(cursor: Cursor) -> RadiusState:
    """Ask the schema radius."""
    cursor.execute(SELECT_OUTBOX)
    outbox = {state: Waiting(count, oldest) for state, count, oldest in cursor.fetchall()}
    cursor.execute(SELECT_NODES)
    nodes = dict(cursor.fetchall())
    cursor.execute(SELECT_NASES)
    nases = tuple(NasState(*row) for row in cursor.fetchall())
    cursor.execute(SELECT_INTERIMS)
    interims = dict(cursor.fetchall())
    return RadiusState(
        outbox, nodes, nases, interims, _count(cursor, SELECT_UNBOOKED), _count(cursor, SELECT_HAND_EDITS)
    )


def read_books_state(cursor: Cursor) -> BooksState:
    """Ask the schema billing."""
    cursor.execute(SELECT_EVENTS)
    events = {sink: Waiting(count, oldest) for sink, count, oldest in cursor.fetchall()}
    cursor.execute(SELECT_REGIONS)
    regions = dict(cursor.fetchall())
    return BooksState(events, _count(cursor, SELECT_UNDISPATCHED), _count(cursor, SELECT_DEAD), regions)


def read_live(cursor: Cursor) -> dict[str, LiveCount]:
    """Count the live sessions of each source address. Reads all of them: ask now and then."""
    cursor.execute(SELECT_LIVE)
    return {address: LiveCount(count, last) for address, count, last in cursor.fetchall()}


def _count(cursor: Cursor, statement: str) -> int:
    cursor.execute(statement)
    (count,) = cursor.fetchone() or (0,)
    return int(count)
