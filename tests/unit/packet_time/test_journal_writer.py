"""The journal, written: what was answered is in it, and what could not be written spoils nothing (DESIGN.md §4)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from herotill.journal import ACCOUNTING, Damaged, Record, decode_lines, encode
from rlm_herotill import journal
from rlm_herotill.journal import JournalWriter, Position
from rlm_herotill.settings import Fdatasync
from sync_daemon.meter.reading import JournalReader


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    open_writer = JournalWriter(tmp_path / "journal", Fdatasync.NEVER)
    yield open_writer
    open_writer.close()


def append(writer: JournalWriter, user: str) -> Position:
    return writer.append(encode(ACCOUNTING, 1, "192.0.2.1", [("User-Name", user)]))


def written(directory: Path) -> list[Record | Damaged]:
    paths = sorted((directory / "journal").glob("*.journal"))
    return [record for path in paths for record in decode_lines(path.read_bytes(), 0)]


def users(directory: Path) -> list[str]:
    return [record.body[0][1] for record in written(directory) if isinstance(record, Record)]


@pytest.mark.parametrize("fdatasync", list(Fdatasync))
def test_what_is_appended_is_read_and_positions_are_the_offsets_behind_it(
    tmp_path: Path, fdatasync: Fdatasync
) -> None:
    writer = JournalWriter(tmp_path / "journal", fdatasync)
    positions = [append(writer, name) for name in ("anna", "ben")]
    writer.close()
    (path,) = (tmp_path / "journal").glob("*.journal")
    assert positions[-1] == (path.name, path.stat().st_size)
    assert positions[0] < positions[1]
    assert users(tmp_path) == ["anna", "ben"]


def test_the_meter_waits_for_a_segment_as_long_as_its_writer_lives(
    tmp_path: Path, writer: JournalWriter
) -> None:
    reader, positions = JournalReader(tmp_path / "journal"), dict[str, int]()
    for name in ("anna", "ben"):
        append(writer, name)
        (chunk,) = reader.read(positions)
        positions[chunk.segment] = chunk.end
        assert reader.read(positions) == []
    assert reader.remove_old(0) == []
    writer.close()
    successor = JournalWriter(tmp_path / "journal", Fdatasync.NEVER)
    try:
        append(successor, "carl")
        (chunk,) = reader.read(positions)
        positions[chunk.segment] = chunk.end
        assert reader.read(positions) == []
        assert len(reader.remove_old(-1)) == 1
    finally:
        successor.close()


def test_a_full_segment_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: JournalWriter
) -> None:
    monkeypatch.setattr(journal, "SEGMENT_OCTETS", 1)
    positions = [append(writer, name) for name in ("anna", "ben", "carl")]
    assert positions == sorted(positions)
    assert len({segment for segment, _ in positions}) == 3
    assert users(tmp_path) == ["anna", "ben", "carl"]


def fail(*_arguments: object) -> None:
    raise OSError(5, "Input/output error")


def half(descriptor: int, line: bytes) -> int:
    return os.writev(descriptor, [line[: len(line) // 2]])


def test_half_a_record_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: JournalWriter
) -> None:
    append(writer, "anna")
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", half)
        with pytest.raises(OSError, match="only"):
            append(writer, "lost")
    assert append(writer, "ben")[0]
    assert users(tmp_path) == ["anna", "ben"]
    assert not any(isinstance(record, Damaged) for record in written(tmp_path))


def test_where_half_a_record_stays_nothing_is_written_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: JournalWriter
) -> None:
    before = append(writer, "anna")
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", half)
        disk.setattr(os, "ftruncate", fail)
        with pytest.raises(OSError, match="error"):
            append(writer, "lost")
    assert append(writer, "ben")[0] > before[0]
    assert users(tmp_path) == ["anna", "ben"]


def test_a_record_that_cannot_be_forced_to_the_disk_is_refused_and_later_positions_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path / "journal", Fdatasync.ALWAYS)
    append(writer, "anna")
    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="error"):
            append(writer, "again")
    segment, offset = append(writer, "again")
    writer.close()
    assert offset == (tmp_path / "journal" / segment).stat().st_size


def test_a_directory_that_cannot_be_made_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file is in the way")
    writer = JournalWriter(tmp_path / "journal", Fdatasync.NEVER)
    with pytest.raises(OSError, match="journal"):
        append(writer, "anna")
    (tmp_path / "journal").unlink()
    append(writer, "anna")
    writer.close()
    assert users(tmp_path) == ["anna"]
