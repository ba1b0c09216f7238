"""How far the meter is behind, by files and positions."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from herotill.journal import encode
from sync_daemon.journal_lag import COUNTED_OCTETS, read_lag

RECEIVED = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def line(seconds: int) -> bytes:
    received = RECEIVED + timedelta(seconds=seconds)
    return encode("login", int(received.timestamp() * 1_000_000), "10.0.0.1", {})


def test_what_is_applied_is_no_lag(tmp_path: Path) -> None:
    (tmp_path / "1.journal").write_bytes(line(0))
    lag = read_lag(tmp_path, {"1.journal": len(line(0))})
    assert (lag.octets, lag.records, lag.seconds(RECEIVED)) == (0, 0, 0.0)
    assert lag.free_octets > 0


def test_the_oldest_record_that_waits_says_how_long_in_octets_records_and_seconds(tmp_path: Path) -> None:
    (tmp_path / "1.journal").write_bytes(line(0) + line(10))
    (tmp_path / "2.journal").write_bytes(line(20))
    lag = read_lag(tmp_path, {"1.journal": len(line(0))})
    assert lag.octets == len(line(10)) + len(line(20))
    assert lag.records == 2
    assert lag.seconds(RECEIVED + timedelta(seconds=70)) == 60.0


def test_a_large_backlog_is_estimated(tmp_path: Path) -> None:
    count = 3 * COUNTED_OCTETS // len(line(0))
    (tmp_path / "1.journal").write_bytes(line(0) * count)
    assert abs(read_lag(tmp_path, {}).records - count) <= count // 100


def test_a_damaged_line_counts_from_when_the_segment_was_written(tmp_path: Path) -> None:
    (tmp_path / "1.journal").write_bytes(b"torn")
    lag = read_lag(tmp_path, {})
    assert lag.octets == 4
    assert lag.seconds(datetime.now(UTC)) < 60


def test_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        read_lag(tmp_path / "nowhere", {})
