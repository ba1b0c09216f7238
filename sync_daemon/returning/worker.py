"""What RADIUS meters is in the books a moment later; runs within the worker `reconcile`, where there are two databases.

A database that goes away is waited for: the log at RADIUS keeps what the books do not have.
"""

import select
import threading
from contextlib import ExitStack, closing

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from sync_daemon.database import billing_url, connect, radius_url
from sync_daemon.returning.carrying import CHANGES_AT_ONCE, carry
from sync_daemon.returning.erasing import erase_forgotten
from sync_daemon.returning.regions import join
from sync_daemon.settings import Settings

GATHER_SECONDS = 0.1
"""So long after a batch the next begins at the earliest: the meter commits a hundred times a second."""
STATEMENT_TIMEOUT_MILLISECONDS = 600_000
"""The first time everything there is returns."""
LOOK_SECONDS = 0.2
LOOK_ANYWAY_SECONDS = 2.0
"""In case a notification was lost."""


def return_until(settings: Settings, stop: threading.Event) -> None:
    """Carry until `stop`. Raises psycopg2's errors, and Refused where the two databases do not belong together."""
    with ExitStack() as opened:
        books = opened.enter_context(closing(_connected(billing_url(settings), "herotill return books")))
        radius = opened.enter_context(closing(_connected(radius_url(settings), "herotill return")))
        listening = opened.enter_context(
            closing(connect(radius_url(settings), "herotill return listen", autocommit=True))
        )
        region = join(books, radius, settings.region)
        with listening.cursor() as cursor:
            cursor.execute("LISTEN herotill_return")
        while not stop.is_set():
            if carry(books, radius, region) < CHANGES_AT_ONCE:
                erase_forgotten(settings, books, region)
                stop.wait(GATHER_SECONDS)
                _wait(listening, stop)


def _connected(url: str, who: str) -> Connection:
    return connect(url, who, statement_timeout_milliseconds=STATEMENT_TIMEOUT_MILLISECONDS)


def _wait(listening: Connection, stop: threading.Event) -> None:
    waited = 0.0
    while not stop.is_set() and waited < LOOK_ANYWAY_SECONDS:
        # In short steps, because a signal handler can only set `stop`.
        if select.select([listening], [], [], LOOK_SECONDS)[0]:
            listening.poll()
            listening.notifies.clear()
            return
        waited += LOOK_SECONDS
