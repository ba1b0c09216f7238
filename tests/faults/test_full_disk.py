"""A disk that is full: one clear line, nothing ends, nobody is cut off, and with room again everything is right."""

import asyncio
import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from herotill.journal import ACCOUNTING, encode
from nas_simulator.exchange import Retransmission
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted
from rlm_herotill.journal import JournalWriter
from rlm_herotill.settings import Fdatasync
from sync_daemon.settings import FILE_NAME, render_settings, write_private
from tests.conftest import RunHerotill
from tests.faults.conftest import Nodes
from tests.faults.small_disk import SmallDisk, small_disk
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, until
from tests.integration.test_serve import HEROTILL, REPOSITORY, Daemon, serving

CUTS = "SELECT count(*)::int FROM radius.coa_request"
OCTETS = "SELECT input_octets::int FROM radius.session WHERE input_octets > 0"
STARTED = "SELECT count(*)::int FROM radius.session"
CLOSED = "SELECT count(*)::int FROM radius.session WHERE stopped_at IS NOT NULL"
DEADLINE_SECONDS = 60.0
FULL = Retransmission(timeout_seconds=0.3, attempts=2)


@pytest.fixture
def journal_disk() -> Iterator[SmallDisk]:
    """A disk for the journal alone."""
    with small_disk(2) as disk:
        yield disk


def test_r34_a_full_journal_disk_answers_no_accounting_and_loses_none(
    journal_disk: SmallDisk, nodes: Nodes, isp: Isp, run_herotill: RunHerotill, state: Path
) -> None:
    """Given somebody online, when the journal's disk is full, then the NAS is not answered and sends again later."""
    _set(state, journal_directory=str(journal_disk.path), node="a")
    isp.offer("month", quota_octets=GIB)
    isp.enrol("anna")
    isp.sell("month", "anna")
    node = nodes.node(journal_directory=journal_disk.path)
    node.server.start()
    node.start_meter()

    async def story() -> None:
        async with SimulatedNas(nas_settings(node.server, retransmission=FULL)) as nas:
            session = accepted(await nas.login("anna", PASSWORD)).session
            await session.use(input_octets=1000, output_octets=10, seconds=60)
            assert (await session.interim()).answered
            await until(lambda: isp.ask(OCTETS) == [(1000,)])

            journal_disk.fill()
            await session.use(input_octets=500, output_octets=5, seconds=60)
            async with asyncio.timeout(DEADLINE_SECONDS):  # the page the segment has already takes some more
                while (await session.interim()).answered:
                    pass
                numbers = itertools.count()
                while isinstance(await nas.login("anna", PASSWORD, device=f"tv-{next(numbers)}"), Accepted):
                    pass
            await asyncio.to_thread(_says_that_it_is_full, run_herotill)
            assert isp.ask(CLOSED) == isp.ask(CUTS) == [(0,)]

            journal_disk.make_room()
            assert (await session.interim()).answered
            await until(lambda: isp.ask(OCTETS) == [(1500,)])
            accepted(await nas.login("anna", PASSWORD, device="tv"))
            assert (await session.stop()).answered

    asyncio.run(story())
    assert "the journal cannot be written, so the NAS is not answered and will send again" in node.server.log
    assert isp.ask(CUTS) == [(0,)]


def _says_that_it_is_full(run_herotill: RunHerotill) -> None:
    examined = run_herotill("doctor", "--json", "--raddb", "/nowhere")
    (space,) = (each for each in json.loads(examined.stdout) if each["topic"] == "journal: space")
    assert space["health"] == "wrong"
    assert "no accounting is answered" in space["sentence"]
    assert space["mend"]
    status = run_herotill("status", "--once")
    assert status.exit_code == 1
    assert "the journal's disk is full" in status.output


def _set(state: Path, **changes: str) -> None:
    values = yaml.safe_load((state / FILE_NAME).read_text())
    write_private(state / FILE_NAME, render_settings(values | changes))


@pytest.fixture
def daemon_disk() -> Iterator[SmallDisk]:
    """A disk that holds an installation with its PostgreSQL."""
    with small_disk(250) as disk:
        yield disk


def _herotill(state: Path, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    command = (*HEROTILL, "--state", str(state), *arguments)
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=REPOSITORY)


@contextmanager
def _installed(disk: SmallDisk, journal: Path) -> Iterator[Path]:
    """An installation on that disk, its journal elsewhere; its PostgreSQL is stopped at the end."""
    state = disk.path / "s"
    made = _herotill(state, "init")
    assert made.returncode == 0, made.stderr
    try:
        _set(state, journal_directory=str(journal), node="a")
        yield state
    finally:
        disk.make_room()
        _herotill(state, "database", "stop")


def test_r34_a_full_state_disk_stops_no_worker_for_good_and_cuts_nobody(
    daemon_disk: SmallDisk, tmp_path: Path
) -> None:
    """Given a daemon with the embedded PostgreSQL, when its disk is full, then what is journalled waits for room."""
    journal = tmp_path / "journal"
    with _installed(daemon_disk, journal) as state:
        for command in (
            ("plan", "add", "month", "--price", "0", "--quota", "1GiB", "--valid-for", "30d"),
            ("customer", "add", "--name", "Anna", "--verified", "--user", "anna", "--generate-password"),
            ("sell", "month", "--to", "anna"),
        ):
            done = _herotill(state, *command)
            assert done.returncode == 0, done.stderr
        writer = JournalWriter(journal, Fdatasync.NEVER)
        with serving(state, tmp_path / "serve.log", {}, None) as daemon:
            _report(writer, "Start", 0)
            _await(daemon, lambda: _ask(state, STARTED) == "1")
            daemon_disk.fill()
            refusal = _until_postgresql_feels_it(state, writer)
            assert refusal.stderr.count("\n") == 1, refusal.stderr
            assert "No space left on device" in refusal.stderr
            assert "make room" in refusal.stderr
            examined = json.loads(_herotill(state, "doctor", "--json", "--raddb", "/nowhere").stdout)
            assert ("PostgreSQL: space", "wrong") in [(each["topic"], each["health"]) for each in examined]
            _await(daemon, lambda: _told(daemon, "the meter cannot use the database") == 1)
            assert daemon.process.poll() is None

            daemon_disk.make_room()
            _report(writer, "Interim-Update", 1_000_000)
            _await(daemon, lambda: _octets(state) == 1_000_000)
            _await(daemon, lambda: _herotill(state, "status", "--once").returncode == 0)
            assert _ask(state, CUTS) == "0"
            assert _told(daemon, "the meter cannot use the database") == 1
            daemon.process.terminate()
            assert daemon.process.wait(DEADLINE_SECONDS) == 0
        writer.close()
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def _told(daemon: Daemon, sentence: str) -> int:
    return daemon.log_path.read_text().count(sentence)


def _report(writer: JournalWriter, status: str, octets: int) -> None:
    pairs = {
        "User-Name": "anna", "Acct-Session-Id": "1", "Acct-Status-Type": status,
        "Acct-Session-Time": str(octets // 1000), "Acct-Input-Octets": str(octets),
    }  # fmt: skip
    body: list[Any] = [[name, value] for name, value in pairs.items()]
    writer.append(encode(ACCOUNTING, time.time_ns() // 1000, "192.0.2.1", body))


def _until_postgresql_feels_it(state: Path, writer: JournalWriter) -> "subprocess.CompletedProcess[str]":
    """Write until something is refused for want of room."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    number = 0
    while time.monotonic() < deadline:
        number += 1
        _report(writer, "Interim-Update", 1000 * number)
        done = _herotill(state, "topup", "anna", "--octets", "1MB", "--reason", os.urandom(100).hex())
        if done.returncode != 0:
            return done
    raise AssertionError("nothing was refused")


def _ask(state: Path, query: str) -> str:
    url = _herotill(state, "database", "url").stdout.strip()
    try:
        connection = psycopg2.connect(url)
    except psycopg2.Error as error:
        return str(error)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    connection.close()
    return "nothing" if row is None else str(row[0])


def _octets(state: Path) -> int:
    answer = _ask(state, OCTETS)
    return int(answer) if answer.isdigit() else -1


def _await(daemon: Daemon, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, daemon.log_path.read_text()
        time.sleep(0.2)
