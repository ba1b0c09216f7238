"""Asks the databases and the journal at scrape time, and says what came of it as Prometheus metrics."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg2
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from sync_daemon.database import are_apart, billing_url, connect, radius_url
from sync_daemon.journal_lag import JournalLag, read_lag
from sync_daemon.meter.journal_rows import read_positions
from sync_daemon.metrics.counting import Counting
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble
from sync_daemon.watching import (
    BooksState,
    LiveCount,
    RadiusState,
    Waiting,
    read_books_state,
    read_live,
    read_radius_state,
)

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT_MILLISECONDS = 5_000
LIVE_SECONDS = 60.0
"""How often live sessions are counted: that reads all of them."""
MOST_LAG_SECONDS = 60.0
"""A meter further behind makes the node unready: what it decides logins from is old."""
LEAST_FREE_OCTETS = 1024 * 1024
"""With less room the journal takes a record here and there at best."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What one scrape saw; None is what could not be asked."""

    at: datetime
    radius: RadiusState | None = None
    books: BooksState | None = None
    live: dict[str, LiveCount] | None = None
    lag: JournalLag | None = None
    troubles: tuple[str, ...] = ()

    def unready(self) -> tuple[str, ...]:
        """Say why this node should get no work; empty when it should."""
        reasons = list(self.troubles)
        if self.lag is not None and self.lag.seconds(self.at) > MOST_LAG_SECONDS:
            reasons.append("the meter is behind the journal")
        if self.lag is not None and self.lag.free_octets < LEAST_FREE_OCTETS:
            reasons.append("the journal's disk is full: no accounting is answered, nobody can log in")
        return tuple(reasons)


@dataclass
class Gathering:
    """Keeps the connections and the counters; one scrape at a time."""

    settings: Settings
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _connections: dict[str, Connection] = field(default_factory=dict)
    _live: dict[str, LiveCount] | None = None
    _live_due_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _away: Trouble = field(default_factory=lambda: Trouble(log, "metrics: the database does not answer: %s"))
    _books_away: Trouble = field(
        default_factory=lambda: Trouble(log, "metrics: the database of the books does not answer: %s")
    )
    _counting: Counting = field(init=False)

    def __post_init__(self) -> None:
        """Make the counters, which last as long as the process."""
        self._counting = Counting(self.settings.node, self.registry)

    def scrape(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        with self._lock:
            began = time.monotonic()
            picture = self._look()
            now = CollectorRegistry()
            now.register(_Families(tuple(families(picture, time.monotonic() - began))))
            return generate_latest(self.registry) + generate_latest(now)

    def look(self) -> Picture:
        """Look once, for `/readyz`."""
        with self._lock:
            return self._look()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._disconnect()

    def _look(self) -> Picture:
        troubles: list[str] = []
        radius = books = positions = None
        try:
            with self._connection(radius_url(self.settings)).cursor() as cursor:
                self._counting.count_new(cursor)
                radius = read_radius_state(cursor)
                positions = read_positions(cursor, self.settings.node)
                if self._live is None or time.monotonic() >= self._live_due_at:
                    self._live, self._live_due_at = read_live(cursor), time.monotonic() + LIVE_SECONDS
            books = self._look_at_books()
            self._away.is_over("metrics: the database answers again")
        except psycopg2.Error as error:
            self._disconnect()
            self._away.tell(error)
            troubles.append("the database does not answer")
        lag = None if positions is None else self._lag(positions, troubles)
        live = self._live if radius is not None else None
        return Picture(datetime.now(UTC), radius, books, live, lag, tuple(troubles))

    def _look_at_books(self) -> BooksState | None:
        """Look at the books; None where they are in a database apart that is away: RADIUS goes on without them."""
        url = billing_url(self.settings)
        try:
            with self._connection(url).cursor() as cursor:
                books = read_books_state(cursor)
        except psycopg2.Error as error:
            if not are_apart(self.settings):
                raise
            if url in self._connections:
                self._connections.pop(url).close()
            self._books_away.tell(error)
            return None
        self._books_away.is_over("metrics: the database of the books answers again")
        return books

    def _lag(self, positions: dict[str, int], troubles: list[str]) -> JournalLag | None:
        try:
            return read_lag(self.settings.journal_directory, positions)
        except OSError as error:
            troubles.append(f"the journal cannot be read: {error.strerror}")
            return None

    def _connection(self, url: str) -> Connection:
        if url not in self._connections:
            self._connections[url] = connect(
                url,
                "herotill metrics",
                autocommit=True,
                statement_timeout_milliseconds=STATEMENT_TIMEOUT_MILLISECONDS,
            )
        return self._connections[url]

    def _disconnect(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


@dataclass(frozen=True, slots=True, eq=False)
class _Families:
    """What was seen, in the shape the library asks collectors for."""

    seen: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        return self.seen


def families(picture: Picture, seconds: float) -> Iterator[Metric]:
    """Say what was seen as gauges."""
    yield _labelled(
        "herotill_database_up", "Whether it answered.", "database",
        {"books": float(picture.books is not None), "radius": float(picture.radius is not None)},
    )  # fmt: skip
    yield GaugeMetricFamily("herotill_ready", "Whether /readyz says yes.", value=float(not picture.unready()))
    yield GaugeMetricFamily("herotill_scrape_seconds", "How long looking took.", value=seconds)
    if picture.lag is not None:
        yield from _journal(picture.lag, picture.at)
    if picture.radius is not None:
        yield from _radius(picture.radius, picture.at)
    if picture.live is not None:
        yield from _live(picture.live)
    if picture.books is not None:
        yield from _books(picture.books, picture.at)


def _journal(lag: JournalLag, now: datetime) -> Iterator[Metric]:
    name = "herotill_journal"
    yield GaugeMetricFamily(
        f"{name}_lag_octets", "Journalled at this node, not applied yet.", value=lag.octets
    )
    yield GaugeMetricFamily(f"{name}_lag_records", "The same in records.", value=lag.records)
    yield GaugeMetricFamily(
        f"{name}_lag_seconds", "How long the oldest of it has waited.", value=lag.seconds(now)
    )
    yield GaugeMetricFamily(f"{name}_free_octets", "Room left for the journal.", value=lag.free_octets)


def _radius(state: RadiusState, now: datetime) -> Iterator[Metric]:
    states = {"pending": Waiting(0, None), "sent": Waiting(0, None), "acked": Waiting(0, None)} | dict(
        state.outbox
    )
    yield from _waiting(
        "herotill_coa_outbox", "Sessions to be cut or changed (whole database).", "state", states, now
    )
    yield _labelled(
        "herotill_nas_coa_works", "1: does what it is asked, 0: does not, -1: not known yet.", "nas",
        {nas.name: {"works": 1, "fails": 0}.get(nas.coa_state, -1) for nas in state.nases},
    )  # fmt: skip
    yield _labelled(
        "herotill_nas_interim_seconds", "How often a router's sessions were seen to report.", "nas_address",
        state.interim_seconds,
    )  # fmt: skip
    yield _labelled(
        "herotill_node_caught_up_timestamp_seconds", "Up to when a node's journal was last seen to be applied.", "node",
        {node: at.timestamp() for node, at in state.nodes.items()},
    )  # fmt: skip
    yield GaugeMetricFamily(
        "herotill_unbooked_events", "What the books must record yet.", value=state.unbooked
    )
    yield GaugeMetricFamily(
        "herotill_hand_edits_waiting",
        "Rows edited by hand that reconcile has not looked at.",
        value=state.hand_edits,
    )


def _live(live: dict[str, LiveCount]) -> Iterator[Metric]:
    yield _labelled(
        "herotill_live_sessions", "Sessions of a router, counted once a minute.", "nas_address",
        {address: count.sessions for address, count in live.items()},
    )  # fmt: skip
    yield _labelled(
        "herotill_nas_last_report_timestamp_seconds", "When a router with live sessions last reported.", "nas_address",
        {address: count.last_report_at.timestamp() for address, count in live.items()},
    )  # fmt: skip


def _books(state: BooksState, now: datetime) -> Iterator[Metric]:
    yield from _waiting(
        "herotill_events_waiting", "Events a sink has not taken yet.", "sink", dict(state.events), now
    )
    yield GaugeMetricFamily(
        "herotill_events_undispatched", "Events not laid out yet.", value=state.undispatched
    )
    yield GaugeMetricFamily("herotill_events_dead", "Deliveries that were given up.", value=state.dead)
    yield _labelled(
        "herotill_region_returned_timestamp_seconds", "Up to when the books know what was metered in a region.", "region",
        {name: until.timestamp() for name, until in state.regions.items() if until is not None},
    )  # fmt: skip


def _waiting(
    name: str, help_text: str, label: str, waiting: dict[str, Waiting], now: datetime
) -> Iterator[Metric]:
    yield _labelled(name, help_text, label, {key: line.count for key, line in waiting.items()})
    yield _labelled(
        f"{name}_oldest_seconds", "How long the oldest has waited.", label,
        {
            key: 0.0 if line.oldest_at is None else max(0.0, (now - line.oldest_at).total_seconds())
            for key, line in waiting.items()
        },
    )  # fmt: skip


def _labelled(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
