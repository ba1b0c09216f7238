"""The settings file, watched and read again: a file that is wrong changes nothing."""

import logging
import threading
from pathlib import Path

import pytest

from sync_daemon.reloading import read_again, watch_file
from sync_daemon.settings import Settings, load_settings

GOOD = "class_secret: 00112233445566778899aabbccddeeff\n"
DEADLINE_SECONDS = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "herotill.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def present(path: Path) -> Settings:
    return load_settings(path, path.parent)


@pytest.mark.parametrize(
    "content", [b"a: [", b"no_such_key: 1\n", b"\xff\xfe", b"", b"time_zone: Mars/Olympus\n"]
)
def test_a_wrong_file_leaves_the_old_settings_in_force_and_says_why_in_one_line(
    path: Path, present: Settings, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        assert read_again(path, present.state_directory) is None
    assert len(caplog.messages) == 1
    assert "the old ones stay in force" in caplog.text
    assert "\n" not in caplog.messages[0]


def test_a_file_that_is_gone_leaves_the_old_settings_in_force(path: Path, present: Settings) -> None:
    path.unlink()
    assert read_again(path, present.state_directory) is None


@pytest.mark.parametrize("way", ["written", "replaced"])
def test_a_change_is_noticed_however_it_is_made(path: Path, present: Settings, way: str) -> None:
    noticed = threading.Event()
    observer = watch_file(path, noticed.set)
    assert observer is not None
    try:
        target = path if way == "written" else path.with_suffix(".new")
        target.write_text(GOOD + "time_zone: Africa/Nairobi\n")
        target.replace(path)
        assert noticed.wait(DEADLINE_SECONDS)
    finally:
        observer.stop()
        observer.join()
    fresh = read_again(path, present.state_directory)
    assert fresh is not None
    assert fresh.time_zone == "Africa/Nairobi"
