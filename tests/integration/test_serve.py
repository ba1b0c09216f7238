"""The daemon as a process: it keeps its workers alive, drains on SIGTERM and leaves nobody behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

DEADLINE_SECONDS = 20.0
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


@pytest.fixture
def daemon(state: Path, tmp_path: Path) -> Iterator[Daemon]:
    log_path = tmp_path / "serve.log"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            (*HEROTILL, "--state", str(state), "serve", "--only", "schedule,coa"), stderr=log, cwd=REPOSITORY
        )
    running = Daemon(process, log_path)
    running.await_(lambda: len(running.pids("schedule")) == 1 and len(running.pids("coa")) == 1)
    yield running
    process.kill()
    process.wait()


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


def test_workers_do_not_outlive_a_killed_supervisor(daemon: Daemon) -> None:
    pids = daemon.pids("schedule") + daemon.pids("coa")
    daemon.process.kill()
    daemon.await_(lambda: not any(_lives(pid) for pid in pids))
