"""The accounting journal, written: append-only segments, one record a line (herotill.journal).

A segment belongs to the process that made it, which holds a lock on it for life; the meter knows by the lock that nothing
more will come. A record that cannot be written whole is taken back, so that it spoils no other.
"""

import fcntl
import os
import threading
import time
from pathlib import Path

from rlm_herotill.settings import Fdatasync

SEGMENT_SUFFIX = ".journal"
SEGMENT_OCTETS = 64 * 1024 * 1024
FDATASYNC_INTERVAL_SECONDS = 0.05

Position = tuple[str, int]
"""Segment name and the offset behind a record; later records compare greater."""


class JournalWriter:
    """Appends records. One hook runs at a time, so appending needs no lock; the thread only reads the descriptor."""

    def __init__(self, directory: Path, fdatasync: Fdatasync) -> None:
        self._directory = directory
        self._fdatasync = fdatasync
        self._descriptor = -1
        self._segment = ""
        self._offset = 0
        self._dirty = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def append(self, line: bytes) -> Position:
        """Write the line of one record and return its position. Raises OSError when it is not safely written."""
        if self._descriptor < 0 or self._offset >= SEGMENT_OCTETS:
            self._begin_segment()
        written = os.write(self._descriptor, line)
        if written != len(line):
            self._take_back()
            raise OSError(f"only {written} of {len(line)} octets fitted into {self._segment}")
        self._offset += written
        self._dirty = True
        if self._fdatasync is Fdatasync.ALWAYS:
            os.fdatasync(self._descriptor)
        return self._segment, self._offset

    def _take_back(self) -> None:
        """Remove half a record; where that fails, write nothing behind it."""
        try:
            os.ftruncate(self._descriptor, self._offset)
        except OSError:
            self._end_segment()
            raise

    def _begin_segment(self) -> None:
        self._end_segment()
        self._directory.mkdir(parents=True, exist_ok=True)
        # Named by time, so that segments sort in the order they began, also across restarts.
        name = f"{time.time_ns():020d}-{os.getpid()}{SEGMENT_SUFFIX}"
        unlocked = self._directory / f"{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(unlocked, flags, 0o640)
        try:
            # Locked before the meter can see it: an unlocked segment is one that nobody will write to again.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(self._directory / name)
            _make_durable(self._directory)
        except OSError:
            os.close(
                descriptor
            )  # the next record tries anew; a disk that stays full must not eat our descriptors
            unlocked.unlink(missing_ok=True)
            raise
        self._descriptor, self._segment, self._offset = descriptor, name, 0
        if self._fdatasync is Fdatasync.INTERVAL and self._thread is None:
            self._thread = threading.Thread(
                target=self._flush_regularly, name="herotill-journal", daemon=True
            )
            self._thread.start()

    def _end_segment(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def _flush_regularly(self) -> None:
        while not self._stopping.wait(FDATASYNC_INTERVAL_SECONDS):
            if self._dirty:
                self._dirty = False
                try:
                    os.fdatasync(self._descriptor)
                except OSError:
                    # The segment was rolled meanwhile, which flushed it; a failing disk fails the next write too.
                    self._dirty = True

    def close(self) -> None:
        """Stop the thread, flush and let go of the segment."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._end_segment()


def _make_durable(directory: Path) -> None:
    """Let a new name in the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
