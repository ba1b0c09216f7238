"""Counts what was added to the database since this process began: each row once, and never history.

What this node's meter writes is followed by its rising keys; it writes one batch after the other, so nothing comes late.
Finished requests come from several workers and may be committed out of order: each is remembered for a while.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

ROWS_AT_ONCE = 200_000
"""Of a meter that catches up; the rest is counted with the next scrape."""
LATE_COMMIT = timedelta(seconds=60)
CUT_BUCKETS_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

SELECT_LAST_LOGIN = "SELECT coalesce(max(login_outcome_id), 0) FROM radius.login_outcome"
SELECT_LOGINS = """
    SELECT reason, accepted, count(*), max(login_outcome_id) FROM (
        SELECT reason, accepted, login_outcome_id FROM radius.login_outcome
        WHERE login_outcome_id > %(seen)s AND node = %(node)s ORDER BY login_outcome_id LIMIT %(limit)s) AS fresh
    GROUP BY reason, accepted
"""
SELECT_LAST_DRIFT = "SELECT coalesce(max(drift_id), 0) FROM radius.drift"
SELECT_DRIFT = """
    SELECT relation, count(*), max(drift_id) FROM radius.drift WHERE drift_id > %(seen)s GROUP BY relation
"""
SELECT_LAST_QUARANTINED = "SELECT coalesce(max(quarantine_id), 0) FROM radius.accounting_quarantine"
SELECT_QUARANTINED = """
    SELECT count(*), max(quarantine_id) FROM radius.accounting_quarantine WHERE quarantine_id > %(seen)s AND node = %(node)s
"""
SELECT_CLOCK = "SELECT clock_timestamp()"
# From the packet that caused it, or else from the decision, to the router's word that it is done.
SELECT_FINISHED = """
    SELECT coa_request_id, state, action, purpose, finished_at,
           extract(epoch FROM coalesce(acked_at, finished_at) - coalesce(caused_at, created_at))::double precision
    FROM radius.coa_request WHERE finished_at > %(since)s
"""
DONE_STATES = ("confirmed", "acked", "gone")


@dataclass
class Counting:
    """The counters of one process, and up to where they have counted."""

    node: str
    registry: CollectorRegistry
    _seen: dict[str, int] | None = None
    _finished_since: datetime | None = None
    _finished: dict[int, datetime] = field(default_factory=dict)
    _logins: Counter = field(init=False)
    _drift: Counter = field(init=False)
    _quarantined: Counter = field(init=False)
    _requests: Counter = field(init=False)
    _latency: Histogram = field(init=False)

    def __post_init__(self) -> None:
        """Name the counters."""
        self._logins = Counter(
            "herotill_logins", "Logins decided at this node.", ("result", "reason"), registry=self.registry
        )
        self._drift = Counter(
            "herotill_drift_mended", "Rows found otherwise than the books say (whole database).", ("relation",),
            registry=self.registry,
        )  # fmt: skip
        self._quarantined = Counter(
            "herotill_quarantined_records",
            "Journal records of this node nobody understood.",
            registry=self.registry,
        )
        self._requests = Counter(
            "herotill_coa_finished", "Disconnect and CoA requests by what became of them (whole database).",
            ("action", "state"), registry=self.registry,
        )  # fmt: skip
        self._latency = Histogram(
            "herotill_cut_latency_seconds", "From the cause of a cut to the router's word (whole database).",
            ("action",), buckets=CUT_BUCKETS_SECONDS, registry=self.registry,
        )  # fmt: skip

    def count_new(self, cursor: Cursor) -> None:
        """Count what is new since the last time; the first time, only take note of where history ends."""
        if self._seen is None:
            self._begin(cursor)
            return
        self._count_logins(cursor, self._seen)
        self._count_drift(cursor, self._seen)
        self._count_quarantined(cursor, self._seen)
        self._count_finished(cursor)

    def _begin(self, cursor: Cursor) -> None:
        cursor.execute(SELECT_CLOCK)
        (self._finished_since,) = cursor.fetchone() or (None,)
        self._seen = {
            name: _number(cursor, statement)
            for name, statement in (
                ("logins", SELECT_LAST_LOGIN), ("drift", SELECT_LAST_DRIFT), ("quarantined", SELECT_LAST_QUARANTINED),
            )
        }  # fmt: skip

    def _count_logins(self, cursor: Cursor, seen: dict[str, int]) -> None:
        last_of_all = _number(cursor, SELECT_LAST_LOGIN)
        counted = 0
        cursor.execute(SELECT_LOGINS, {"seen": seen["logins"], "node": self.node, "limit": ROWS_AT_ONCE})
        for reason, accepted, count, last in cursor.fetchall():
            self._logins.labels("accept" if accepted else "reject", reason).inc(count)
            seen["logins"] = max(seen["logins"], last)
            counted += count
        if counted < ROWS_AT_ONCE:
            # Other nodes' logins are not read again and again. One scrape late: ours may be younger and not committed yet.
            seen["logins"] = max(seen["logins"], seen.get("logins of all", 0))
            seen["logins of all"] = last_of_all

    def _count_drift(self, cursor: Cursor, seen: dict[str, int]) -> None:
        cursor.execute(SELECT_DRIFT, {"seen": seen["drift"]})
        for relation, count, last in cursor.fetchall():
            self._drift.labels(relation).inc(count)
            seen["drift"] = max(seen["drift"], last)

    def _count_quarantined(self, cursor: Cursor, seen: dict[str, int]) -> None:
        cursor.execute(SELECT_QUARANTINED, {"seen": seen["quarantined"], "node": self.node})
        count, last = cursor.fetchone() or (0, None)
        self._quarantined.inc(count)
        seen["quarantined"] = max(seen["quarantined"], last or 0)

    def _count_finished(self, cursor: Cursor) -> None:
        if self._finished_since is None:
            return
        cursor.execute(SELECT_FINISHED, {"since": self._finished_since})
        for request_id, state, action, purpose, finished_at, seconds in cursor.fetchall():
            if request_id in self._finished:
                continue
            self._finished[request_id] = finished_at
            self._requests.labels(action, state).inc()
            if state in DONE_STATES and purpose in ("end", "restrict"):
                self._latency.labels(action).observe(max(0.0, seconds))
        self._forget_old()

    def _forget_old(self) -> None:
        """Look at the last minute again the next time: somebody may have committed late."""
        if self._finished and self._finished_since is not None:
            since = max(self._finished_since, max(self._finished.values()) - LATE_COMMIT)
            self._finished_since = since
            self._finished = {number: at for number, at in self._finished.items() if at > since}


def _number(cursor: Cursor, statement: str) -> int:
    cursor.execute(statement)
    (number,) = cursor.fetchone() or (0,)
    return int(number)
