"""The clock of the worker `schedule`: a grant ends at its second, and the next end is waited for, not polled."""

import threading
from collections.abc import Iterator

import pytest

from sync_daemon import database, schedule
from sync_daemon.settings import Settings
from tests.contract.sync_setup import ask, until

LATE_SECONDS = 1.0
"""Usually it is a hundredth of that; a busy machine may take its time."""
DEADLINE_SECONDS = 15.0

ONLINE = """
    WITH account AS (
        INSERT INTO radius.managed_account (username, kind, status, policy)
        SELECT 'user-' || n, 'prepaid', 'active', '{}' FROM generate_series(1, 5) n)
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                last_report_at)
    SELECT 's' || n, 's' || n, 'user-' || n, '192.0.2.1', 's' || n, now(), now() FROM generate_series(1, 5) n
"""
# By a date for the first four, so long after the last use for the fifth.
GRANTS = """
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, policy, granted_at, expires_at,
                                    seconds_after_last_use, last_used_at)
    SELECT 'test:' || n, 'user-' || n, 'purchase', 'hour', '{}', clock_timestamp(),
           CASE WHEN n < 5 THEN clock_timestamp() + make_interval(secs => 0.7 + 0.4 * n) END,
           CASE WHEN n = 5 THEN 2 END, CASE WHEN n = 5 THEN clock_timestamp() END
    FROM generate_series(1, 5) n
"""
LATENESS = """
    SELECT extract(epoch FROM created_at - LEAST(
        expires_at, last_used_at + make_interval(secs => seconds_after_last_use)))::float
    FROM radius.coa_request JOIN radius.entitlement USING (username) WHERE reason = 'expiry'
"""
WAITS = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE application_name = 'herotill schedule listen' AND query LIKE 'LISTEN%%'
"""


@pytest.fixture
def keeping_time(settings: Settings, database_url: str) -> Iterator[None]:
    """The worker, which has found nothing to wait for and so waits a minute, or for news."""
    stop = threading.Event()
    thread = threading.Thread(target=schedule.run, args=(settings, stop))
    thread.start()
    until(lambda: ask(database_url, WAITS) == [(True,)], "it listens")
    yield
    stop.set()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


@pytest.mark.usefixtures("keeping_time")
def test_r13_live_sessions_end_when_their_grant_does_to_the_second(database_url: str) -> None:
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(ONLINE)
        cursor.execute(GRANTS)
        cursor.execute("SELECT pg_notify('herotill_account', '[\"user-1\"]')")
    until(lambda: len(ask(database_url, LATENESS)) == 5, "all are cut")
    late_seconds = [seconds for (seconds,) in ask(database_url, LATENESS)]
    assert min(late_seconds) >= 0.0
    assert max(late_seconds) < LATE_SECONDS
