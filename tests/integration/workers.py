"""The daemon's workers for a test, as threads: what `herotill serve` runs as processes."""

import threading
from collections.abc import Callable

from sync_daemon import live_sessions, meter, schedule
from sync_daemon.coa import worker as coa
from sync_daemon.reconcile import worker as reconcile
from sync_daemon.settings import Settings

Run = Callable[[Settings, threading.Event], None]
ALL: dict[str, Run] = {
    "meter": meter.run,
    "coa": coa.run,
    "live": live_sessions.run,
    "schedule": schedule.run,
}
EVERY = ALL | {"reconcile": reconcile.run}
STOP_SECONDS = 15.0


class Workers:
    """Some workers, started and stopped together; what one of them raised is raised again by `stop`."""

    def __init__(self, settings: Settings, *names: str) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(name,), name=name) for name in names or ALL]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "a worker did not stop"
        if self._failures:
            raise self._failures[0]

    def _run(self, name: str) -> None:
        try:
            EVERY[name](self._settings, self._stop)
        except BaseException as failure:
            self._failures.append(failure)
            raise
