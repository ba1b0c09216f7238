"""Keeps the workers alive: one process each, so that none can stall another.

A worker that ends is started again, after a pause that doubles while it keeps failing. SIGTERM lets all of them finish
what they have in hand, for at most DRAIN_SECONDS. SIGHUP, and a change of the settings file, end each worker in the same
way and start it with the new settings; a file that is wrong changes nothing. Workers notice the death of the supervisor
and end too. Whatever else goes wrong (a database that does not answer, a full disk) is one line in the log, and is tried
again.
"""

import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import psycopg2
import sqlalchemy.exc

from herotill.dialect import use_dialects
from herotill.errors import InvalidValue, Refused
from sync_daemon.database import embedded_cluster, ensure_running
from sync_daemon.logs import configure_logging
from sync_daemon.notify import ServiceManager
from sync_daemon.reloading import read_again, watch_file
from sync_daemon.settings import Settings

log = logging.getLogger(__name__)

# The worker and the module whose `run(settings, stop)` it is.
WORKERS = {
    "meter": "sync_daemon.meter",
    "reconcile": "sync_daemon.reconcile.worker",
    "coa": "sync_daemon.coa.worker",
    "live": "sync_daemon.live_sessions",
    "schedule": "sync_daemon.schedule",
    "billing": "sync_daemon.billing_worker",
    "events": "sync_daemon.events.worker",
    "metrics": "sync_daemon.metrics",
    "watch": "sync_daemon.watch",
}
DRAIN_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_AFTER_SECONDS = 60.0
DATABASE_CHECK_SECONDS = 2.0
DATABASE_RETRY_SECONDS = 15.0
SETTLE_SECONDS = 0.3
"""How long the settings file must be left alone before it is read: an editor writes it in several steps."""
EXPECTED_FAILURES = (
    OSError, subprocess.SubprocessError, psycopg2.Error, sqlalchemy.exc.DBAPIError, InvalidValue, Refused,
)  # fmt: skip
"""What the world does to a daemon; everything else is a fault of ours and is logged with its traceback."""

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


def in_one_line(error: Exception) -> str:
    """Return what an error says, for a line of the log."""
    return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__


@dataclass
class _Worker:
    """One worker: its process while it runs, its failures, and when to start it again (monotonic)."""

    name: str
    process: SpawnProcess | None = None
    failures: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    must_end_by: float | None = None  # it was asked to end, to begin anew

    def start(self, settings: Settings) -> None:
        self.process = multiprocessing.get_context("spawn").Process(
            target=run_worker, args=(self.name, settings), name=f"herotill-{self.name}"
        )
        self.process.start()
        self.started_at = time.monotonic()
        log.info("started %s (pid %s)", self.name, self.process.pid)

    def ask_to_end(self) -> None:
        """Let it finish what it has in hand; it is started again at once."""
        self.failures, self.start_at = 0, 0.0
        if self.process is not None:
            self.process.terminate()
            self.must_end_by = time.monotonic() + DRAIN_SECONDS

    def kill_if_overdue(self) -> None:
        if self.process is not None and self.must_end_by is not None and time.monotonic() > self.must_end_by:
            log.error("%s did not end within %.0f s and is killed", self.name, DRAIN_SECONDS)
            self.process.kill()

    def note_end(self) -> None:
        """Take the process's end as a failure, unless it was asked for, and decide when to start again."""
        assert self.process is not None  # noqa: S101 - only called for a process that has ended
        self.process.join()
        if self.must_end_by is None:
            self._note_failure(self.process.exitcode)
        self.process.close()
        self.process = self.must_end_by = None

    def _note_failure(self, exit_status: int | None) -> None:
        now = time.monotonic()
        self.failures = 1 if now - self.started_at >= HEALTHY_AFTER_SECONDS else self.failures + 1
        pause = pause_seconds(self.failures)
        self.start_at = now + pause
        log.warning("%s ended with status %s; starting again in %.1f s", self.name, exit_status, pause)


@dataclass
class Supervisor:
    """Runs the named workers until told to stop; with a `config_path`, reads that file again when it changes."""

    settings: Settings
    names: Iterable[str]
    config_path: Path | None = None
    _stopping: bool = False
    _reload_at: float | None = None
    _reload_is_wanted: bool = False  # by SIGHUP: also where the file says the same
    _database_was_started: bool = False
    _database_due_at: float = 0.0
    _is_ready: bool = False
    _manager: ServiceManager = field(default_factory=ServiceManager)
    _workers: list[_Worker] = field(init=False)
    _wake_reader: int = field(init=False)
    _wake_writer: int = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the pipe that a signal handler can wake us through."""
        self._workers = [_Worker(name) for name in self.names]
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask for the end; safe in a signal handler and from another thread."""
        self._stopping = True
        self._wake()

    def reload(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ask for the settings to be read again and for all workers to begin anew; safe like `stop`."""
        self._reload_is_wanted = True
        self._reload_at = time.monotonic()
        self._wake()

    def note_change(self) -> None:
        """Ask for the settings to be read again when the file has been left alone for a moment."""
        self._reload_at = time.monotonic() + SETTLE_SECONDS
        self._wake()

    def run(self) -> None:
        """Supervise until `stop`, then drain."""
        observer = None if self.config_path is None else watch_file(self.config_path, self.note_change)
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._manager.tell_stopping()
            if observer is not None:
                observer.stop()
                observer.join()
            self._drain()
            self._manager.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)

    def _turn(self) -> None:
        self._reload_if_due()
        self._keep_database()
        self._start_due()
        self._tell_how_it_is()
        self._wait()
        self._note_ends()

    def _wake(self) -> None:
        with suppress(OSError):  # the pipe is full, or closed: it wakes, or nobody waits
            os.write(self._wake_writer, b".")

    def _reload_if_due(self) -> None:
        if self._reload_at is None or self._reload_at > time.monotonic() or self.config_path is None:
            return
        is_wanted, self._reload_at, self._reload_is_wanted = self._reload_is_wanted, None, False
        fresh = read_again(self.config_path, self.settings)
        if fresh == self.settings and not is_wanted:
            return
        log.info("the settings were read again; every worker begins anew")
        self._manager.tell_reloading()
        self._is_ready = False
        self.settings = fresh
        self._database_was_started, self._database_due_at = False, 0.0
        for worker in self._workers:
            worker.ask_to_end()

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.process is None and worker.start_at <= time.monotonic():
                worker.start(self.settings)

    def _tell_how_it_is(self) -> None:
        """Tell systemd when all workers run, and give it a sign of life."""
        running = [worker for worker in self._workers if worker.process is not None]
        if not self._is_ready and len(running) == len(self._workers):
            self._is_ready = all(worker.must_end_by is None for worker in running)
            if self._is_ready:
                self._manager.tell_ready(f"working: {', '.join(worker.name for worker in running)}")
        self._manager.tell_alive()

    def _wait(self) -> None:
        sentinels = [worker.process.sentinel for worker in self._workers if worker.process is not None]
        moments = [worker.start_at for worker in self._workers if worker.process is None]
        moments += [] if self._reload_at is None or self.config_path is None else [self._reload_at]
        seconds = [moment - time.monotonic() for moment in moments]
        wait([*sentinels, self._wake_reader], timeout=max(0.0, min([*seconds, self._longest_wait_seconds()])))
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _longest_wait_seconds(self) -> float:
        watchdog_seconds = self._manager.watchdog_seconds
        return DATABASE_CHECK_SECONDS if watchdog_seconds is None else min(2.0, watchdog_seconds / 4)

    def _note_ends(self) -> None:
        for worker in self._workers:
            worker.kill_if_overdue()
            if not self._stopping and worker.process is not None and not worker.process.is_alive():
                worker.note_end()

    def _keep_database(self) -> None:
        """Start the embedded PostgreSQL at first, and again where it has crashed; the workers wait for it."""
        if not self.settings.embedded or self._database_due_at > time.monotonic():
            return
        if self._database_was_started:
            if not embedded_cluster(self.settings).has_crashed():
                return
            log.warning("the embedded PostgreSQL has crashed; starting it again")
        try:
            ensure_running(self.settings)
            self._database_was_started = True
        except EXPECTED_FAILURES as error:
            self._database_due_at = time.monotonic() + DATABASE_RETRY_SECONDS
            log.error("the embedded PostgreSQL does not start and is tried again: %s", in_one_line(error))

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
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor's, if it comes to the whole group
    threading.Thread(target=_end_with_supervisor, args=(stop,), name="lifeline", daemon=True).start()
    try:
        use_dialects(settings.dialects_directory)
        run: Run = importlib.import_module(WORKERS[name]).run
        run(settings, stop)
    except EXPECTED_FAILURES as error:
        log.error("%s failed: %s", name, in_one_line(error))
        raise SystemExit(1) from None
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
