"""From a packet to an event: the meter charges by router and tells of marks of use (rules R21, R22)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from billing.access_events import book_access_events
from sync_daemon import database
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill
from tests.contract.test_meter import ask, meter_journal, packet

GIVE = """
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, policy, granted_at, quota_octets)
    VALUES ('purchase:1', 'anna', 'purchase', '1k', %s, '2023-01-01T00:00Z', 1000)
"""
MARKS = "SELECT event_key, details ->> 'percent', details ->> 'superseded_by' FROM radius.access_event"
MARKS += " WHERE kind = 'usage_notice' ORDER BY access_event_id"


@pytest.fixture
def run(run_herotill: RunHerotill, database_url: str) -> RunHerotill:
    """An account anna with 1000 octets, and a router at the address packets come from."""
    added = run_herotill(
        "customer", "add", "--name", "Anna", "--user", "anna", "--verified", "--password", "secret-1"
    )
    assert added.exit_code == 0, added.output
    assert run_herotill("nas", "add", "roof", "--address", "192.0.2.1", "--generate-secret").exit_code == 0
    _execute(database_url, GIVE, "{}")
    return run_herotill


def _execute(url: str, statement: str, *values: Any) -> None:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)


def _book(settings: Settings) -> list[tuple[Any, ...]]:
    engine = database.billing_engine(settings)
    with Session(engine) as session, session.begin():
        book_access_events(session, datetime.now(UTC))
    engine.dispose()
    return ask(settings, "SELECT event_key, payload ->> 'remaining' FROM billing.event ORDER BY event_id")


def test_r21_marks_are_told_once_each_and_the_highest_of_a_moment_overtakes(
    run: RunHerotill, settings: Settings, tmp_path: Path
) -> None:
    meter_journal(settings, (0, packet("1", "Start")), (60, packet("1", "Interim-Update", 850, 60)))
    assert ask(settings, MARKS) == [("notice:1:50", "50", "80"), ("notice:1:80", "80", None)]
    meter_journal(settings, (90, packet("1", "Interim-Update", 850, 90)))
    meter_journal(settings, (120, packet("1", "Stop", 5000, 120)))
    assert ask(settings, MARKS)[2:] == [("notice:1:100", "100", None)]
    assert _book(settings) == [("notice:1:50", "150 B"), ("notice:1:80", "150 B"), ("notice:1:100", "0 B")]
    assert _book(settings) == _book(settings)


def test_r21_a_plan_may_have_marks_of_its_own_or_none(
    run: RunHerotill, settings: Settings, database_url: str
) -> None:
    _execute(database_url, "UPDATE radius.entitlement SET policy = %s", '{"notice_percents": "33"}')
    meter_journal(settings, (60, packet("1", "Interim-Update", 850, 60)))
    assert ask(settings, MARKS) == [("notice:1:33", "33", None)]
    _execute(database_url, "UPDATE radius.entitlement SET policy = %s", '{"notice_percents": ""}')
    meter_journal(settings, (90, packet("1", "Stop", 5000, 90)))
    assert len(ask(settings, MARKS)) == 1


def test_r22_a_router_counts_as_it_was_told_and_what_it_said_is_kept(
    run: RunHerotill, settings: Settings
) -> None:
    assert run("nas", "edit", "roof", "--multiplier", "0.5x").exit_code == 0
    meter_journal(settings, (60, packet("1", "Interim-Update", 801, 60)))
    used = "SELECT used_octets::int, ended_at IS NOT NULL FROM radius.entitlement"
    assert ask(settings, used) == [(400, False)]
    assert run("nas", "edit", "roof", "--multiplier", "2x").exit_code == 0
    meter_journal(settings, (90, packet("1", "Interim-Update", 901, 90)))
    assert ask(settings, used) == [(600, False)]
    assert run("nas", "edit", "roof", "--multiplier", "0").exit_code == 0
    meter_journal(settings, (120, packet("1", "Stop", 1_000_901, 120)))
    assert ask(settings, used) == [(600, False)]
    assert ask(settings, "SELECT input_octets::int FROM radius.session") == [(1_000_901,)]
    assert ask(settings, "SELECT acctinputoctets::int FROM radius.radacct") == [(1_000_901,)]
