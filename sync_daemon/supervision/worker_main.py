"""What runs inside a worker's process: its `run`, and a thread that tells the supervisor of its pulse.

SIGTERM only wakes that thread, which sets `stop`: a signal handler that took a lock could meet itself holding it. When the
supervisor dies the worker finishes what it has in hand, and ends.
"""

import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait

import psycopg2
import sqlalchemy.exc

from herotill.dialect import use_dialects
from herotill.errors import InvalidValue, Refused
from sync_daemon.logs import configure_logging
from sync_daemon.settings import Settings
from sync_daemon.supervision.pulse import BEAT_SECONDS, Pulse
from sync_daemon.supervision.roster import WORKERS
from sync_daemon.trouble import in_one_line

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
EXPECTED_FAILURES = (
    OSError, subprocess.SubprocessError, psycopg2.Error, sqlalchemy.exc.DBAPIError, InvalidValue, Refused,
)  # fmt: skip
"""What the world does to a daemon; everything else is a fault of ours and is logged with its traceback."""

Run = Callable[[Settings, threading.Event], None]


def run_worker(name: str, settings: Settings, beats: Connection) -> None:
    """Run one worker in this process until SIGTERM, or until the supervisor is gone."""
    configure_logging()
    pulse = Pulse()
    lifeline = threading.Thread(
        target=_hold_lifeline, args=(pulse, beats, _wake_on_signals()), name="lifeline", daemon=True
    )
    lifeline.start()
    try:
        use_dialects(settings.dialects_directory)
        run: Run = importlib.import_module(WORKERS[name]).run
        run(settings, pulse)
    except EXPECTED_FAILURES as error:
        log.error("%s failed: %s", name, in_one_line(error))
        raise SystemExit(1) from None
    except Exception:
        log.exception("%s failed", name)
        raise SystemExit(1) from None


def _wake_on_signals() -> int:
    """Return a pipe that SIGTERM and SIGINT write to, even while the main thread waits in somebody's C."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor's, if it comes to the whole group
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _hold_lifeline(pulse: Pulse, beats: Connection, signals: int) -> None:
    """Tell of the pulse until a signal comes or the supervisor is gone; then let the worker stop."""
    supervisor = multiprocessing.parent_process()
    others = [signals] if supervisor is None else [signals, supervisor.sentinel]
    while not (heard := wait(others, BEAT_SECONDS)):
        _tell(pulse, beats)
    pulse.set()
    if signals in heard and supervisor is not None:
        while not wait([supervisor.sentinel], BEAT_SECONDS):
            _tell(pulse, beats)
    time.sleep(DRAIN_SECONDS)
    os._exit(1)  # whatever still hangs: nobody is left to kill it


def _tell(pulse: Pulse, beats: Connection) -> None:
    if pulse.has_beaten():
        with suppress(OSError):  # the supervisor is gone, which is noticed otherwise
            beats.send_bytes(b".")
