"""radius.account_snapshot: packet time reads of an account what the meter reads, and the rows of people in their order."""

from collections.abc import Iterator

import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.snapshot import Row, snapshot_from_json
from sync_daemon import database
from sync_daemon.meter.statements import load_accounts, load_live_sessions

ACCOUNT = """
    INSERT INTO radius.managed_account (username, kind, status, policy, group_name)
    VALUES ('anna', 'prepaid', 'active', '{"max_sessions": 2}', 'hostel');
    INSERT INTO radius.group_allocation (group_name, period, quota_octets, policy)
    VALUES ('hostel', 'month', 1000, '{"sharing": "strict"}');
    INSERT INTO radius.entitlement (
        entitlement_id, external_key, username, source, plan_name, priority, counting, quota_octets, quota_seconds,
        used_input_octets, used_output_octets, used_seconds, policy, granted_at, expires_at, seconds_after_first_use,
        seconds_after_last_use, first_used_at, last_used_at, ended_at, ended_reason)
    VALUES
        (3, 'allocation:a', 'anna', 'allocation', 'month', 50, 'larger', 1, 2, 3, 4, 5, '{}', '2026-01-01Z',
         '2026-12-31Z', 6, 7, '2026-01-02Z', '2026-01-03Z', NULL, NULL),
        (2, 'purchase:b', 'anna', 'purchase', 'day', 100, 'sum', NULL, NULL, 0, 0, 0, '{"max_sessions": 3}',
         '2026-02-01Z', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (4, 'purchase:c', 'anna', 'purchase', 'day', 100, 'sum', 8, NULL, 9, 0, 0, '{}', '2025-02-01Z', NULL, NULL,
         NULL, NULL, NULL, '2025-03-01Z', 'quota'),
        (5, 'purchase:d', 'anna', 'purchase', 'day', 100, 'sum', 8, NULL, 9, 0, 0, '{}', '2025-02-01Z', NULL, NULL,
         NULL, NULL, NULL, '2025-04-01Z', 'expiry');
    INSERT INTO radius.session (
        acct_unique_id, session_key, username, nas_address, nas_identifier, nas_port_id, nas_port_type, acct_session_id,
        calling_station_id, called_station_id, framed_ip_address, framed_ipv6_address, framed_ipv6_prefix,
        delegated_ipv6_prefix, service_type, framed_protocol, login_id, started_at, last_report_at, session_seconds,
        input_octets, output_octets, sends_gigawords, stopped_at)
    VALUES
        ('u2', 'k2', 'anna', '192.0.2.1', 'ap', 'ether1', 'Ethernet', 's2', 'c2', 'hot', '10.0.0.2', '2001:db8::1',
         '2001:db8:1::/64', '2001:db8:2::/56', 'Framed-User', 'PPP', 'l2', '2026-03-01Z', '2026-03-02Z', 1, 2, 3, true,
         NULL),
        ('u1', 'k1', 'anna', '2001:db8::9', NULL, NULL, NULL, 's1', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         '2026-03-01Z', '2026-03-02Z', 0, 0, 0, false, NULL),
        ('u0', 'k0', 'anna', '192.0.2.1', NULL, NULL, NULL, 's0', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         '2026-03-01Z', '2026-03-02Z', 0, 0, 0, false, '2026-03-02Z');
    INSERT INTO radius.reservation (login_id, entitlement_id, username, octets, used_octets, created_at, expires_at)
    VALUES ('l2', 3, 'anna', 10, 4, '2026-03-01Z', '2026-03-03Z'), ('l1', 3, 'anna', 11, 5, '2026-03-01Z', '2026-03-04Z');
"""

ROWS = """
    INSERT INTO radius.radcheck (id, username, attribute, op, value)
    VALUES (2, 'anna', 'Calling-Station-Id', '==', 'x'), (1, 'anna', 'Cleartext-Password', ':=', 'y');
    INSERT INTO radius.radreply (id, username, attribute, op, value)
    VALUES (2, 'anna', 'A', '=', '1'), (1, 'anna', 'B', '+=', '2');
    INSERT INTO radius.radusergroup (username, groupname, priority) VALUES ('anna', 'late', 2), ('anna', 'hostel', 1);
    INSERT INTO radius.radgroupreply (id, groupname, attribute, op, value)
    VALUES (1, 'late', 'C', '=', '3'), (3, 'hostel', 'D', '=', '4'), (2, 'hostel', 'E', '=', '5');
"""

SNAPSHOT = "SELECT radius.account_snapshot(%s)"


@pytest.fixture
def cursor(owner_url: str) -> Iterator[Cursor]:
    with database.transaction(owner_url, "test") as connection, connection.cursor() as opened:
        yield opened


def test_grants_sessions_and_slices_are_what_the_meter_reads(cursor: Cursor) -> None:
    cursor.execute(ACCOUNT)
    cursor.execute(SNAPSHOT, ("anna",))
    ((document,),) = cursor.fetchall()
    snapshot = snapshot_from_json(document)
    metered = load_accounts(cursor, ["anna"])["anna"]
    live = sorted(load_live_sessions(cursor, ["anna"]), key=lambda session: session.acct_unique_id)
    assert [grant.grant_id for grant in snapshot.grants] == [2, 3]
    assert {
        grant.grant_id: grant for grant in (*snapshot.grants, snapshot.last_ended) if grant
    } == metered.grants
    assert list(snapshot.sessions) == live
    assert [one.login_id for one in snapshot.reservations] == ["l1", "l2"]
    assert {one.login_id: one for one in snapshot.reservations} == metered.reservations
    assert snapshot.allocation is not None
    assert snapshot.group == "hostel"
    assert snapshot.allocation_keys == {"allocation:a"}


def test_rows_are_in_the_order_people_gave_them(cursor: Cursor) -> None:
    cursor.execute(ACCOUNT)
    cursor.execute(ROWS)
    cursor.execute(SNAPSHOT, ("anna",))
    ((document,),) = cursor.fetchall()
    snapshot = snapshot_from_json(document)
    assert snapshot.check == (
        Row("Cleartext-Password", ":=", "y"),
        Row("Calling-Station-Id", "==", "x"),
    )
    assert [row.attribute for row in snapshot.reply] == ["E", "D", "C", "B", "A"]


def test_whom_nobody_manages_has_no_snapshot_whatever_rows_there_are(cursor: Cursor) -> None:
    cursor.execute(ROWS)
    cursor.execute(SNAPSHOT, ("anna",))
    assert cursor.fetchall() == [(None,)]
