import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from herotill.errors import InvalidValue, Refused
from sync_daemon.settings import (
    FILE_NAME,
    load_settings,
    new_class_secret,
    render_settings,
    settings_from_mapping,
    write_private,
)

STATE = Path("/var/lib/herotill")
SECRET = "ab" * 32


def test_only_the_secret_is_needed() -> None:
    settings = settings_from_mapping({"class_secret": SECRET}, STATE)
    assert settings.embedded
    assert settings.journal_directory == STATE / "journal"
    assert settings.journal_fdatasync == "interval"
    assert settings.node
    assert settings.time_zone == "UTC"


def test_a_null_means_the_default() -> None:
    settings = settings_from_mapping({"class_secret": SECRET, "billing_url": None, "node": None}, STATE)
    assert settings.embedded
    assert settings.node


@pytest.mark.parametrize(
    "wrong",
    [
        {"biling_url": "postgresql://x/y"},
        {"billing_url": "mysql://x/y"},
        {"billing_url": 5},
        {"radius_url": "postgresql://x/y"},
        {"class_secret": "short"},
        {"class_secret": "z" * 64},
        {"class_secret": None},
        {"journal_directory": "relative/path"},
        {"journal_fdatasync": "sometimes"},
        {"journal_fdatasync": ["always"]},
        {"journal_retention_seconds": "7 days"},
        {"journal_retention_seconds": True},
        {"client_lifetime_seconds": 0},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
        {"currency": "shillings"},
        {"coa_source_address": "localhost"},
        {"node": "a\nb"},
        {5: 5},
    ],
)
def test_a_wrong_setting_is_named(wrong: Mapping[str, object]) -> None:
    with pytest.raises(InvalidValue) as caught:
        settings_from_mapping({"class_secret": SECRET} | dict(wrong), STATE)
    assert caught.value.field in {str(key) for key in wrong}


def test_secrets_are_not_repeated_in_errors() -> None:
    for key, value in (("class_secret", "hunter2"), ("billing_url", "postgres:u:hunter2@h/d")):
        with pytest.raises(InvalidValue) as caught:
            settings_from_mapping({"class_secret": SECRET, key: value}, STATE)
        assert "hunter2" not in str(caught.value)


def test_what_is_written_can_be_read_and_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    write_private(path, render_settings({"class_secret": new_class_secret(), "currency": "KES"}))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_settings(path, tmp_path).currency == "KES"


@pytest.mark.parametrize(
    "text", ["a: b: c", "[1, 2]", "just words", "\tx: 1", "x: !!python/object:os.system {}"]
)
def test_a_file_that_is_not_settings_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(text)
    with pytest.raises(InvalidValue):
        load_settings(path, tmp_path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="herotill init"):
        load_settings(tmp_path / FILE_NAME, tmp_path)
