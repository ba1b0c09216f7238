"""The worker as a process: nothing is lost when it is killed, and a sink that is broken holds no other up."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from billing import customers
from billing.customers import Person
from sync_daemon.settings import FILE_NAME
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.events.conftest import Emit
from tests.contract.events.servers import http_server, mail_server

DEADLINE_SECONDS = 30.0
REPOSITORY = Path(__file__).resolve().parents[3]
HEROTILL = (sys.executable, "-c", "from sync_daemon.cli import main; main()")
SECRET = "0123456789abcdef" * 4
UNDELIVERED = "SELECT event_id FROM billing.event_delivery WHERE state <> 'delivered'"


def _await(is_true: Callable[[], bool], log_path: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, log_path.read_text()
        time.sleep(0.02)


@dataclass
class Daemon:
    """A running `herotill serve --only events`."""

    log_path: Path

    def pids(self) -> list[int]:
        """Every process the worker has had, in order."""
        return [int(pid) for pid in re.findall(r"started events \(pid (\d+)\)", self.log_path.read_text())]

    def wait_for(self, is_true: Callable[[], bool]) -> None:
        _await(is_true, self.log_path)


@contextmanager
def _daemon(state: Path, **sinks: dict[str, Any]) -> Iterator[Daemon]:
    settings = yaml.safe_load((state / FILE_NAME).read_text()) | {"event_sinks": sinks}
    (state / FILE_NAME).write_text(yaml.safe_dump(settings))
    log_path = state / "serve.log"
    with log_path.open("w") as log:
        command = (*HEROTILL, "--state", str(state), "serve", "--only", "events")
        process = subprocess.Popen(command, stderr=log, cwd=REPOSITORY)
    daemon = Daemon(log_path)
    try:
        daemon.wait_for(lambda: len(daemon.pids()) == 1)
        yield daemon
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_an_event_is_delivered_at_once(state: Path, tmp_path: Path, emit_event: Emit, ask: Ask) -> None:
    path = tmp_path / "events"
    with _daemon(state, archive={"type": "file", "path": str(path)}) as daemon:
        emit_event("sale", "sale:1")
        daemon.wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
        began = time.monotonic()
        emit_event("sale", "sale:2")
        daemon.wait_for(lambda: "sale:2" in path.read_text())
        assert time.monotonic() - began < 5
        daemon.wait_for(lambda: ask(UNDELIVERED) == [])


def test_a_worker_killed_while_it_posts_posts_again(state: Path, emit_event: Emit, ask: Ask) -> None:
    with http_server() as server:
        has_it, go_on = threading.Event(), threading.Event()

        def hold_the_first(_: object) -> None:
            has_it.set()
            go_on.wait(DEADLINE_SECONDS)

        server.before_answer = hold_the_first
        sink = {"type": "http", "url": server.url, "secret": SECRET, "timeout_seconds": 60}
        with _daemon(state, portal=sink) as daemon:
            emit_event("sale", "sale:1", {"plan": "1g"})
            assert has_it.wait(DEADLINE_SECONDS)
            # The server has the event, the worker does not know yet.
            os.kill(daemon.pids()[0], signal.SIGKILL)
            go_on.set()
            daemon.wait_for(
                lambda: ask("SELECT state FROM billing.event_delivery") == [{"state": "delivered"}]
            )
        keys = [post.headers["Idempotency-Key"] for post in server.posts]
        assert (len(daemon.pids()), keys) == (2, ["sale:1", "sale:1"])
        assert server.posts[0].body == server.posts[1].body


def test_a_worker_killed_while_it_mails_mails_again(
    state: Path, books: OpenBooks, emit_event: Emit, ask: Ask, now: Any
) -> None:
    with books() as session:
        person = Person("Student One", email="student-1@example.net")
        customer_id = customers.add(session, person=person, now=now).customer_id
    payload = {"username": "student-1", "plan_name": "1g-1m", "percent": 80, "remaining": "200 MiB"}
    with mail_server() as server:
        has_it, go_on = threading.Event(), threading.Event()

        def hold_the_first() -> None:
            has_it.set()
            go_on.wait(DEADLINE_SECONDS)

        server.before_answer = hold_the_first
        where = {"type": "smtp", "host": server.host, "port": server.port, "security": "none"}
        with _daemon(state, mail=where | {"sender": "no-reply@isp.example", "timeout_seconds": 60}) as daemon:
            emit_event("notice.usage", "notice:1:80", payload, customer_id)
            assert has_it.wait(DEADLINE_SECONDS)
            os.kill(daemon.pids()[0], signal.SIGKILL)
            go_on.set()
            daemon.wait_for(
                lambda: ask("SELECT state FROM billing.event_delivery") == [{"state": "delivered"}]
            )
        first, second = server.mails
        # Mail readers show it once.
        assert first["Message-ID"] == second["Message-ID"]
        assert first["To"] == "Student One <student-1@example.net>"


def test_a_sink_that_hangs_or_is_misconfigured_holds_no_other_up(
    state: Path, tmp_path: Path, emit_event: Emit, ask: Ask
) -> None:
    silence = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{silence.getsockname()[1]}/"
    path = tmp_path / "events"
    sinks: dict[str, dict[str, Any]] = {
        "dead": {"type": "http", "url": url, "secret": SECRET, "timeout_seconds": 300},
        "wrong": {"type": "http", "url": "https://localhost:1/", "secret": SECRET, "ca_file": "/nonexistent"},
        "archive": {"type": "file", "path": str(path)},
    }
    with _daemon(state, **sinks) as daemon:
        for number in range(50):
            emit_event("sale", f"sale:{number}")
        daemon.wait_for(lambda: path.exists() and len(path.read_text().splitlines()) == 50)
        daemon.wait_for(lambda: ask(UNDELIVERED + " AND sink = 'archive'") == [])
        daemon.wait_for(lambda: len(ask("SELECT 1 FROM billing.event_delivery WHERE last_error <> ''")) > 0)
    silence.close()
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [
        f"sale:{n}" for n in range(50)
    ]
    assert SECRET not in daemon.log_path.read_text()


@pytest.mark.parametrize("kind", ["sale", "notice.usage", "notice.expiry"])
def test_a_sink_gets_the_kinds_it_wants(
    state: Path, tmp_path: Path, emit_event: Emit, ask: Ask, kind: str
) -> None:
    emit_event(kind, "it")
    sink = {"type": "file", "path": str(tmp_path / "events"), "kinds": ["notice.*", "sold"]}
    with _daemon(state, archive=sink) as daemon:
        daemon.wait_for(lambda: ask("SELECT 1 FROM billing.event WHERE dispatched_at IS NULL") == [])
        daemon.wait_for(lambda: ask(UNDELIVERED) == [])
    assert (tmp_path / "events").exists() == kind.startswith("notice.")
