"""The import folder: a CSV file that is put into it is imported when it is complete, then moved away with its report.

`import_directory` (setting) holds a folder for each group: what is put into `hostel-a/` joins the group hostel-a; what lies
in the folder itself joins `import_group`. Afterwards the file is in `done/` or `rejected/` beside a report in words and, if
rows are not in the books, a CSV of these to correct and put in again. A file is imported whole or not at all, and the same
file again changes nothing (billing/imports.py), so that being killed anywhere does no harm.
"""

import fcntl
import io
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from errno import EAGAIN
from pathlib import Path

import psycopg2
import sqlalchemy
import sqlalchemy.exc
from sqlalchemy.orm import Session
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from billing import imports
from billing.import_report import ImportReport
from billing.imports import ImportOrder
from herotill.errors import InvalidValue, Refused
from sync_daemon.database import billing_engine
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble

log = logging.getLogger(__name__)

DONE, REJECTED = "done", "rejected"
LOOK_SECONDS = 5.0
QUIET_SECONDS = 2.0
"""How long nothing may have been added to a file, and nobody may have it open for writing."""
RETRY_SECONDS = 5.0
STEP_SECONDS = 0.2
SHOWN_ROWS = 20
LONGEST_THOUGHT_MILLISECONDS = 600_000
"""A large file is thought about for long, in one transaction, and nobody waits for what that locks."""


@dataclass(frozen=True, slots=True)
class _Size:
    octets: int
    changed_at_ns: int
    seen_at: float  # monotonic: since when it has been so


@dataclass
class ImportFolder:
    """The folder, and what is known of the files that are not complete yet."""

    settings: Settings
    directory: Path
    engine: sqlalchemy.Engine
    _sizes: dict[Path, _Size] = field(default_factory=dict)
    _unread: set[Path] = field(default_factory=set)

    def look(self, now: datetime) -> bool:
        """Import what is complete; True while files are there that are not. One daemon at a time looks."""
        with _alone(self.directory) as is_alone:
            if not is_alone:
                return False
            waiting = list(self._files())
            self._sizes = {path: size for path, size in self._sizes.items() if path in waiting}
            self._unread.intersection_update(waiting)
            for path in waiting:
                if self._is_complete(path):
                    self._import(path, now)
        return bool(self._sizes)

    def _files(self) -> Iterator[Path]:
        """Name the files to import, in one order. What begins with a dot is still being written by somebody careful."""
        for path in sorted([*self.directory.glob("*"), *self.directory.glob("*/*")]):
            parent = path.parent.name if path.parent != self.directory else ""
            is_ours = (
                parent not in (DONE, REJECTED)
                and not parent.startswith(".")
                and not path.name.startswith(".")
            )
            if is_ours and path.suffix.lower() == ".csv" and path.is_file() and not path.is_symlink():
                yield path

    def _is_complete(self, path: Path) -> bool:
        try:
            status = path.stat()
            has_writer = _has_writer(path)
        except OSError as error:
            if path not in self._unread:
                log.warning("%s cannot be read yet: %s", path, error.strerror)
                self._unread.add(path)
            return False
        self._unread.discard(path)
        known = self._sizes.get(path)
        moment = time.monotonic()
        if known is None or (known.octets, known.changed_at_ns) != (status.st_size, status.st_mtime_ns):
            known = self._sizes[path] = _Size(status.st_size, status.st_mtime_ns, moment)
        return not has_writer and moment - known.seen_at >= QUIET_SECONDS

    def _import(self, path: Path, now: datetime) -> None:
        missing = io.StringIO(newline="")
        try:
            done = self._enter(path, now, missing)
            is_done, words = done.applied, _words(done)
        except (InvalidValue, Refused, UnicodeError) as error:
            is_done, words = False, f"nothing was imported: {' '.join(str(error).split())}\n"
        except FileNotFoundError:
            return  # somebody took it back
        log.info("import of %s: %s", path, words.partition("\n")[0])
        rows = missing.getvalue() if missing.getvalue().count("\n") > 1 else ""
        _put_away(path, self.directory / (DONE if is_done else REJECTED), now, {".txt": words, ".csv": rows})
        self._sizes.pop(path, None)

    def _enter(self, path: Path, now: datetime, missing: io.StringIO) -> ImportReport:
        group = path.parent.name if path.parent != self.directory else self.settings.import_group
        if group is None:
            raise InvalidValue(
                "import_group", None, "it is set, or the file lies in a folder named like its group"
            )
        order = ImportOrder(group, region=self.settings.phone_region, shown_rows=SHOWN_ROWS)
        with Session(self.engine) as session, session.begin():
            return imports.import_file(session, path, order=order, now=now, report=missing)


def run(settings: Settings, stop: threading.Event) -> None:
    """Watch the import folder until `stop`; without one there is nothing to do."""
    if settings.import_directory is None:
        stop.wait()
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(
            signal.SIGIO, signal.SIG_IGN
        )  # somebody opened a file just while we asked who has it open
    engine = billing_engine(
        settings,
        "herotill watch",
        connections=1,
        idle_in_transaction_milliseconds=LONGEST_THOUGHT_MILLISECONDS,
    )
    folder = ImportFolder(settings, settings.import_directory, engine)
    trouble = Trouble(log, "the import folder waits and is tried again: %s")
    try:
        while not stop.is_set():
            try:
                _watch(folder, stop)
            except (OSError, psycopg2.Error, sqlalchemy.exc.DBAPIError) as error:
                trouble.tell(error)
                stop.wait(RETRY_SECONDS)
    finally:
        engine.dispose()


def _watch(folder: ImportFolder, stop: threading.Event) -> None:
    for name in ("", DONE, REJECTED):
        (folder.directory / name).mkdir(parents=True, exist_ok=True)
    news = threading.Event()
    observer = Observer()
    with suppress(OSError):  # no more inotify watches: the periodic look remains
        observer.schedule(_Listener(news), str(folder.directory), recursive=True)
        observer.start()
    try:
        while not stop.is_set():
            news.clear()
            some_are_incomplete = folder.look(datetime.now(UTC))
            _wait(news, stop, QUIET_SECONDS / 2 if some_are_incomplete else LOOK_SECONDS)
    finally:
        if observer.is_alive():
            observer.stop()
            observer.join()


class _Listener(FileSystemEventHandler):
    def __init__(self, news: threading.Event) -> None:
        self._news = news

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the watch for whatever brings or completes a file; our own reading does not."""
        if event.event_type in ("created", "moved", "closed"):
            self._news.set()


def _wait(news: threading.Event, stop: threading.Event, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < deadline:
        if news.wait(STEP_SECONDS):
            return


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Hold the folder for this process; it ends with the process, also with one that is killed."""
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _has_writer(path: Path) -> bool:
    """Whether somebody has the file open for writing. False where the file system cannot tell (NFS): then only time does."""
    with path.open("rb") as file:
        try:
            # A read lease is refused while there are writers (fcntl(2)).
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return error.errno == EAGAIN
    return False


def _words(done: ImportReport) -> str:
    verb = "imported" if done.applied else "nothing was imported: of"
    count = done.new if done.applied else done.total
    kinds = f"{done.new} new, {done.unchanged} unchanged, {done.refused} refused, {done.warnings} look-alikes"
    lines = [f"{verb} {count} rows; {kinds}"]
    lines += [
        f"line {row.line}: {row.outcome}: {row.column}: {row.reason}" for row in done.rows if row.reason
    ]
    return "\n".join(lines) + "\n"


def _put_away(path: Path, target: Path, now: datetime, reports: dict[str, str]) -> None:
    """Move the file, and lay its reports beside it; the reports first, so that a file that is there has them."""
    place = _free_name(target, f"{now:%Y%m%dT%H%M%SZ}-{path.stem}")
    for suffix, text in reports.items():
        if text:
            report = target / f"{place}.report{suffix}"
            report.touch(mode=0o600)  # it holds what people gave in confidence
            report.write_text(text, encoding="utf-8-sig" if suffix == ".csv" else "utf-8", newline="")
    path.rename(target / f"{place}{path.suffix}")


def _free_name(target: Path, wanted: str) -> str:
    name, number = wanted, 1
    while any(target.glob(f"{name}.*")):
        number += 1
        name = f"{wanted}-{number}"
    return name
