"""A file that gets a line of JSON for each event. It is opened for each, so that it can be rotated at any time."""

import fcntl
import os
from contextlib import closing

from sync_daemon.events.configuration import FileTarget
from sync_daemon.events.envelope import Envelope
from sync_daemon.events.outcomes import Delivered, Failed, Outcome


class FileSink:
    """Appends to one file, also together with other daemons of this machine. Whoever wrote half a line ends it."""

    def __init__(self, target: FileTarget) -> None:
        self._path = target.path

    def deliver(self, envelope: Envelope) -> Outcome:
        """Append and flush to the disk. A new file is its owner's alone: events may hold codes."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with closing(os.fdopen(descriptor, "rb+", buffering=0)) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                line = envelope.to_json() + b"\n"
                _write_all(descriptor, line if _ends_whole(descriptor) else b"\n" + line)
                os.fsync(descriptor)
        except OSError as error:
            return Failed(f"the file cannot be written: {error.strerror}")
        return Delivered()


def _ends_whole(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _write_all(descriptor: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view) :]
