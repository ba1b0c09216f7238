"""The accounting journal, read: which segments hold something new, in which order, and when one is finished.

A segment belongs to the FreeRADIUS process that locked it. When the lock is free nothing more will come, and a last line
without its newline was torn by a kill.
"""

import fcntl
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from herotill.journal import Damaged, Record, decode_lines

SEGMENT_SUFFIX = ".journal"
CHUNK_OCTETS = 512 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one segment from `start` up to `end`, where the next read begins."""

    segment: str
    start: int
    end: int
    records: tuple[Record | Damaged, ...]


class JournalReader:
    """Reads the segments of one directory. Positions are the caller's: they are committed with what was read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._finished: set[str] = set()

    def read(self, positions: Mapping[str, int]) -> list[Chunk]:
        """Return what is new behind `positions`, up to CHUNK_OCTETS, oldest segment first."""
        chunks: list[Chunk] = []
        room = CHUNK_OCTETS
        segments = self._unfinished_segments()
        for name, size in segments:
            if room <= 0:
                break
            if size == positions.get(name, 0) and name == segments[-1][0]:
                continue  # the usual case: nothing new, and its writer is at work
            chunk = self._read_segment(self._directory / name, positions.get(name, 0), room)
            if chunk is not None:
                chunks.append(chunk)
                room -= chunk.end - chunk.start
        return chunks

    def _unfinished_segments(self) -> list[tuple[str, int]]:
        """Return names and sizes, oldest first."""
        with os.scandir(self._directory) as entries:
            return sorted(
                (entry.name, entry.stat().st_size)
                for entry in entries
                if entry.name.endswith(SEGMENT_SUFFIX) and entry.name not in self._finished
            )

    def _read_segment(self, path: Path, start: int, room: int) -> Chunk | None:
        is_complete = _is_released(path)  # asked before reading: what is read then is all there is
        with path.open("rb") as segment:
            segment.seek(start)
            data = segment.read(room)
        whole = data.rfind(b"\n") + 1
        if whole:
            return Chunk(path.name, start, start + whole, tuple(decode_lines(data[:whole], start)))
        if not data:
            if is_complete:
                self._finished.add(path.name)
            return None
        if len(data) >= CHUNK_OCTETS:
            # Waiting for its newline would hold up all that follows for ever.
            reason = "no record is as long as this"
        elif is_complete and len(data) < room:
            reason = "torn: its writer was killed in the middle of it"
        else:
            return None
        return Chunk(path.name, start, start + len(data), (Damaged(start, reason, data),))

    def remove_old(self, keep_seconds: int) -> list[str]:
        """Delete segments that were read to the end long ago; return their names."""
        removed: list[str] = []
        for name in sorted(self._finished):
            path = self._directory / name
            if not path.exists() or time.time() - path.stat().st_mtime > keep_seconds:
                path.unlink(missing_ok=True)
                removed.append(name)
        self._finished.difference_update(removed)
        return removed


def _is_released(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
