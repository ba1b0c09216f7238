"""The module's configuration: FreeRADIUS does not start on a wrong one, and says which item it is."""

from pathlib import Path

import pytest

from herotill.errors import InvalidValue
from rlm_herotill.settings import Fdatasync, settings_from_config

CONFIG = {
    "dsn": "dbname=herotill",
    "journal_directory": "/var/lib/herotill/journal",
    "node": "node-1",
    "class_secret": "ab" * 32,
}


def test_four_items_are_enough() -> None:
    settings = settings_from_config(CONFIG)
    assert settings.journal_directory == Path("/var/lib/herotill/journal")
    assert settings.class_secret == bytes([0xAB]) * 32
    assert settings.fdatasync is Fdatasync.INTERVAL
    assert (settings.statement_timeout_ms, settings.snapshot_limit) == (250, 20_000)


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("dsn", ""),
        ("node", None),
        ("journal_directory", {}),
        ("class_secret", "ab" * 15),
        ("class_secret", "xy" * 32),
        ("class_secret", None),
        ("fdatasync", "sometimes"),
        ("statement_timeout_ms", "9"),
        ("statement_timeout_ms", "1e3"),
        ("statement_timeout_ms", "²"),
        ("snapshot_limit", "-1"),
        ("snapshot_limit", ""),
    ],
)
def test_a_wrong_item_is_named_and_a_secret_not_shown(item: str, value: object) -> None:
    with pytest.raises(InvalidValue) as refusal:
        settings_from_config(CONFIG | {item: value})
    assert refusal.value.field == item
    assert "ab" * 15 not in str(refusal.value)


@pytest.mark.parametrize(
    ("version", "exits"),
    [
        ("3.2.1", True),
        ("3.2.6", True),
        ("3.2.1+dfsg", True),
        ("3.2.7", False),
        ("3.2.10", False),
        ("4.0.0", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_only_servers_that_abort_at_their_stop_are_left_early(version: str, exits: bool) -> None:
    assert settings_from_config(CONFIG | {"freeradius_version": version}).exit_in_detach == exits
