"""The outbox, its NASes and its workers, as the tests of dynamic authorization set them up."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from sync_daemon import database
from sync_daemon.coa.client import ClientSettings
from sync_daemon.coa.pacing import PacingSettings
from sync_daemon.coa.serving import ServingSettings
from sync_daemon.coa.timing import RetransmissionTiming
from sync_daemon.coa.worker import serve_outbox
from tests.contract.coa_fake_nas import FakeNas, wait_until

QUICK = RetransmissionTiming(0.05, 0.1, 3, 2.0, 0.1, 0.05)
PATIENT = RetransmissionTiming(5.0, 16.0, 5, 30.0, 0.1)
BRISK = ServingSettings(
    lease_seconds=0.6, poll_seconds=0.3, stop_grace_seconds=0.2, stop_check_seconds=0.01,
    reconnect_initial_seconds=0.05, watch_seconds=0.05, reopen_seconds=0.1, back_off_scale=0.01,
)  # fmt: skip
SESSION = {
    "User-Name": "student-1",
    "Acct-Session-Id": "81",
    "NAS-IP-Address": "10.0.0.1",
    "Calling-Station-Id": "",
}

ENQUEUE = """
    INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address,
                                    session_attributes, changes, caused_at, purpose)
    VALUES (%(key)s, %(action)s, %(reason)s, 'student-1', %(acct_unique_id)s, %(nas)s, %(session)s, %(changes)s,
            clock_timestamp(), %(purpose)s)
    RETURNING coa_request_id
"""
ADD_NAS = """
    WITH added AS (INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES (%s, %s, %s, %s) RETURNING id)
    INSERT INTO radius.nas_profile (nas_id, coa_port, coa_secret, coa_address) SELECT id, %s, %s, %s FROM added
"""


def query(books: Connection, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with books.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def add_nas(
    books: Connection,
    nas: FakeNas,
    nasname: str | None = None,
    shortname: str = "hotspot-1",
    secret: tuple[str, str | None] = ("nas secret", None),
    *,
    coa_address: str | None = None,
    nas_type: str = "other",
) -> None:
    with books.cursor() as cursor:
        row = (nasname or nas.host, shortname, nas_type, secret[0], nas.port, secret[1], coa_address)
        cursor.execute(ADD_NAS, row)


def enqueue(
    books: Connection, key: str, nas_address: str = "127.0.0.1", notify: bool = True, **columns: object
) -> int:
    row = {
        "key": key,
        "nas": nas_address,
        "action": columns.get("action", "disconnect"),
        "reason": columns.get("reason", "quota"),
        "purpose": columns.get("purpose", "end"),
        "acct_unique_id": columns.get("acct_unique_id", key),
        "session": json.dumps(columns.get("session", SESSION)),
        "changes": json.dumps(columns.get("changes", {})),
    }
    with books.cursor() as cursor:
        cursor.execute(ENQUEUE, row)
        found = cursor.fetchone()
        assert found is not None
        if notify:
            cursor.execute("NOTIFY herotill_coa")
    return int(found[0])


def state_of(books: Connection, request: int) -> tuple[str, int | None, str | None]:
    row = query(
        books, "SELECT state, error_cause, outcome FROM radius.coa_request WHERE coa_request_id = %s", request
    )
    return row[0][0], row[0][1], row[0][2]


def wait_for_state(
    books: Connection, request: int, state: str, seconds: float = 10.0
) -> tuple[int | None, str]:
    wait_until(lambda: state_of(books, request)[0] == state, seconds)
    return state_of(books, request)[1], state_of(books, request)[2] or ""


def wait_for_listeners(books: Connection, count: int) -> None:
    listening = """
        SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'coa under test' AND datname = current_database() AND query <> ''
    """
    wait_until(lambda: query(books, listening)[0][0] >= count)


@contextmanager
def workers(
    books: Connection,
    url: str,
    count: int = 1,
    timing: RetransmissionTiming = QUICK,
    serving: ServingSettings = BRISK,
    pacing: PacingSettings = PacingSettings(),  # noqa: B008 - a frozen value
) -> Iterator[threading.Event]:
    """Workers that serve until the `with` ends or the event it yields is set."""
    stop = threading.Event()
    client_settings = ClientSettings(timing=timing, pacing=pacing)

    def serve() -> None:
        asyncio.run(
            serve_outbox(
                lambda: database.connect(url, "coa under test", autocommit=True),
                stop,
                client_settings,
                serving,
            )
        )

    threads = [threading.Thread(target=serve, name=f"coa-under-test-{number}") for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        wait_for_listeners(books, count)
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join()
