"""Looks after all workers: starts them again when they die or hang, reads the settings again, ends all of them.

A worker that ends is started again, after a pause that doubles while it keeps failing; one that gives no sign of life is
killed first. SIGTERM lets all of them finish what they have in hand, for at most DRAIN_SECONDS. SIGHUP, and a change of the
settings file, end each worker in the same way and start it with the new settings; a file that is wrong changes nothing.
Whatever else goes wrong (a database that does not answer, a full disk) is one line in the log, and is tried again.
"""

import logging
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

from sync_daemon.database import embedded_cluster, ensure_running
from sync_daemon.notify import ServiceManager
from sync_daemon.reloading import read_again, watch_file
from sync_daemon.settings import Settings
from sync_daemon.supervision.worker_main import DRAIN_SECONDS, EXPECTED_FAILURES
from sync_daemon.supervision.worker_process import WorkerProcess
from sync_daemon.trouble import in_one_line

log = logging.getLogger(__name__)

DATABASE_CHECK_SECONDS = 2.0
DATABASE_RETRY_SECONDS = 15.0
SETTLE_SECONDS = 0.3
"""How long the settings file must be left alone before it is read: an editor writes it in several steps."""
AWAY_SECONDS = 10.0
"""If a turn took so long, we were stopped or busy ourselves, and what the workers did meanwhile is not known."""


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
    _said: str = ""
    _turned_at: float = field(default_factory=time.monotonic)
    _manager: ServiceManager = field(default_factory=ServiceManager)
    _workers: list[WorkerProcess] = field(init=False)
    _wake_reader: int = field(init=False)
    _wake_writer: int = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the pipe that a signal handler can wake us through."""
        self._workers = [WorkerProcess(name) for name in self.names]
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
        self._hear_workers()
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
        fresh = read_again(self.config_path, self.settings.state_directory)
        if fresh is None or (fresh == self.settings and not is_wanted):
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

    def _hear_workers(self) -> None:
        """Kill what hangs, unless it was us who were away (a paused container, an embedded database that starts)."""
        was_away = time.monotonic() - self._turned_at > AWAY_SECONDS
        self._turned_at = time.monotonic()
        for worker in self._workers:
            worker.listen()
            if was_away:
                worker.forgive_silence()
            worker.kill_if_overdue()

    def _tell_how_it_is(self) -> None:
        """Tell systemd when all workers are at work, and give it a sign of life unless one cannot even be killed."""
        said = _how_they_are(self._workers)
        if not self._is_ready and all(worker.has_begun for worker in self._workers):
            self._is_ready = True
            self._manager.tell_ready(said)
        elif self._is_ready and said != self._said:
            self._manager.tell_status(said)
        self._said = said
        if not any(worker.is_stuck for worker in self._workers):
            self._manager.tell_alive()

    def _wait(self) -> None:
        sentinels = [worker.process.sentinel for worker in self._workers if worker.process is not None]
        moments = [worker.start_at for worker in self._workers if worker.process is None]
        moments += [] if self._reload_at is None or self.config_path is None else [self._reload_at]
        seconds = [moment - time.monotonic() for moment in moments]
        # While systemd waits to hear that we are ready, every first sign of life is news.
        beats = (
            [] if self._is_ready else [worker.beats for worker in self._workers if worker.beats is not None]
        )
        wait(
            [*sentinels, *beats, self._wake_reader],
            timeout=max(0.0, min([*seconds, self._longest_wait_seconds()])),
        )
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _longest_wait_seconds(self) -> float:
        watchdog_seconds = self._manager.watchdog_seconds
        return DATABASE_CHECK_SECONDS if watchdog_seconds is None else min(2.0, watchdog_seconds / 4)

    def _note_ends(self) -> None:
        for worker in self._workers:
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


def _how_they_are(workers: Sequence[WorkerProcess]) -> str:
    """Say in one line which workers work and which do not."""
    groups = {
        "working": [worker.name for worker in workers if worker.is_at_work],
        "not working": [worker.name for worker in workers if not worker.is_at_work],
    }
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names)
