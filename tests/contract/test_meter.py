"""The meter on a real database: what one batch holds is applied once, whatever stands between its reports."""

from pathlib import Path
from typing import Any

import pytest

from herotill.journal import ACCOUNTING, encode
from rlm_herotill.journal import JournalWriter
from rlm_herotill.settings import Fdatasync
from sync_daemon import database
from sync_daemon.meter.worker import Meter
from sync_daemon.settings import Settings

NAS = "192.0.2.1"
BEGUN_US = 1_700_000_000_000_000


def packet(session: str, status: str, octets: int = 0, seconds: int = 0) -> list[list[str]]:
    pairs = {
        "User-Name": "anna",
        "Acct-Session-Id": session,
        "Acct-Status-Type": status,
        "Acct-Session-Time": str(seconds),
        "Acct-Input-Octets": str(octets),
    }
    return [[name, value] for name, value in pairs.items()]


def meter_journal(settings: Settings, *records: tuple[int, list[list[str]]]) -> None:
    """Journal these packets, received so many seconds after the beginning, and meter them in one batch."""
    journal = JournalWriter(settings.journal_directory, Fdatasync.NEVER)
    for after_seconds, pairs in records:
        journal.append(encode(ACCOUNTING, BEGUN_US + after_seconds * 1_000_000, NAS, pairs))
    journal.close()
    connection = database.connect(database.radius_url(settings), "test")
    try:
        meter = Meter(connection, settings)
        assert meter.apply_new() == len(records)
        assert meter.apply_new() == 0
    finally:
        connection.close()


def ask(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with (
        database.transaction(database.radius_url(settings), "test") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def test_a_restart_in_the_middle_of_a_batch_counts_nothing_twice_and_stays_closed(settings: Settings) -> None:
    restart = [["Acct-Status-Type", "Accounting-On"], ["Acct-Session-Id", "0"]]
    meter_journal(
        settings,
        (10, packet("1", "Interim-Update", 1000, 5)),
        (100, restart),
        (110, packet("2", "Interim-Update", 200, 3)),
    )
    totals = "SELECT sum(input_octets)::int, sum(seconds)::int FROM radius.usage_interval"
    assert ask(settings, totals) == [(1200, 8)]
    sessions = "SELECT acct_session_id, stopped_at IS NULL FROM radius.session ORDER BY acct_session_id"
    assert ask(settings, sessions) == [("1", False), ("2", True)]


@pytest.mark.parametrize("damage", [b"garbage\n", b'00000000 ["acct"]\n', b"\n"])
def test_a_damaged_line_is_quarantined_and_its_neighbours_count(settings: Settings, damage: bytes) -> None:
    journal = JournalWriter(settings.journal_directory, Fdatasync.NEVER)
    journal.append(encode(ACCOUNTING, BEGUN_US, NAS, packet("1", "Interim-Update", 7, 1)))
    journal.close()
    segment: Path = next(settings.journal_directory.glob("*.journal"))
    with segment.open("ab") as file:
        file.write(damage)
    second = JournalWriter(settings.journal_directory, Fdatasync.NEVER)
    second.append(encode(ACCOUNTING, BEGUN_US, NAS, packet("2", "Interim-Update", 11, 1)))
    second.close()
    connection = database.connect(database.radius_url(settings), "test")
    meter = Meter(connection, settings)
    while meter.apply_new():
        pass
    connection.close()
    assert ask(settings, "SELECT sum(input_octets)::int FROM radius.session") == [(18,)]
    assert ask(settings, "SELECT count(*)::int FROM radius.accounting_quarantine") == [(1,)]
