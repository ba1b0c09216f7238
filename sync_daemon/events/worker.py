"""The worker: lays new events out for the sinks, and keeps the couriers that deliver them, each in a thread of its own.

Any number of daemons may run it. A courier that is held up by its sink holds nobody else up; when the worker is killed,
what it had in hand is delivered again.
"""

import logging
import select
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import psycopg2
import sqlalchemy
import sqlalchemy.exc
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from sqlalchemy.orm import Session

from billing.deliveries import DISPATCHED_AT_ONCE, dispatch
from sync_daemon.database import billing_engine, billing_url, connect
from sync_daemon.events.courier import Courier, Tongue
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 60.0
STEP_SECONDS = 0.2
RETRY_SECONDS = 1.0
JOIN_SECONDS = 5.0
SLOWEST_DELIVERY_MILLISECONDS = 600_000
"""Its row stays locked meanwhile, and nobody waits for that."""


class CourierLost(Exception):  # noqa: N818 - it says what happened
    """A courier has ended by a fault of ours; the supervisor starts the worker again."""


def run(settings: Settings, stop: threading.Event) -> None:
    """Deliver until `stop`. Raises CourierLost."""
    couriers_wanted = sum(sink.parallel for sink in settings.event_sinks)
    engine = billing_engine(
        settings,
        "herotill events",
        connections=couriers_wanted + 1,
        idle_in_transaction_milliseconds=SLOWEST_DELIVERY_MILLISECONDS,
    )
    tongue = Tongue(settings.language, ZoneInfo(settings.time_zone))
    couriers = [
        Courier(engine, sink, tongue, stop) for sink in settings.event_sinks for _ in range(sink.parallel)
    ]
    threads = [
        # A daemon thread: a sink that does not answer keeps no process from ending.
        threading.Thread(target=courier.run, name=f"courier-{courier.sink.name}", daemon=True)
        for courier in couriers
    ]
    office = _Office(settings, engine, couriers, threads)
    try:
        for thread in threads:
            thread.start()
        _follow(office, stop)
    finally:
        stop.set()
        _end(office)
        engine.dispose()


@dataclass(frozen=True, slots=True)
class _Office:
    settings: Settings
    engine: sqlalchemy.Engine
    couriers: list[Courier]
    threads: list[threading.Thread]


def _follow(office: _Office, stop: threading.Event) -> None:
    """Lay out what is new, wake the couriers, wait for news."""
    away = Trouble(log, "events wait until the database can be used: %s")
    while not stop.is_set():
        try:
            _follow_while_connected(office, stop, away)
        except (psycopg2.OperationalError, psycopg2.InterfaceError, sqlalchemy.exc.OperationalError) as error:
            away.tell(error)
            stop.wait(RETRY_SECONDS)


def _follow_while_connected(office: _Office, stop: threading.Event, away: Trouble) -> None:
    listening = connect(billing_url(office.settings), "herotill events listen", autocommit=True)
    try:
        with listening.cursor() as cursor:
            cursor.execute("LISTEN herotill_event")
        while not stop.is_set():
            dispatch_all(office.engine, office.settings)
            away.is_over("events are delivered again")
            for courier in office.couriers:
                courier.news.set()
            _wait(listening, office.threads, stop)
    finally:
        listening.close()


def dispatch_all(engine: sqlalchemy.Engine, settings: Settings) -> None:
    """Lay everything that is new out for the sinks of the settings."""
    sinks = {sink.name: sink.kinds for sink in settings.event_sinks}
    while True:
        with Session(engine) as session, session.begin():
            if dispatch(session, sinks, datetime.now(UTC)) < DISPATCHED_AT_ONCE:
                return


def _wait(listening: Connection, threads: list[threading.Thread], stop: threading.Event) -> None:
    """Wait for a notification or the end, at most a minute."""
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
        for thread in threads:
            if not thread.is_alive():
                raise CourierLost(thread.name)
        # In short steps, because a signal handler can only set `stop`.
        if select.select([listening], [], [], min(left, STEP_SECONDS))[0]:
            listening.poll()
            listening.notifies.clear()
            return


def _end(office: _Office) -> None:
    for courier in office.couriers:
        courier.news.set()
    deadline = time.monotonic() + JOIN_SECONDS
    for thread in office.threads:
        if thread.ident is not None:
            thread.join(max(0.0, deadline - time.monotonic()))
