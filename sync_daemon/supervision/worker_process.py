"""One worker seen from outside: its process, its failures, its signs of life, and when to start it again.

All moments are of the monotonic clock.
"""

import logging
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from sync_daemon.settings import Settings
from sync_daemon.supervision.roster import longest_silence_seconds
from sync_daemon.supervision.worker_main import DRAIN_SECONDS, run_worker

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_AFTER_SECONDS = 60.0


def pause_seconds(failures: int) -> float:
    """Return how long to wait before starting a worker again that has failed so often in a row."""
    return (
        float(min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 30), LONGEST_PAUSE_SECONDS))
        if failures
        else 0.0
    )


@dataclass
class WorkerProcess:
    """One worker; `process` is None while it does not run."""

    name: str
    process: SpawnProcess | None = None
    failures: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    was_heard: bool = False
    silent_since: float = 0.0  # as far as we can know
    longest_silence_seconds: float = float("inf")
    must_end_by: float | None = None  # it was asked to end, to begin anew
    killed_at: float | None = None
    beats: Connection | None = None

    def start(self, settings: Settings) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self.beats, writer = context.Pipe(duplex=False)
        self.process = context.Process(
            target=run_worker, args=(self.name, settings, writer), name=f"herotill-{self.name}"
        )
        self.process.start()
        writer.close()
        self.was_heard = False
        self.started_at = self.silent_since = time.monotonic()
        self.longest_silence_seconds = longest_silence_seconds(self.name, settings.worker_silence_seconds)
        log.info("started %s (pid %s)", self.name, self.process.pid)

    def ask_to_end(self) -> None:
        """Let it finish what it has in hand; it is started again at once."""
        self.failures, self.start_at = 0, 0.0
        if self.process is not None:
            self.process.terminate()
            self.must_end_by = time.monotonic() + DRAIN_SECONDS

    def listen(self) -> None:
        """Take note of its signs of life."""
        try:
            while self.beats is not None and self.beats.poll():
                self.beats.recv_bytes()
                self.was_heard, self.silent_since = True, time.monotonic()
        except (EOFError, OSError):  # it has ended
            return

    def forgive_silence(self) -> None:
        """Begin to count anew: we were not there to hear it."""
        self.silent_since = time.monotonic()

    def kill_if_overdue(self) -> None:
        """Kill what was asked to end and does not, and what has been silent for too long."""
        now = time.monotonic()
        if self.process is None or self.killed_at is not None:
            return
        if self.must_end_by is not None and now > self.must_end_by:
            log.error("%s did not end within %.0f s and is killed", self.name, DRAIN_SECONDS)
        elif now - self.silent_since > self.longest_silence_seconds:
            log.error(
                "%s has given no sign of life for %.0f s and is killed (worker_silence_seconds)",
                self.name,
                now - self.silent_since,
            )
        else:
            return
        self.killed_at = now
        self.process.kill()

    @property
    def has_begun(self) -> bool:
        """Whether it is at work, or has failed, which is no reason for the others to wait for it."""
        return self.is_at_work or (self.must_end_by is None and self.failures > 0)

    @property
    def is_at_work(self) -> bool:
        """Whether it has given a sign of life, and was not asked to end since."""
        return self.process is not None and self.must_end_by is None and self.was_heard

    @property
    def is_stuck(self) -> bool:
        """Whether it was killed and is still there: the kernel holds it, and only a new daemon can go on without it."""
        return (
            self.process is not None
            and self.killed_at is not None
            and time.monotonic() - self.killed_at > DRAIN_SECONDS
        )

    def note_end(self) -> None:
        """Take the process's end as a failure, unless it was asked for, and decide when to start again."""
        assert self.process is not None  # noqa: S101 - only called for a process that has ended
        self.process.join()
        if self.must_end_by is None:
            self._note_failure(self.process.exitcode)
        self.process.close()
        if self.beats is not None:
            self.beats.close()
        self.process = self.beats = self.must_end_by = self.killed_at = None

    def _note_failure(self, exit_status: int | None) -> None:
        now = time.monotonic()
        self.failures = 1 if now - self.started_at >= HEALTHY_AFTER_SECONDS else self.failures + 1
        pause = pause_seconds(self.failures)
        self.start_at = now + pause
        log.warning("%s ended with status %s; starting again in %.1f s", self.name, exit_status, pause)
