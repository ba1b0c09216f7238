"""How far the meter is behind this node's journal: by the files, and the positions the database has."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from herotill.journal import Record, decode_line
from sync_daemon.meter.reading import SEGMENT_SUFFIX

LONGEST_LINE_OCTETS = 64 * 1024
COUNTED_OCTETS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class JournalLag:
    """What is journalled and not applied yet; `oldest_at` is when the first of it was received."""

    octets: int
    records: int
    oldest_at: datetime | None
    free_octets: int

    def seconds(self, now: datetime) -> float:
        """Return how long the oldest of it has waited."""
        return 0.0 if self.oldest_at is None else max(0.0, (now - self.oldest_at).total_seconds())


def read_lag(directory: Path, positions: Mapping[str, int]) -> JournalLag:
    """Compare the segments with the positions. Raises OSError where the directory cannot be read.

    Of each segment at most COUNTED_OCTETS are read, and only what is not applied; beyond, records are estimated.
    """
    octets, records = 0, 0
    oldest: datetime | None = None
    for path in sorted(directory.glob(f"*{SEGMENT_SUFFIX}")):
        waiting = path.stat().st_size - positions.get(path.name, 0)
        if waiting > 0:
            octets += waiting
            head = _read(path, positions.get(path.name, 0))
            records += _estimate(head, waiting)
            oldest = oldest or _received_at(path, head)
    return JournalLag(octets, records, oldest, shutil.disk_usage(directory).free)


def _read(path: Path, start: int) -> bytes:
    with path.open("rb") as segment:
        segment.seek(start)
        return segment.read(COUNTED_OCTETS)


def _estimate(head: bytes, waiting_octets: int) -> int:
    lines = head.count(b"\n")
    return lines if len(head) >= waiting_octets else lines * waiting_octets // max(1, len(head))


def _received_at(path: Path, head: bytes) -> datetime:
    record = decode_line(head[:LONGEST_LINE_OCTETS].split(b"\n", 1)[0], 0)
    if isinstance(record, Record):
        return datetime.fromtimestamp(record.received_at_us / 1e6, UTC)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
