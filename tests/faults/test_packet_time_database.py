"""The hooks' way to PostgreSQL: whatever a statement meets, the next one finds a connection, and who listens is heard of."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import psycopg2.extensions
import pytest

from rlm_herotill import database as packet_time
from rlm_herotill.database import Callbacks, Database, Execute, Unavailable
from sync_daemon import database
from tests.faults.postgresql import Fragile, be_patient
from tests.integration.isp import until

SEEN = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE %s AND datname = current_database()
"""


class Heard:
    """What the background thread told."""

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.connections = 0
        self.sentences: list[str] = []
        self.stumbles = threading.Event()
        self.pages = 0

    def notified(self, _channel: str, payload: str, _execute: Execute) -> None:
        self.payloads.append(payload)
        if payload == "stumble":
            raise ZeroDivisionError("we are wrong")

    def connected(self, _execute: Execute) -> None:
        self.connections += 1

    def idle(self, execute: Execute) -> bool:
        """Have something to load, and be told of a change while it is loaded."""
        if not self.pages:
            return False
        self.pages -= 1
        execute("SELECT pg_sleep(0.01)")
        return self.pages > 0


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def hooks(packet_time_url: str, heard: Heard) -> Iterator[Database]:
    """A running Database with a timeout of 80 ms."""
    callbacks = Callbacks(heard.notified, heard.connected, heard.idle)
    running = Database(packet_time_url, 80, "SELECT 1", callbacks, heard.sentences.append)
    running.start()
    wait_for(lambda: running.is_listening)
    yield running
    running.stop()
    psycopg2.extensions.set_wait_callback(None)


def wait_for(condition: Any) -> None:
    asyncio.run(until(condition))


def notify(owner_url: str, payload: str) -> None:
    be_patient()
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('herotill_account', %s)", (payload,))


def terminate(owner_url: str, application_name: str) -> None:
    be_patient()
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(SEEN, (application_name,))
        assert cursor.fetchone() == (True,)


def answers(hooks: Database) -> bool:
    try:
        return hooks.execute("SELECT %s", ("fine",)) == [("fine",)]
    except Unavailable:
        return False


def test_a_value_sql_cannot_say_costs_no_connection(hooks: Database) -> None:
    """A User-Name with a NUL would otherwise shut everybody out."""
    with pytest.raises(ValueError, match="NUL"):
        hooks.execute("SELECT %s", ("a\0b",))
    assert answers(hooks)


def test_a_statement_that_is_too_slow_is_given_up_and_the_connection_kept(hooks: Database) -> None:
    with pytest.raises(Unavailable, match="statement timeout"):
        hooks.execute("SELECT pg_sleep(10)")
    assert hooks.is_listening
    assert answers(hooks)


def test_a_server_that_says_nothing_puts_what_is_heard_in_doubt_until_it_answers(
    hooks: Database, heard: Heard, owner_url: str, postgresql: Fragile
) -> None:
    with postgresql.paused():
        with pytest.raises(Unavailable, match="in time"):
            hooks.execute("SELECT 1")
        assert not hooks.is_listening
        assert not answers(hooks)
    wait_for(lambda: hooks.is_listening and answers(hooks))
    notify(owner_url, "after")
    wait_for(lambda: "after" in heard.payloads)


def test_a_listener_that_is_cut_leaves_the_hooks_their_connection(
    hooks: Database, heard: Heard, owner_url: str
) -> None:
    terminate(owner_url, "herotill listen")
    for _ in range(200):
        assert answers(hooks)
    wait_for(lambda: hooks.is_listening and heard.connections == 2)
    assert answers(hooks)


def test_a_connection_that_is_cut_is_made_anew_and_the_listener_stays(
    hooks: Database, heard: Heard, owner_url: str
) -> None:
    terminate(owner_url, "herotill packet time")
    assert not answers(hooks)
    wait_for(lambda: answers(hooks))
    wait_for(lambda: hooks.is_listening)
    assert heard.connections == 1


def test_a_notification_we_stumble_over_does_not_make_us_deaf(
    hooks: Database, heard: Heard, owner_url: str
) -> None:
    """Otherwise memory would count as fresh for ever, and nobody would hear of a change."""
    notify(owner_url, "stumble")
    wait_for(lambda: heard.connections == 2 and hooks.is_listening)
    notify(owner_url, "heard")
    wait_for(lambda: "heard" in heard.payloads)
    assert "we are wrong" in heard.sentences[0]


def test_every_outage_is_told_of_once(hooks: Database, heard: Heard, postgresql: Fragile) -> None:
    for number in (1, 2):
        with postgresql.stopped():
            wait_for(lambda number=number: len(heard.sentences) == number)
        wait_for(lambda: hooks.is_listening)
    assert len(heard.sentences) == 2


def test_a_change_that_is_told_while_a_page_is_loaded_is_heard_at_once(
    hooks: Database, heard: Heard, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its notification comes with the answer to another statement, after which the socket is silent."""
    monkeypatch.setattr(packet_time, "HEARTBEAT_SECONDS", 60)
    heard.pages = 50
    notify(owner_url, "first")  # wakes the thread
    for number in range(20):
        notify(owner_url, str(number))
    wait_for(lambda: "19" in heard.payloads)
    assert heard.payloads == ["first", *map(str, range(20))]
