"""The import folder: complete files are imported once, half-copied ones wait, bad ones are put aside with the reason."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sync_daemon import watch
from sync_daemon.database import transaction
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill

HEAD = "name,phone,user\n"
ROWS = "Ann,+254700000001,ann\nBob,+254700000002,bob\n"
DEADLINE_SECONDS = 15.0


@pytest.fixture
def folder(
    settings: Settings, run_herotill: RunHerotill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A watched import folder with the group hostel-a; the watch must end cleanly."""
    assert run_herotill("group", "add", "hostel-a").exit_code == 0
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.5)
    directory = tmp_path / "import"
    stop = threading.Event()
    watching = replace(settings, import_directory=directory)
    thread = threading.Thread(target=watch.run, args=(watching, stop))
    thread.start()
    until((directory / "rejected").is_dir)
    (directory / "hostel-a").mkdir()
    yield directory
    stop.set()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def files(directory: Path) -> list[str]:
    """Name what was put away, without the time it begins with."""
    return sorted(path.name.partition("-")[2] for path in directory.iterdir())


def customers(settings: Settings) -> int:
    assert settings.billing_url is not None
    with transaction(settings.billing_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing.customer")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def test_r4_a_file_is_imported_into_the_group_of_its_folder_and_the_same_again_changes_nothing(
    folder: Path, settings: Settings
) -> None:
    for times in (1, 2):
        (folder / "hostel-a" / "new.csv").write_text(HEAD + ROWS)
        until(lambda times=times: len(files(folder / "done")) == 2 * times)  # type: ignore[misc]
        assert customers(settings) == 2
    reports = sorted(path.read_text() for path in (folder / "done").glob("*.txt"))
    assert [text.partition(";")[0] for text in reports] == ["imported 0 rows", "imported 2 rows"]
    assert list((folder / "hostel-a").iterdir()) == []


def test_a_half_copied_file_waits_for_the_rest(folder: Path, settings: Settings) -> None:
    with (folder / "hostel-a" / "slow.csv").open("w") as copying:
        copying.write(HEAD + ROWS[:20])
        copying.flush()
        waited_until = time.monotonic() + 4 * watch.QUIET_SECONDS
        until(lambda: time.monotonic() > waited_until)
        assert files(folder / "done") == files(folder / "rejected") == []
        copying.write(ROWS[20:])
    until(lambda: files(folder / "done") == ["slow.csv", "slow.report.txt"])
    assert customers(settings) == 2


def test_a_bad_row_puts_the_file_aside_with_a_report_that_can_be_corrected(
    folder: Path, settings: Settings
) -> None:
    (folder / "hostel-a" / "bad.csv").write_text(HEAD + ROWS + "Eve,not a phone,eve\n")
    until(lambda: "bad.csv" in files(folder / "rejected"))
    assert files(folder / "rejected") == ["bad.csv", "bad.report.csv", "bad.report.txt"]
    words = next((folder / "rejected").glob("*.txt")).read_text()
    assert "line 4: refused: phone" in words
    assert customers(settings) == 0


@pytest.mark.parametrize(("place", "reason"), [("nowhere/x.csv", "nowhere"), ("x.csv", "import_group")])
def test_a_file_without_a_group_is_put_aside_with_the_reason(folder: Path, place: str, reason: str) -> None:
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text(HEAD + ROWS)
    until(lambda: "x.csv" in files(folder / "rejected"))
    assert reason in next((folder / "rejected").glob("*.txt")).read_text()


def test_while_the_database_is_away_a_file_waits(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop, directory = threading.Event(), tmp_path / "import"
    (directory / "hostel-a").mkdir(parents=True)
    (directory / "hostel-a" / "x.csv").write_text(HEAD + ROWS)
    away = replace(settings, import_directory=directory, billing_url="postgresql://nobody@127.0.0.1:1/none")
    thread = threading.Thread(target=watch.run, args=(away, stop))
    thread.start()
    until(lambda: "the import folder waits" in caplog.text)
    stop.set()
    thread.join(DEADLINE_SECONDS)
    assert (directory / "hostel-a" / "x.csv").exists()
    assert files(directory / "done") == files(directory / "rejected") == []


def test_what_is_no_csv_is_left_alone_and_what_says_it_is_and_is_not_is_put_aside(
    folder: Path, settings: Settings
) -> None:
    (folder / "hostel-a" / "readme.txt").write_text("not for you")
    (folder / "hostel-a" / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))
    (folder / "hostel-a" / "empty.csv").touch()
    until(lambda: {"picture.csv", "empty.csv"} <= set(files(folder / "rejected")))
    reports = [path.read_text() for path in (folder / "rejected").glob("*.txt")]
    assert len(reports) == 2
    assert all(text.startswith("nothing was imported") for text in reports), reports
    assert [path.name for path in (folder / "hostel-a").iterdir()] == ["readme.txt"]
    assert customers(settings) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_waits_and_holds_no_other_up(
    folder: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    closed = folder / "hostel-a" / "closed.csv"
    closed.touch(mode=0o000)
    (folder / "hostel-a" / "open.csv").write_text(HEAD + ROWS)
    until(lambda: "open.csv" in files(folder / "done"))
    until(lambda: "closed.csv cannot be read yet" in caplog.text)
    assert caplog.text.count("closed.csv cannot be read yet") == 1
    closed.chmod(0o600)
    closed.write_text(HEAD)
    until(lambda: not closed.exists())


def test_a_copy_that_was_cut_off_in_a_row_changes_nothing(folder: Path, settings: Settings) -> None:
    whole = HEAD + ROWS
    (folder / "hostel-a" / "cut.csv").write_text(whole[: whole.index("Bob") + 8])
    until(lambda: "cut.csv" in files(folder / "rejected"))
    assert customers(settings) == 0
