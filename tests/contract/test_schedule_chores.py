"""What the schedule does now and then, on a real database: stale sessions, retention, the archive."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from herotill.sessions import STALE
from sync_daemon import database
from sync_daemon.archive import archive_closed, drop_old_months
from sync_daemon.explaining import SELECT_SESSIONS
from sync_daemon.retention import delete_old
from sync_daemon.retention_days import RetentionDays
from sync_daemon.settings import Settings
from sync_daemon.stale import close_stale, observe_intervals
from tests.conftest import RunHerotill
from tests.contract.test_meter import BEGUN_US, ask, meter_journal, packet

BEGUN = datetime.fromtimestamp(BEGUN_US / 1_000_000, UTC)
WITHOUT_INTERIMS_SECONDS = 2 * 86_400
HISTORY = "SELECT acct_session_id, terminate_cause, input_octets::int FROM radius.session ORDER BY 1"


def at(seconds: float) -> datetime:
    return BEGUN + timedelta(seconds=seconds)


def change(settings: Settings, statement: str, *values: Any) -> None:
    url = database.radius_url(settings)
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)


def meter_is_at(settings: Settings, moment: datetime) -> None:
    upsert = (
        "INSERT INTO radius.meter_state VALUES ('test', %s)"
        " ON CONFLICT (node) DO UPDATE SET caught_up_at = excluded.caught_up_at"
    )
    change(settings, upsert, moment)


def close(settings: Settings, now: datetime) -> int:
    connection = database.connect(database.radius_url(settings), "test")
    try:
        observe_intervals(connection, now)
        return close_stale(connection, now, WITHOUT_INTERIMS_SECONDS)
    finally:
        connection.close()


def archive(settings: Settings, closed_before: datetime, limit: int = 100) -> int:
    connection = database.connect(database.radius_url(settings), "test")
    try:
        return archive_closed(connection, closed_before, limit)
    finally:
        connection.close()


def start(settings: Settings, session: str, moment: int = 0) -> None:
    meter_journal(settings, (moment, packet(session, "Start")))


def report(settings: Settings, session: str, *moments: int) -> None:
    """Report at these moments, each metered as it comes; ten octets a second."""
    for moment in moments:
        meter_journal(settings, (moment, packet(session, "Interim-Update", 10 * moment, moment)))


def test_r32_a_session_that_missed_three_of_its_reports_is_closed_and_its_usage_is_kept(
    settings: Settings,
) -> None:
    start(settings, "1")
    report(settings, "1", 300, 600)
    assert ask(settings, "SELECT interim_interval_seconds FROM radius.session") == [(300,)]

    meter_is_at(settings, at(600 + 3 * 300))
    assert close(settings, at(600 + 3 * 300)) == 0
    meter_is_at(settings, at(600 + 3 * 300 + 31))
    assert close(settings, at(600 + 3 * 300 + 31)) == 1

    assert ask(settings, HISTORY) == [("1", STALE, 6000)]
    stopped = "SELECT stopped_at FROM radius.session UNION SELECT acctstoptime FROM radius.radacct"
    assert ask(settings, stopped) == [(at(600),)]
    assert ask(settings, "SELECT interval_seconds FROM radius.nas_interim") == [(300,)]
    assert ask(settings, "SELECT sum(input_octets)::int FROM radius.usage_interval") == [(6000,)]


def test_r32_a_late_interim_opens_it_again_and_counts_what_was_used_meanwhile(settings: Settings) -> None:
    start(settings, "1")
    report(settings, "1", 60, 120)
    meter_is_at(settings, at(1000))
    assert close(settings, at(1000)) == 1
    report(settings, "1", 1020)
    assert ask(settings, HISTORY) == [("1", None, 10_200)]
    assert ask(settings, "SELECT sum(input_octets)::int FROM radius.usage_interval") == [(10_200,)]


def test_r32_a_session_that_never_reported_goes_by_the_rhythm_of_its_nas(settings: Settings) -> None:
    start(settings, "1")
    report(settings, "1", 600, 1200)
    start(settings, "2", 1200)
    meter_is_at(settings, at(2400))
    assert close(settings, at(2400)) == 0  # two reports are missing
    report(settings, "1", 1800, 2400, 3000)
    meter_is_at(settings, at(3100))
    assert close(settings, at(3100)) == 1
    assert [row[:2] for row in ask(settings, HISTORY)] == [("1", None), ("2", STALE)]


def test_r32_where_a_nas_sends_no_interims_the_setting_decides(settings: Settings) -> None:
    start(settings, "1")
    meter_is_at(settings, at(WITHOUT_INTERIMS_SECONDS))
    assert close(settings, at(WITHOUT_INTERIMS_SECONDS)) == 0
    meter_is_at(settings, at(WITHOUT_INTERIMS_SECONDS + 1))
    assert close(settings, at(WITHOUT_INTERIMS_SECONDS + 1)) == 1


def test_r32_nobody_is_taken_for_gone_while_a_meter_is_away_or_behind(settings: Settings) -> None:
    start(settings, "1")
    report(settings, "1", 60, 120)
    change(settings, "DELETE FROM radius.meter_state")
    assert close(settings, at(10_000)) == 0
    meter_is_at(settings, at(180))
    assert close(settings, at(10_000)) == 0


def test_closed_sessions_go_to_the_archive_in_batches_and_no_figure_changes(settings: Settings) -> None:
    month = 31 * 86_400
    for number in range(5):
        begun = number * month
        stop = packet(str(number), "Stop", 1000 + number, 50)
        meter_journal(settings, (begun, packet(str(number), "Start")), (begun + 50, stop))
    meter_journal(settings, (10, packet("on", "Start")))
    usage = "SELECT interval_start, input_octets, seconds FROM radius.usage_interval ORDER BY 1"
    before, sessions_before = ask(settings, usage), _explained(settings)

    moved = [archive(settings, at(3 * month), limit=2) for _ in range(3)]

    assert moved == [2, 1, 0]
    assert ask(settings, usage) == before
    assert _explained(settings) == sessions_before
    assert ask(settings, "SELECT acctsessionid FROM radius.radacct ORDER BY 1") == [("3",), ("4",), ("on",)]
    assert ask(settings, "SELECT acct_session_id FROM radius.session ORDER BY 1") == [("3",), ("4",), ("on",)]
    partitions = "SELECT count(DISTINCT tableoid)::int, count(*)::int FROM radius.radacct_archive"
    assert ask(settings, partitions) == [(3, 3)]


def test_r36_the_report_of_usage_says_the_same_when_its_sessions_are_archived_and_gone(
    settings: Settings, run_herotill: RunHerotill
) -> None:
    change(
        settings,
        "INSERT INTO billing.account (username, secret, kind, created_at) VALUES ('anna', 'x', 'prepaid', now())",
    )
    for number in range(3):
        meter_journal(
            settings,
            (number * 3600, packet(str(number), "Start")),
            (number * 3600 + 50, packet(str(number), "Stop", 1_000_000 + number, 50)),
        )
    command = ("report", "usage", "--json", "--from", "2023-11-01", "--to", "2023-12-31")
    before = run_herotill(*command)
    assert before.exit_code == 0, before.output
    assert sum(day["up"] for day in json.loads(before.stdout)) == 3_000_003

    assert archive(settings, at(86_400)) == 3
    assert ask(settings, "SELECT count(*)::int FROM radius.radacct") == [(0,)]
    assert run_herotill(*command).stdout == before.stdout

    connection = database.connect(database.radius_url(settings), "test")
    assert drop_old_months(connection, at(400 * 86_400)) != []
    connection.close()
    assert run_herotill(*command).stdout == before.stdout


def _explained(settings: Settings) -> list[tuple[Any, ...]]:
    url = database.radius_url(settings)
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(SELECT_SESSIONS, {"username": "anna", "limit": 100})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def test_archiving_that_is_interrupted_moves_a_batch_whole_or_not_at_all(settings: Settings) -> None:
    meter_journal(settings, (0, packet("1", "Start")), (50, packet("1", "Stop", 7, 50)))
    change(settings, "SELECT radius.open_archive_month(%s)", at(50))
    locking = database.connect(database.radius_url(settings), "test")
    with locking, locking.cursor() as cursor:
        cursor.execute("LOCK TABLE radius.radacct_archive IN SHARE MODE")
        hasty = database.connect(database.radius_url(settings), "test", statement_timeout_milliseconds=200)
        with pytest.raises(psycopg2.errors.QueryCanceled):
            archive_closed(hasty, at(100))
        hasty.close()
    locking.close()
    assert ask(settings, "SELECT count(*)::int FROM radius.radacct") == [(1,)]
    assert archive(settings, at(100)) == 1


def test_a_report_that_comes_after_the_archive_took_its_session_is_kept_once(settings: Settings) -> None:
    stop = (50, packet("1", "Stop", 7, 50))
    meter_journal(settings, (0, packet("1", "Start")), stop)
    assert archive(settings, at(100)) == 1
    meter_journal(settings, stop)
    archive(settings, at(100))
    octets = "SELECT acctsessionid, acctinputoctets::int FROM radius.radacct_archive"
    assert ask(settings, octets) == [("1", 7)]


def test_r36_months_of_the_archive_are_dropped_whole(settings: Settings) -> None:
    meter_journal(settings, (0, packet("1", "Start")), (50, packet("1", "Stop", 7, 50)))
    archive(settings, at(100))
    connection = database.connect(database.radius_url(settings), "test")
    assert drop_old_months(connection, at(86_400)) == []
    assert drop_old_months(connection, at(40 * 86_400)) == ["radacct_archive_2023_11"]
    connection.close()


AGED = """
    INSERT INTO radius.login_outcome (username, occurred_at, accepted, reason, node)
        VALUES ('anna', %(at)s, true, 'accepted', 'n');
    INSERT INTO radius.radpostauth (username, authdate) VALUES ('anna', %(at)s);
    INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address, session_attributes,
        finished_at, state) VALUES (%(key)s, 'disconnect', 'quota', 'anna', 'x', '192.0.2.1', '{}', %(at)s, 'confirmed');
    INSERT INTO radius.coa_attempt (coa_request_id, attempt, profile, destination, identifier, sent_at, transmissions,
            result)
        SELECT coa_request_id, 1, 'p', 'd', 1, %(at)s, 1, 'ack' FROM radius.coa_request WHERE request_key = %(key)s;
    INSERT INTO radius.accounting_quarantine (node, segment, segment_offset, quarantined_at, reason, record)
        VALUES ('n', %(key)s, 0, %(at)s, 'r', 'x');
    INSERT INTO radius.drift (relation, name, item, why, mended_at, mended_by)
        VALUES ('radcheck', 'anna', 'Cleartext-Password', 'w', %(at)s, 'daemon');
    INSERT INTO billing.event (event_key, kind, payload, occurred_at, dispatched_at)
        VALUES (%(key)s, 'topup', '{}', %(at)s, %(at)s), ('dead ' || %(key)s, 'topup', '{}', %(at)s, %(at)s);
    INSERT INTO billing.event_delivery (event_id, sink, state, next_attempt_at, finished_at)
        SELECT event_id, 'file', CASE WHEN event_key LIKE 'dead%%' THEN 'dead' ELSE 'delivered' END, %(at)s, %(at)s
        FROM billing.event WHERE event_key LIKE '%%' || %(key)s
"""
KEPT = """
    SELECT (SELECT count(*) FROM radius.login_outcome), (SELECT count(*) FROM radius.radpostauth),
           (SELECT count(*) FROM radius.coa_request), (SELECT count(*) FROM radius.coa_attempt),
           (SELECT count(*) FROM radius.accounting_quarantine), (SELECT count(*) FROM radius.drift),
           (SELECT count(*) FROM billing.event)
"""


def test_r36_what_is_past_its_time_is_deleted_and_what_was_not_delivered_stays(settings: Settings) -> None:
    now = datetime.now(UTC)
    url = database.radius_url(settings)
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        for key, days in (("old", 12), ("new", 8)):
            cursor.execute(AGED, {"key": key, "at": now - timedelta(days=days)})
    radius, books = database.connect(url, "test"), database.connect(url, "test")
    kept = RetentionDays(logins=10, disconnects=10, events=10, quarantine=10, drift=10)

    deleted = list(delete_old([radius], books, kept, now))

    assert [name for name, _ in deleted] == [
        "logins",
        "logins",
        "disconnects",
        "events",
        "quarantine",
        "drift",
    ]
    assert ask(settings, KEPT) == [(1, 1, 1, 1, 1, 1, 3)]
    assert list(delete_old([radius], books, RetentionDays(None, None, None, None, drift=None), now)) == []
    radius.close()
    books.close()
