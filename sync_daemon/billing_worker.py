"""The billing run by the clock: every minute, and automatic top-ups as soon as somebody has used everything up.

A worker of its own, because a month's first run takes its time and no expiry may wait for it. Any number of daemons may run
it: an advisory lock lets one bill (billing/billing_run.py), and what one has done is not there for the next.
"""

import logging
import select
import threading
import time
from datetime import UTC, datetime

import psycopg2
import sqlalchemy.exc
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from sqlalchemy.orm import sessionmaker

from billing import billing_run
from billing.billing_run import Options, Report, SessionFactory
from herotill.errors import Refused
from sync_daemon.database import billing_engine, billing_url, connect
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble

log = logging.getLogger(__name__)

RUN_EVERY_SECONDS = 60.0
# Every payment settles; looking for one that did not is a look at the whole ledger.
LOOK_FOR_UNSETTLED_EVERY_SECONDS = 3600.0
RETRY_SECONDS = 1.0
STEP_SECONDS = 0.2


def run(settings: Settings, stop: threading.Event) -> None:
    """Bill until `stop`; a database that goes away is waited for."""
    away = Trouble(log, "the billing run waits for the database: %s")
    while not stop.is_set():
        try:
            _bill(settings, stop, away)
        except (psycopg2.OperationalError, psycopg2.InterfaceError, sqlalchemy.exc.DBAPIError) as error:
            away.tell(error)
            stop.wait(RETRY_SECONDS)


def _bill(settings: Settings, stop: threading.Event, away: Trouble) -> None:
    listening = connect(billing_url(settings), "herotill billing listen", autocommit=True)
    engine = billing_engine(settings, "herotill billing")
    try:
        with listening.cursor() as cursor:
            cursor.execute("LISTEN herotill_event")
        _keep_billing(sessionmaker(engine).begin, listening, stop, away)
    finally:
        engine.dispose()
        listening.close()


def _keep_billing(
    open_books: SessionFactory, listening: Connection, stop: threading.Event, away: Trouble
) -> None:
    run_at = unsettled_at = time.monotonic()
    while not stop.is_set():
        moment = time.monotonic()
        if moment >= run_at:
            run_at = moment + RUN_EVERY_SECONDS
            _run(open_books, Options(looks_for_unsettled=moment >= unsettled_at))
            if moment >= unsettled_at:
                unsettled_at = moment + LOOK_FOR_UNSETTLED_EVERY_SECONDS
        else:
            _tell(billing_run.top_up_now(open_books, datetime.now(UTC)))
        away.is_over("the billing run goes on")
        _wait(listening, run_at, stop)


def _run(open_books: SessionFactory, options: Options) -> None:
    now = datetime.now(UTC)
    try:
        _tell(billing_run.run(open_books, now, now, options=options))
    except Refused:
        log.debug("another daemon is billing")


def _tell(report: Report) -> None:
    if report.counts:
        log.info(
            "billing run: %s", ", ".join(f"{count} {what}" for what, count in sorted(report.counts.items()))
        )


def _wait(listening: Connection, run_at: float, stop: threading.Event) -> None:
    """Wait for a notification, the next run, or the end; in short steps, because a signal handler can only set `stop`."""
    while not stop.is_set() and (left := run_at - time.monotonic()) > 0:
        if select.select([listening], [], [], min(left, STEP_SECONDS))[0]:
            listening.poll()
            listening.notifies.clear()
            return
