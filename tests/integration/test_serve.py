"""The daemon as a process: it keeps its workers alive, drains on SIGTERM and leaves nobody behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from sync_daemon.settings import FILE_NAME, new_class_secret, render_settings, write_private

DEADLINE_SECONDS = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]
HEROTILL = (sys.executable, "-c", "from sync_daemon.cli import main; main()")


@dataclass
class Daemon:
    """A running `herotill serve`."""

    process: "subprocess.Popen[bytes]"
    log_path: Path

    def pids(self, worker: str) -> list[int]:
        """Every process the worker has had, in order."""
        return [int(pid) for pid in re.findall(rf"started {worker} \(pid (\d+)\)", self.log_path.read_text())]

    def await_(self, is_true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_true():
            assert time.monotonic() < deadline, self.log_path.read_text()
            time.sleep(0.05)


@contextmanager
def serving(state: Path, log_path: Path, environment: dict[str, str], only: str | None) -> Iterator[Daemon]:
    command = (*HEROTILL, "--state", str(state), "serve", *(("--only", only) if only else ()))
    with log_path.open("w") as log:
        process = subprocess.Popen(command, stderr=log, cwd=REPOSITORY, env=os.environ | environment)
    running = Daemon(process, log_path)
    try:
        running.await_(lambda: "started " in log_path.read_text())
        yield running
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def daemon(state: Path, tmp_path: Path) -> Iterator[Daemon]:
    with serving(state, tmp_path / "serve.log", {}, "schedule,coa") as running:
        running.await_(lambda: len(running.pids("schedule")) == 1 and len(running.pids("coa")) == 1)
        yield running


def _lives(pid: int) -> bool:
    with suppress(OSError, IndexError):
        # The state follows the last parenthesis; a zombie has ended and only waits for its parent.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_sigterm_ends_everything_cleanly_and_soon(daemon: Daemon) -> None:
    pids = daemon.pids("schedule") + daemon.pids("coa")
    daemon.process.terminate()
    assert daemon.process.wait(DEADLINE_SECONDS) == 0
    assert not any(_lives(pid) for pid in pids)
    assert "killed" not in daemon.log_path.read_text()


def test_a_killed_worker_is_started_again_and_the_others_are_left_alone(daemon: Daemon) -> None:
    os.kill(daemon.pids("coa")[0], signal.SIGKILL)
    daemon.await_(lambda: len(daemon.pids("coa")) == 2)
    assert len(daemon.pids("schedule")) == 1
    assert _lives(daemon.pids("schedule")[0])


def test_a_worker_that_hangs_is_killed_and_started_again_and_the_others_are_left_alone(
    state: Path, tmp_path: Path
) -> None:
    with (state / FILE_NAME).open("a") as settings:
        settings.write("worker_silence_seconds: 5\n")
    with serving(state, tmp_path / "serve.log", {}, "schedule,coa") as daemon:
        daemon.await_(lambda: len(daemon.pids("schedule")) == 1 and len(daemon.pids("coa")) == 1)

        os.kill(daemon.pids("coa")[0], signal.SIGSTOP)

        daemon.await_(lambda: len(daemon.pids("coa")) == 2)
        lines = [line for line in daemon.log_path.read_text().splitlines() if "no sign of life" in line]
        assert len(lines) == 1
        assert "coa has given no sign of life" in lines[0]
        assert not _lives(daemon.pids("coa")[0])
        assert len(daemon.pids("schedule")) == 1
        assert _lives(daemon.pids("schedule")[0])


def test_workers_do_not_outlive_a_killed_supervisor(daemon: Daemon) -> None:
    pids = daemon.pids("schedule") + daemon.pids("coa")
    daemon.process.kill()
    daemon.await_(lambda: not any(_lives(pid) for pid in pids))


def _notifications(listener: socket.socket) -> list[str]:
    told: list[str] = []
    with suppress(BlockingIOError):
        while True:
            told.append(listener.recv(4096).decode())
    return told


def test_changed_settings_are_taken_and_a_broken_file_is_not(daemon: Daemon, state: Path) -> None:
    path = state / FILE_NAME
    good = path.read_text()

    path.write_text(good + "time_zone: [Africa/Nairobi\n")
    daemon.await_(lambda: "the old ones stay in force" in daemon.log_path.read_text())
    daemon.process.send_signal(signal.SIGHUP)  # not even when asked to
    daemon.await_(lambda: daemon.log_path.read_text().count("the old ones stay in force") >= 2)
    assert "read again" not in daemon.log_path.read_text()
    assert len(daemon.pids("schedule")) == len(daemon.pids("coa")) == 1

    write_private(path, good + "time_zone: Africa/Nairobi\n")
    daemon.await_(lambda: len(daemon.pids("schedule")) == len(daemon.pids("coa")) == 2)
    assert not _lives(daemon.pids("schedule")[0])
    assert "starting again" not in daemon.log_path.read_text()

    write_private(path, good + "time_zone: Africa/Nairobi\n# a comment\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.await_(lambda: len(daemon.pids("schedule")) == 3)
    assert daemon.log_path.read_text().count("read again") == 2


def test_systemd_is_told_of_every_turn(state: Path, tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    listener.bind(str(tmp_path / "notify"))
    heard: list[str] = []

    def hears(what: str) -> bool:
        heard.extend(_notifications(listener))
        return any(what in told for told in heard)

    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    with serving(state, tmp_path / "serve.log", environment, "schedule") as daemon:
        daemon.await_(lambda: hears("READY=1"))
        daemon.await_(lambda: hears("WATCHDOG=1"))
        os.kill(daemon.pids("schedule")[0], signal.SIGKILL)
        daemon.await_(lambda: hears("STATUS=not working: schedule"))
        heard.clear()
        daemon.await_(lambda: hears("STATUS=working: schedule"))
        heard.clear()
        daemon.process.send_signal(signal.SIGHUP)
        daemon.await_(lambda: hears("RELOADING=1\nMONOTONIC_USEC="))
        daemon.await_(lambda: hears("READY=1"))
        daemon.process.terminate()
        daemon.await_(lambda: hears("STOPPING=1"))
        assert daemon.process.wait(DEADLINE_SECONDS) == 0
    listener.close()


def test_a_database_that_cannot_be_reached_is_a_line_and_the_daemon_stays(
    state: Path, tmp_path: Path
) -> None:
    path = state / FILE_NAME
    values = yaml.safe_load(path.read_text())
    good_url = values["billing_url"]
    values["billing_url"] = "postgresql://nobody@127.0.0.1:1/nothing"
    write_private(path, render_settings(values))

    with serving(state, tmp_path / "serve.log", {}, None) as daemon:
        waiting = (
            "the meter cannot", "cannot reconcile", "disconnects wait", "live changes wait", "the schedule waits",
            "the chores wait", "the billing run waits", "events wait",
        )  # fmt: skip
        daemon.await_(lambda: all(sentence in daemon.log_path.read_text() for sentence in waiting))
        assert daemon.process.poll() is None
        assert "Traceback" not in daemon.log_path.read_text()

        values["billing_url"] = good_url  # and put right, it works without being started again
        write_private(path, render_settings(values))
        daemon.await_(lambda: "metering the journal" in daemon.log_path.read_text())


def test_an_embedded_database_that_cannot_start_is_a_line_and_is_tried_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    write_private(state / FILE_NAME, render_settings({"class_secret": new_class_secret()}))
    (state / "postgresql").write_text("a file where a directory must be, as good as a full disk")
    with serving(state, tmp_path / "serve.log", {}, "coa") as daemon:
        daemon.await_(lambda: "PostgreSQL does not start and is tried again" in daemon.log_path.read_text())
        daemon.process.terminate()
        assert daemon.process.wait(DEADLINE_SECONDS) == 0
    assert "Traceback" not in daemon.log_path.read_text()
