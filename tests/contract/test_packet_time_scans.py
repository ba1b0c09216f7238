"""What packet time's statements read: never radacct, and never a whole table. History must not cost a login."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from rlm_herotill.store import (
    GRANT_ALLOCATION,
    PREPARE_SNAPSHOT,
    RESERVE_SLICE,
    SELECT_SNAPSHOT,
    START_FIRST_USE,
)

ACCOUNTS = 5_000

FILL = """
    INSERT INTO radius.managed_account (username, kind, status, policy, group_name)
    SELECT 'user' || n, 'prepaid', 'active', '{}', 'group' || mod(n, 50) FROM generate_series(1, %(accounts)s) n;
    INSERT INTO radius.group_allocation (group_name, period, quota_octets, policy)
    SELECT 'group' || n, 'month', 1000, '{}' FROM generate_series(0, 49) n;
    INSERT INTO radius.radcheck (username, attribute, op, value)
    SELECT 'user' || n, 'Cleartext-Password', ':=', 'x' FROM generate_series(1, %(accounts)s) n;
    INSERT INTO radius.radusergroup (username, groupname)
    SELECT 'user' || n, 'group' || mod(n, 50) FROM generate_series(1, %(accounts)s) n;
    INSERT INTO radius.radgroupreply (groupname, attribute, op, value)
    SELECT 'group' || n, 'Idle-Timeout', ':=', '600' FROM generate_series(0, 499) n;
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, quota_octets, policy, granted_at,
                                    ended_at, ended_reason)
    SELECT k || ':' || n, 'user' || n, 'purchase', 'plan', 1000, '{}', now(),
           CASE WHEN k > 1 THEN now() END, CASE WHEN k > 1 THEN 'quota' END
    FROM generate_series(1, %(accounts)s) n, generate_series(1, 4) k;
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                last_report_at, stopped_at)
    SELECT k || ':' || n, k || ':' || n, 'user' || n, '192.0.2.1', n::text, now(), now(),
           CASE WHEN k > 1 THEN now() END
    FROM generate_series(1, %(accounts)s) n, generate_series(1, 4) k;
    INSERT INTO radius.radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime)
    SELECT n::text, k || ':' || n, 'user' || n, '192.0.2.1', now()
    FROM generate_series(1, %(accounts)s) n, generate_series(1, 4) k;
"""

# What the statements of this transaction really did, also inside functions, which EXPLAIN does not look into.
SCANS = "SELECT relname, seq_scan, coalesce(idx_scan, 0), seq_tup_read FROM pg_stat_xact_user_tables"


@pytest.fixture
def connection(owner_url: str) -> Iterator[Connection]:
    """A filled and analysed database."""
    opened = psycopg2.connect(owner_url)
    with opened, opened.cursor() as cursor:
        cursor.execute(FILL, {"accounts": ACCOUNTS})
        cursor.execute("ANALYZE")
    yield opened
    opened.close()


NOW = datetime(2026, 11, 22, tzinfo=UTC)
STATEMENTS: dict[str, tuple[str, tuple[object, ...]]] = {
    "snapshot": (SELECT_SNAPSHOT, ("user77",)),
    "allocation": (GRANT_ALLOCATION, ("user77", "allocation:group27:user77:2026-11-01", NOW, None)),
    "first use": (START_FIRST_USE, ("user77", 77, NOW)),
    "slice": (RESERVE_SLICE, ("user77", "login", 77, 10, NOW, NOW)),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_packet_time_statement_reads_radacct_or_a_whole_table(connection: Connection, name: str) -> None:
    statement, parameters = STATEMENTS[name]
    with connection, connection.cursor() as cursor:
        cursor.execute(PREPARE_SNAPSHOT)
        cursor.execute(statement, parameters)
        assert cursor.fetchone() is not None
        cursor.execute(SCANS)
        scans = {table: counts for table, *counts in cursor.fetchall()}
    assert scans, "the server counts no scans"
    assert scans.get("radacct", [0, 0, 0]) == [0, 0, 0]
    # Tables of a page or two are cheaper read whole; what grows with accounts or history never is.
    read_whole = {table for table, (sequential, _, rows) in scans.items() if sequential and rows > 1000}
    assert not read_whole
