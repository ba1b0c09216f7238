"""The meter's SQL: rows in, rows out, all in the caller's transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extras import execute_values

from herotill.accounting import NasRestart
from herotill.grants import Grant
from herotill.sessions import NAS_RESTARTED, Session, session_from_row
from herotill.snapshot import AccountKind, Reservation
from sync_daemon.grant_rows import read_grants, write_ended, write_first_uses
from sync_daemon.meter.batch import Account, Changes
from sync_daemon.meter.staging import copy_rows

PAGE_ROWS = 1000

# Locked in one order by everybody who changes an account's usage, so that two meters never wait for each other.
LOCK_ACCOUNTS = """
    SELECT username, kind FROM radius.managed_account WHERE username = ANY(%s) ORDER BY username FOR NO KEY UPDATE
"""

SELECT_SESSIONS = "SELECT * FROM radius.session WHERE session_key = ANY(%s)"

SELECT_LIVE_SESSIONS = "SELECT * FROM radius.session WHERE username = ANY(%s) AND stopped_at IS NULL"

SELECT_RESERVATIONS = """
    SELECT login_id, entitlement_id, username, octets, used_octets, expires_at
    FROM radius.reservation WHERE username = ANY(%s) AND released_at IS NULL
"""

STAGED_SESSION = (
    "acct_unique_id", "session_key", "username", "nas_address", "nas_identifier", "nas_port_id", "nas_port_type",
    "acct_session_id", "calling_station_id", "called_station_id", "framed_ip_address", "framed_ipv6_address",
    "framed_ipv6_prefix", "delegated_ipv6_prefix", "service_type", "framed_protocol", "login_id", "started_at",
    "last_report_at", "stopped_at", "terminate_cause", "session_seconds", "input_octets", "output_octets",
    "sends_gigawords",
)  # fmt: skip

UPSERT_SESSIONS = f"""
    INSERT INTO radius.session ({", ".join(STAGED_SESSION)})
    SELECT {", ".join(STAGED_SESSION)} FROM staged_session
    ON CONFLICT (acct_unique_id) DO UPDATE SET
        nas_port_id = EXCLUDED.nas_port_id, framed_ip_address = EXCLUDED.framed_ip_address,
        framed_ipv6_address = EXCLUDED.framed_ipv6_address, framed_ipv6_prefix = EXCLUDED.framed_ipv6_prefix,
        delegated_ipv6_prefix = EXCLUDED.delegated_ipv6_prefix, login_id = EXCLUDED.login_id,
        started_at = EXCLUDED.started_at, last_report_at = EXCLUDED.last_report_at,
        stopped_at = EXCLUDED.stopped_at, terminate_cause = EXCLUDED.terminate_cause,
        -- An account nobody manages has no row to lock: two nodes may write its session at once. Counters only rise.
        session_seconds = GREATEST(session.session_seconds, EXCLUDED.session_seconds),
        input_octets = GREATEST(session.input_octets, EXCLUDED.input_octets),
        output_octets = GREATEST(session.output_octets, EXCLUDED.output_octets),
        sends_gigawords = EXCLUDED.sends_gigawords
"""  # noqa: S608 - the columns are ours

# What rlm_sql would have written, for every tool that reads radacct.
UPSERT_RADACCT = """
    INSERT INTO radius.radacct (
        acctsessionid, acctuniqueid, username, nasipaddress, nasportid, nasporttype, acctstarttime, acctupdatetime,
        acctstoptime, acctsessiontime, acctinputoctets, acctoutputoctets, calledstationid, callingstationid,
        acctterminatecause, servicetype, framedprotocol, framedipaddress, framedipv6address, framedipv6prefix,
        delegatedipv6prefix, class)
    SELECT
        acct_session_id, acct_unique_id, username, nas_address, nas_port_id, nas_port_type, started_at, last_report_at,
        stopped_at, session_seconds, input_octets, output_octets, called_station_id, calling_station_id,
        terminate_cause, service_type, framed_protocol, framed_ip_address, framed_ipv6_address, framed_ipv6_prefix,
        delegated_ipv6_prefix, login_id
    FROM staged_session
    ON CONFLICT (acctuniqueid) DO UPDATE SET
        acctstarttime = EXCLUDED.acctstarttime, acctupdatetime = EXCLUDED.acctupdatetime,
        acctstoptime = EXCLUDED.acctstoptime,
        acctinterval = EXTRACT(epoch FROM EXCLUDED.acctupdatetime - radacct.acctupdatetime)::bigint,
        acctsessiontime = EXCLUDED.acctsessiontime, acctinputoctets = EXCLUDED.acctinputoctets,
        acctoutputoctets = EXCLUDED.acctoutputoctets, acctterminatecause = EXCLUDED.acctterminatecause,
        framedipaddress = EXCLUDED.framedipaddress, framedipv6address = EXCLUDED.framedipv6address,
        framedipv6prefix = EXCLUDED.framedipv6prefix, delegatedipv6prefix = EXCLUDED.delegatedipv6prefix
"""

STAGED_GRANT = ("entitlement_id", "input_octets", "output_octets", "seconds", "last_used_at")

UPDATE_GRANT_USE = """
    UPDATE radius.entitlement e
    SET used_input_octets = v.input_octets, used_output_octets = v.output_octets, used_seconds = v.seconds,
        last_used_at = v.last_used_at
    FROM staged_grant v WHERE e.entitlement_id = v.entitlement_id
"""

STAGED_INTERVAL = ("username", "interval_start", "entitlement_id", "input_octets", "output_octets", "seconds")

UPSERT_INTERVALS = """
    INSERT INTO radius.usage_interval (username, interval_start, entitlement_id, input_octets, output_octets, seconds)
    SELECT username, interval_start, entitlement_id, input_octets, output_octets, seconds FROM staged_interval
    ON CONFLICT (username, interval_start, entitlement_id) DO UPDATE SET
        input_octets = usage_interval.input_octets + EXCLUDED.input_octets,
        output_octets = usage_interval.output_octets + EXCLUDED.output_octets,
        seconds = usage_interval.seconds + EXCLUDED.seconds
"""

UPDATE_RESERVATIONS = """
    UPDATE radius.reservation r SET used_octets = v.used_octets, expires_at = v.expires_at
    FROM (VALUES %s) AS v (login_id, used_octets, expires_at)
    WHERE r.login_id = v.login_id AND r.released_at IS NULL
"""

RELEASE_RESERVATIONS = """
    UPDATE radius.reservation r SET released_at = v.released_at
    FROM (VALUES %s) AS v (login_id, released_at) WHERE r.login_id = v.login_id AND r.released_at IS NULL
"""

# Rule R32 and RFC 2866 §5.1: a NAS that restarted has none of its old sessions. A repeated or late Accounting-On must
# not close what began after it.
CLOSE_NAS_SESSIONS = """
    WITH closed AS (
        UPDATE radius.session SET stopped_at = %(event_at)s, terminate_cause = %(cause)s
        WHERE nas_address = %(nas_address)s AND stopped_at IS NULL AND started_at < %(event_at)s
          AND last_report_at <= %(received_at)s
        RETURNING acct_unique_id, username, login_id),
    released AS (
        UPDATE radius.reservation r SET released_at = %(event_at)s
        FROM closed WHERE r.login_id = closed.login_id AND r.released_at IS NULL),
    archived AS (
        UPDATE radius.radacct a SET acctstoptime = %(event_at)s, acctterminatecause = %(cause)s
        FROM closed WHERE a.acctuniqueid = closed.acct_unique_id)
    SELECT DISTINCT username FROM closed
"""


def load_accounts(cursor: Cursor, usernames: Sequence[str]) -> dict[str, Account]:
    """Lock these accounts and return them with their grants and reservations."""
    wanted = sorted(set(usernames))
    accounts = {username: Account(username) for username in wanted}
    cursor.execute(LOCK_ACCOUNTS, (wanted,))
    for username, kind in cursor.fetchall():
        accounts[username].kind = AccountKind(kind)
    for username, grant in read_grants(cursor, wanted):
        accounts[username].grants[grant.grant_id] = grant
    cursor.execute(SELECT_RESERVATIONS, (wanted,))
    for login_id, grant_id, username, octets, used_octets, expires_at in cursor.fetchall():
        accounts[username].reservations[login_id] = Reservation(
            login_id, grant_id, octets, used_octets, expires_at
        )
    return accounts


def load_sessions(cursor: Cursor, session_keys: Iterable[str]) -> list[Session]:
    """Return every session the NASes call by these keys."""
    return _sessions(cursor, SELECT_SESSIONS, sorted(set(session_keys)))


def load_live_sessions(cursor: Cursor, usernames: Sequence[str]) -> list[Session]:
    """Return the sessions of these accounts that are online."""
    return _sessions(cursor, SELECT_LIVE_SESSIONS, list(usernames))


def _sessions(cursor: Cursor, statement: str, wanted: list[str]) -> list[Session]:
    cursor.execute(statement, (wanted,))
    names = [column.name for column in cursor.description or ()]
    return [session_from_row(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def write_changes(cursor: Cursor, changes: Changes) -> None:
    """Write what a batch changed, each table with one statement."""
    grants = [grant for _, grant in sorted(changes.grants.items())]
    _write_sessions(cursor, changes)
    _write_grant_use(cursor, grants)
    write_first_uses(cursor, changes.begun_grants.values())
    write_ended(cursor, grants)
    intervals = [
        (*key, usage.input_octets, usage.output_octets, usage.seconds)
        for key, usage in sorted(changes.intervals.items())
    ]
    copy_rows(cursor, "staged_interval", STAGED_INTERVAL, intervals)
    cursor.execute(UPSERT_INTERVALS)
    _write_reservations(cursor, changes)


def _write_sessions(cursor: Cursor, changes: Changes) -> None:
    sessions = sorted(changes.sessions.values(), key=lambda session: session.acct_unique_id)
    copy_rows(cursor, "staged_session", STAGED_SESSION, map(_session_row, sessions))
    cursor.execute(UPSERT_SESSIONS)
    cursor.execute(UPSERT_RADACCT)


def _write_grant_use(cursor: Cursor, grants: Sequence[Grant]) -> None:
    rows = [
        (g.grant_id, g.used.input_octets, g.used.output_octets, g.used.seconds, g.last_used_at)
        for g in grants
    ]
    copy_rows(cursor, "staged_grant", STAGED_GRANT, rows)
    cursor.execute(UPDATE_GRANT_USE)


def _write_reservations(cursor: Cursor, changes: Changes) -> None:
    held = [(key, r.used_octets, r.expires_at) for key, r in sorted(changes.reservations.items())]
    if held:
        execute_values(cursor, UPDATE_RESERVATIONS, held, page_size=PAGE_ROWS)
    if changes.released:
        execute_values(cursor, RELEASE_RESERVATIONS, sorted(changes.released.items()), page_size=PAGE_ROWS)


def close_nas_sessions(cursor: Cursor, restart: NasRestart, received_at: datetime) -> list[str]:
    """Close what a restarted NAS had online; return the accounts concerned."""
    cursor.execute(
        CLOSE_NAS_SESSIONS,
        {
            "event_at": restart.event_at,
            "received_at": received_at,
            "nas_address": restart.nas_address,
            "cause": NAS_RESTARTED,
        },
    )
    return [row[0] for row in cursor.fetchall()]


def _session_row(s: Session) -> tuple[Any, ...]:
    details = s.details.get
    return (
        s.acct_unique_id, s.session_key, s.username, s.nas_address,
        details("nas_identifier"), details("nas_port_id"), details("nas_port_type"), s.acct_session_id,
        s.calling_station_id, details("called_station_id", ""), details("framed_ip_address"),
        details("framed_ipv6_address"), details("framed_ipv6_prefix"), details("delegated_ipv6_prefix"),
        details("service_type"), details("framed_protocol"), s.login_id, s.started_at, s.last_report_at, s.stopped_at,
        s.terminate_cause, s.meter.total.seconds, s.meter.total.input_octets, s.meter.total.output_octets,
        s.meter.sends_gigawords,
    )  # fmt: skip
