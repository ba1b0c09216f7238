"""Notices that the settings file was changed, and reads it again. A file that is wrong changes nothing and is reported."""

import logging
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from herotill.errors import InvalidValue, Refused
from sync_daemon.settings import Settings, load_settings

log = logging.getLogger(__name__)

_TELLING = {"created", "modified", "moved", "closed"}


class _Listener(FileSystemEventHandler):
    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path, self._changed = path, changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Tell of what was written to the file, or put in its place."""
        touched = {Path(str(path)) for path in (event.src_path, event.dest_path) if path}
        if self._path in touched and event.event_type in _TELLING:
            self._changed()


def watch_file(path: Path, changed: Callable[[], None]) -> BaseObserver | None:
    """Call `changed`, from another thread, whenever the file may have changed; the caller stops what is returned.

    None, and a line in the log, where the system does not tell: then SIGHUP is what is left.
    """
    observer = Observer()
    real = path.resolve()
    try:
        observer.schedule(_Listener(real, changed), str(real.parent))
        observer.start()
    except OSError as error:
        log.warning("changes of %s are not noticed (%s); send SIGHUP after a change", path, error)
        return None
    return observer


def read_again(path: Path, state_directory: Path) -> Settings | None:
    """Return the settings as the file says now; None where it cannot be read or is wrong, which is reported."""
    try:
        return load_settings(path, state_directory)
    except (InvalidValue, Refused, OSError, UnicodeDecodeError) as error:
        log.error(
            "the settings in %s are not used, the old ones stay in force: %s",
            path,
            " ".join(str(error).split()),
        )
        return None
