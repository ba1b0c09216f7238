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
    assert (settings.statement_timeout_ms, settings.snapshot_limit) == (80, 200_000)
    assert (settings.outage_session_seconds, settings.admits_unknown_in_outage) == (600, False)


def test_in_an_outage_a_login_is_answered_within_100_ms_so_a_statement_gets_less() -> None:
    assert settings_from_config(CONFIG).statement_timeout_ms < 100


def test_r34_what_the_operator_chose_for_an_outage_is_read() -> None:
    settings = settings_from_config(CONFIG | {"outage_for_unknown": "open", "outage_session_seconds": "60"})
    assert (settings.outage_session_seconds, settings.admits_unknown_in_outage) == (60, True)


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
        ("outage_for_unknown", "last_known"),
        ("outage_for_unknown", ""),
        ("outage_session_seconds", "0"),
        ("outage_session_seconds", "soon"),
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
