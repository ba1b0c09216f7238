"""Looks at what may stand between us and a database: a pooler that hands out another connection for every transaction."""

import select
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg2

from herotill.errors import InvalidValue
from sync_daemon import database
from sync_daemon.doctor.findings import Finding, good, wrong
from sync_daemon.settings import Settings

CHANNEL = "herotill_doctor"
HEAR_SECONDS = 2.0


def look_for_poolers(settings: Settings) -> Iterator[Finding]:
    """Look at each database; those that cannot be reached are told of elsewhere."""
    for topic, url in _urls(settings).items():
        with suppress(psycopg2.Error):
            yield _judge(f"{topic}: notifications", hears_notifications(url))


def _urls(settings: Settings) -> dict[str, str]:
    urls = {"database billing": database.billing_url(settings)}
    if database.radius_url(settings) not in urls.values():
        urls["database radius"] = database.radius_url(settings)
    with suppress(InvalidValue):
        urls["packet time"] = database.packet_time_url(settings)
    return urls


def hears_notifications(url: str) -> bool:
    """Whether who listens on one connection hears what another one tells: logins from memory depend on it."""
    listening = database.connect(url, "herotill doctor", autocommit=True)
    try:
        with listening.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        with database.transaction(url, "herotill doctor") as telling, telling.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        return _is_heard(listening)
    finally:
        listening.close()


def _is_heard(listening: psycopg2.extensions.connection) -> bool:
    deadline = time.monotonic() + HEAR_SECONDS
    listening.poll()
    while not listening.notifies and (left_seconds := deadline - time.monotonic()) > 0:
        select.select([listening], [], [], left_seconds)
        listening.poll()
    return bool(listening.notifies)


def _judge(topic: str, is_heard: bool) -> Finding:
    if is_heard:
        return good(topic, "are heard")
    return wrong(
        topic,
        "are not heard: a connection pooler stands between that changes connections with every transaction",
        "pool_mode = session in pgbouncer, or no pooler: docs/operations.md, Growing",
    )
