"""A session that comes up for an account that was denied meanwhile is ended (rules R5, R31)."""

import pytest

from herotill.sessions import STALE
from sync_daemon import database
from sync_daemon.settings import Settings
from tests.contract.test_meter import ask, meter_journal, packet

ACCOUNT = """
    INSERT INTO radius.managed_account (username, kind, status, policy, updated_at)
    VALUES ('anna', %s, %s, '{}', to_timestamp(1700000000) + make_interval(secs => %s))
"""
CLOSE = "UPDATE radius.session SET stopped_at = last_report_at, terminate_cause = %s"
ASKED = "SELECT action, purpose, reason FROM radius.coa_request"


def execute(settings: Settings, statement: str, *values: object) -> None:
    url = database.radius_url(settings)
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)


@pytest.mark.parametrize(
    ("kind", "status", "since_seconds", "asked"),
    [
        ("prepaid", "disabled", 20, [("disconnect", "end", "disabled")]),
        ("prepaid", "disabled", 0, [("disconnect", "end", "disabled")]),
        ("monthly", "suspended", 20, [("disconnect", "end", "suspended")]),
        ("monthly", "suspended", 5, []),  # it began in the suspended pool
        ("prepaid", "active", 20, []),
    ],
)
def test_r5_r31_a_start_metered_after_the_account_was_denied_ends_the_session(
    settings: Settings, kind: str, status: str, since_seconds: int, asked: list[tuple[str, str, str]]
) -> None:
    execute(settings, ACCOUNT, kind, status, since_seconds)
    meter_journal(settings, (10, packet("1", "Start")))
    meter_journal(settings, (70, packet("1", "Interim-Update", 7, 60)))  # it is asked for once
    assert ask(settings, ASKED) == asked


def test_r5_r31_a_session_taken_for_stale_that_reports_again_is_ended_too(settings: Settings) -> None:
    execute(settings, ACCOUNT, "prepaid", "active", 0)
    meter_journal(settings, (10, packet("1", "Start")))
    execute(settings, CLOSE, STALE)
    execute(settings, "UPDATE radius.managed_account SET status = 'disabled'")
    meter_journal(settings, (4000, packet("1", "Interim-Update", 7, 3990)))
    assert ask(settings, ASKED) == [("disconnect", "end", "disabled")]


def test_a_session_nobody_manages_and_we_never_accepted_is_left_alone(settings: Settings) -> None:
    meter_journal(settings, (10, packet("1", "Start")))
    assert ask(settings, ASKED) == []
