"""The journal, read while others write it: nothing twice, nothing lost, nothing waited for in vain."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.journal import ACCOUNTING, Damaged, Record, encode
from sync_daemon.meter import reading
from sync_daemon.meter.reading import Chunk, JournalReader


def line(user: str) -> bytes:
    return encode(ACCOUNTING, 1764000000123456, "192.0.2.1", [["User-Name", user]])


def users(chunks: list[Chunk]) -> list[str]:
    return [r.body[0][1] for chunk in chunks for r in chunk.records if isinstance(r, Record)]


def damage(chunks: list[Chunk]) -> list[Damaged]:
    return [record for chunk in chunks for record in chunk.records if isinstance(record, Damaged)]


class Writer:
    """A FreeRADIUS process and its segment."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, octets: bytes) -> None:
        os.write(self._descriptor, octets)

    def die(self) -> None:
        """Let go of the lock, as the kernel does."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    living = Writer(tmp_path / "1.journal")
    yield living
    living.die()


def follow(reader: JournalReader, positions: dict[str, int]) -> list[Chunk]:
    """Read as the meter does: apply, move the position, until nothing is new."""
    everything: list[Chunk] = []
    while chunks := reader.read(positions):
        for chunk in chunks:
            assert chunk.start == positions.get(chunk.segment, 0)
            positions[chunk.segment] = chunk.end
        everything += chunks
    return everything


def test_a_line_under_way_is_waited_for_while_its_writer_lives(tmp_path: Path, writer: Writer) -> None:
    reader, positions, whole = JournalReader(tmp_path), dict[str, int](), line("anna")
    writer.write(line("before") + whole[:20])
    assert users(follow(reader, positions)) == ["before"]
    assert reader.read(positions) == []
    writer.write(whole[20:])
    assert users(follow(reader, positions)) == ["anna"]


def test_a_line_whose_writer_was_killed_is_told_as_torn_once(tmp_path: Path, writer: Writer) -> None:
    reader, positions = JournalReader(tmp_path), dict[str, int]()
    writer.write(line("before") + line("anna")[:20])
    assert users(follow(reader, positions)) == ["before"]
    writer.die()
    (torn,) = damage(follow(reader, positions))
    assert torn.reason.startswith("torn")
    assert (torn.offset, torn.line) == (len(line("before")), line("anna")[:20])
    assert follow(reader, positions) == []


def test_segments_are_read_oldest_first(tmp_path: Path) -> None:
    for name in ("3", "1", "2"):
        (tmp_path / f"{name}.journal").write_bytes(line(name))
    (tmp_path / "0.journal.new").write_bytes(line("not a segment yet"))
    assert users(JournalReader(tmp_path).read({})) == ["1", "2", "3"]


@pytest.mark.parametrize("chunk_octets", [1, 50, 90, 200, 100_000])
def test_whatever_fits_into_one_reading_everything_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_octets: int
) -> None:
    """Lines longer than the limit are damage by definition; the others are not held up by them."""
    monkeypatch.setattr(reading, "CHUNK_OCTETS", chunk_octets)
    names = ["a", "bb", "c" * 50, "d"]
    (tmp_path / "1.journal").write_bytes(b"".join(map(line, names[:3])))
    (tmp_path / "2.journal").write_bytes(line(names[3]))
    positions: dict[str, int] = {}
    chunks = follow(JournalReader(tmp_path), positions)
    assert positions == {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert users(chunks) == [name for name in names if len(line(name)) <= chunk_octets]


def test_a_room_smaller_than_the_next_line_is_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Writer
) -> None:
    """Given little room left after an older segment, when a line does not fit, then it comes with the next reading."""
    monkeypatch.setattr(reading, "CHUNK_OCTETS", len(line("a")) + 10)
    writer.write(line("a"))
    (tmp_path / "2.journal").write_bytes(line("b"))
    reader = JournalReader(tmp_path)
    positions: dict[str, int] = {}
    assert users(follow(reader, positions)) == ["a", "b"]


def test_a_hole_left_by_a_power_cut_does_not_stop_the_meter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_OCTETS", 1000)
    (tmp_path / "1.journal").write_bytes(line("before") + b"\0" * 5000 + line("behind"))
    chunks = follow(JournalReader(tmp_path), {})
    assert users(chunks) == ["before", "behind"]
    assert sum(len(one.line) for one in damage(chunks)) == 5000


@given(
    st.lists(st.text(max_size=5), max_size=6),
    st.lists(st.integers(1, 80), max_size=12),
    st.integers(0, 400),
)
def test_however_the_writes_fall_every_record_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cuts: list[int], restart_at: int
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    data = b"".join(map(line, names))
    writer = Writer(directory / "1.journal")
    reader, positions, found = JournalReader(directory), dict[str, int](), list[Chunk]()
    start = 0
    for cut in [*cuts, len(data)]:
        writer.write(data[start : start + cut])
        start += cut
        found += follow(reader, positions)
        if start > restart_at:
            reader = JournalReader(directory)
    writer.die()
    found += follow(reader, positions)
    assert users(found) == names
    assert damage(found) == []


def test_only_segments_read_to_the_end_and_long_ago_are_removed(tmp_path: Path, writer: Writer) -> None:
    old, young = tmp_path / "0.journal", tmp_path / "2.journal"
    for path in (old, young):
        path.write_bytes(line(path.name))
    os.utime(old, (0, 0))
    writer.write(line("still open"))
    os.utime(tmp_path / "1.journal", (0, 0))
    reader = JournalReader(tmp_path)
    assert reader.remove_old(60) == []
    follow(reader, {})
    assert reader.remove_old(60) == ["0.journal"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.journal", "2.journal"]
    assert reader.remove_old(60) == []
