"""Two daemons on one database; the one that works is killed in the middle: nothing is lost and nothing is doubled."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from herotill.journal import ACCOUNTING, encode
from rlm_herotill.journal import JournalWriter
from rlm_herotill.settings import Fdatasync
from sync_daemon import database
from sync_daemon.settings import FILE_NAME, load_settings, render_settings, write_private
from tests.contract.coa_fake_nas import FakeNas, attributes_of
from tests.contract.coa_setup import add_nas
from tests.integration.test_serve import HEROTILL, REPOSITORY

DEADLINE_SECONDS = 40.0
ACCOUNTS = 40
ROUNDS = 30
NAS = "127.0.0.1"
USER_NAME = 1

# Each grant ends by the clock, from four to eight seconds from now.
ENROL = """
    WITH numbered AS (SELECT n, 'user-' || n AS username FROM generate_series(1, %(count)s) AS n),
    accounts AS (
        INSERT INTO radius.managed_account (username, kind, status, policy)
        SELECT username, 'prepaid', 'active', '{}' FROM numbered)
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, policy, granted_at, expires_at)
    SELECT 'test:' || n, username, 'purchase', 'hour', '{}', clock_timestamp(),
           clock_timestamp() + make_interval(secs => 4 + 4.0 * n / %(count)s)
    FROM numbered
"""
HAPPEN = """
    INSERT INTO billing.event (event_key, kind, payload, occurred_at)
    SELECT 'test:' || n, 'test.happened', '{}', clock_timestamp() FROM generate_series(%s, %s) AS n;
    SELECT pg_notify('herotill_event', '')
"""
ENDS = "SELECT count(*) FILTER (WHERE ended_reason = 'expiry')::int FROM radius.entitlement"


class Installation:
    """The database, the journal and what the daemons have logged."""

    def __init__(self, state: Path) -> None:
        self.settings = load_settings(state / FILE_NAME, state)
        self.journal = JournalWriter(self.settings.journal_directory, Fdatasync.NEVER)
        self.connection = database.connect(database.radius_url(self.settings), "test", autocommit=True)

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def report(self, user: int, status: str, octets: int, seconds: int) -> None:
        pairs = {
            "User-Name": f"user-{user}",
            "Acct-Session-Id": f"session-{user}",
            "Acct-Status-Type": status,
            "Acct-Session-Time": str(seconds),
            "Acct-Input-Octets": str(octets),
        }
        received_us = time.time_ns() // 1000
        self.journal.append(
            encode(ACCOUNTING, received_us, NAS, [[name, value] for name, value in pairs.items()])
        )

    def close(self) -> None:
        self.journal.close()
        self.connection.close()


@pytest.fixture
def installation(state: Path) -> Iterator[Installation]:
    path = state / FILE_NAME
    values = yaml.safe_load(path.read_text())
    values["event_sinks"] = {"archive": {"type": "file", "path": str(state / "events.jsonl")}}
    write_private(path, render_settings(values))
    made = Installation(state)
    yield made
    made.close()


@contextmanager
def serving(state: Path, log_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A daemon in a process group of its own, so that it can be killed with all its workers at once."""
    command = (*HEROTILL, "--state", str(state), "serve", "--only", "meter,coa,schedule,events")
    with log_path.open("w") as log:
        process = subprocess.Popen(command, stderr=log, cwd=REPOSITORY, start_new_session=True)
    try:
        yield process
    finally:
        kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until(is_so: Callable[[], bool], told: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


def delivered(state: Path) -> Counter[str]:
    path = state / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(json.loads(line)["key"] for line in lines)


def test_a_daemon_that_is_killed_loses_and_doubles_nothing(
    installation: Installation, state: Path, tmp_path: Path
) -> None:
    first_log, second_log = tmp_path / "first.log", tmp_path / "second.log"
    with FakeNas() as nas, serving(state, first_log) as first:
        # given two daemons, of which the first meters, and users whose grants are about to end
        until(lambda: "metering the journal" in first_log.read_text(), first_log.read_text)
        with serving(state, second_log):
            until(lambda: "another meter is at work" in second_log.read_text(), second_log.read_text)
            add_nas(installation.connection, nas)
            for user in range(1, ACCOUNTS + 1):
                installation.report(user, "Start", 0, 0)
            with installation.connection.cursor() as cursor:
                cursor.execute(ENROL, {"count": ACCOUNTS})
                cursor.execute("SELECT pg_notify('herotill_account', '[\"user-1\"]')")

            # when the first is killed while usage, events, expiries and disconnects go on
            for moment in range(1, ROUNDS + 1):
                for user in range(1, ACCOUNTS + 1):
                    installation.report(user, "Interim-Update", 1000 * moment, moment)
                with installation.connection.cursor() as cursor:
                    cursor.execute(HAPPEN, (10 * moment, 10 * moment + 9))
                if moment == ROUNDS // 2:
                    until(lambda: installation.ask(ENDS)[0][0] >= ACCOUNTS // 3)
                    kill(first)
                time.sleep(0.05)
            until(lambda: installation.ask(ENDS)[0][0] == ACCOUNTS, second_log.read_text)
            heard: set[str] = set()

            def all_are_disconnected() -> bool:
                heard.update(
                    value.decode()
                    for each in list(nas.heard)
                    for number, value in attributes_of(each.octets)
                    if number == USER_NAME
                )
                return len(heard) == ACCOUNTS

            until(all_are_disconnected, second_log.read_text)
            for user in range(1, ACCOUNTS + 1):
                installation.report(user, "Stop", 1000 * ROUNDS, ROUNDS)

            # then every octet counts once, every grant ended once and in time, every session was cut by one request,
            totals = "SELECT coalesce(sum(input_octets), 0)::int, coalesce(sum(seconds), 0)::int FROM radius.usage_interval"
            wanted = [(1000 * ROUNDS * ACCOUNTS, ROUNDS * ACCOUNTS)]
            until(lambda: installation.ask(totals) == wanted, lambda: installation.ask(totals))
            requests = "SELECT count(*)::int, count(DISTINCT acct_unique_id)::int FROM radius.coa_request"
            assert installation.ask(requests) == [(ACCOUNTS, ACCOUNTS)]
            unfinished = "SELECT count(*)::int FROM radius.coa_request WHERE state <> 'confirmed'"
            until(lambda: installation.ask(unfinished) == [(0,)])
            # and every event was delivered; only the one in hand when the daemon was killed may have come twice.
            keys = {f"test:{number}" for number in range(10, 10 * ROUNDS + 10)}
            until(lambda: set(delivered(state)) >= keys, lambda: keys - set(delivered(state)))
            times = delivered(state)
            assert sum(times[key] - 1 for key in keys) <= 1
