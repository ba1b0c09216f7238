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


def test_rows_somebody_removed_under_a_live_session_are_there_again_after_its_next_report(
    settings: Settings,
) -> None:
    meter_journal(settings, (0, packet("1", "Start")), (0, packet("2", "Start")))
    with (
        database.transaction(database.radius_url(settings), "test") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM radius.radacct WHERE acctsessionid = '1'")
        cursor.execute("DELETE FROM radius.session WHERE acct_session_id = '2'")
    meter_journal(
        settings,
        (60, packet("1", "Interim-Update", 100, 60)),
        (60, packet("2", "Interim-Update", 200, 60)),
    )
    archived = "SELECT acctsessionid, acctinputoctets FROM radius.radacct ORDER BY acctsessionid"
    assert ask(settings, archived) == [("1", 100), ("2", 200)]
    online = "SELECT acct_session_id, input_octets FROM radius.session ORDER BY acct_session_id"
    assert ask(settings, online) == [("1", 100), ("2", 200)]


def test_what_an_interim_tells_for_the_first_time_is_kept(settings: Settings) -> None:
    """Most interims tell nothing new but counters, and write no more than those."""
    address = [["Framed-IP-Address", "10.0.0.7"]]
    meter_journal(settings, (0, packet("1", "Start")))
    meter_journal(settings, (60, packet("1", "Interim-Update", 100, 60)))
    meter_journal(settings, (120, packet("1", "Interim-Update", 200, 120) + address))
    meter_journal(settings, (180, packet("1", "Stop", 300, 180)))
    kept = "SELECT host(framed_ip_address), input_octets::int, stopped_at IS NOT NULL FROM radius.session"
    assert ask(settings, kept) == [("10.0.0.7", 300, True)]
    archived = "SELECT host(framedipaddress), acctinputoctets::int, acctinterval::int FROM radius.radacct"
    assert ask(settings, archived) == [("10.0.0.7", 300, 60)]
