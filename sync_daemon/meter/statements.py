"""The meter's SQL: rows in, rows out, all in the caller's transaction."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.accounting import NasRestart
from herotill.grants import Grant
from herotill.sessions import NAS_RESTARTED, SESSION_COLUMNS, Session, session_from_values
from herotill.snapshot import AccountKind, AccountStatus, Reservation
from sync_daemon.grant_rows import read_grants, write_ended, write_first_uses
from sync_daemon.meter.batch import Account, Changes
from sync_daemon.meter.notice_rows import write_passed_marks
from sync_daemon.meter.session_rows import write_sessions
from sync_daemon.prepared import Prepared, array

# Locked in one order by everybody who changes an account's usage, so that two meters never wait for each other.
LOCK_ACCOUNTS = Prepared(
    "lock_accounts",
    ("text[]",),
    """
    SELECT username, kind, status, updated_at FROM radius.managed_account
    WHERE username = ANY($1) ORDER BY username FOR NO KEY UPDATE
    """,
)

_SESSION = ", ".join(SESSION_COLUMNS)

SELECT_SESSIONS = Prepared(
    "select_sessions",
    ("text[]",),
    f"SELECT {_SESSION} FROM radius.session WHERE session_key = ANY($1)",  # noqa: S608 - the columns are ours
)

SELECT_LIVE_SESSIONS = Prepared(
    "select_live_sessions",
    ("text[]",),
    f"SELECT {_SESSION} FROM radius.session WHERE username = ANY($1) AND stopped_at IS NULL",  # noqa: S608 - ours
)

SELECT_RESERVATIONS = Prepared(
    "select_reservations",
    ("text[]",),
    """
    SELECT login_id, entitlement_id, username, octets, used_octets, expires_at
    FROM radius.reservation WHERE username = ANY($1) AND released_at IS NULL
    """,
)

USE_GRANTS = Prepared(
    "use_grants",
    ("bigint[]", "bigint[]", "bigint[]", "bigint[]", "timestamptz[]"),
    """
    UPDATE radius.entitlement e
    SET used_input_octets = v.input_octets, used_output_octets = v.output_octets, used_seconds = v.seconds,
        last_used_at = v.last_used_at
    FROM unnest($1, $2, $3, $4, $5) AS v (entitlement_id, input_octets, output_octets, seconds, last_used_at)
    WHERE e.entitlement_id = v.entitlement_id
    """,
)

ADD_USAGE = Prepared(
    "add_usage",
    ("text[]", "timestamptz[]", "bigint[]", "bigint[]", "bigint[]", "bigint[]"),
    """
    INSERT INTO radius.usage_interval (username, interval_start, entitlement_id, input_octets, output_octets, seconds)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6)
    ON CONFLICT (username, interval_start, entitlement_id) DO UPDATE SET
        input_octets = usage_interval.input_octets + EXCLUDED.input_octets,
        output_octets = usage_interval.output_octets + EXCLUDED.output_octets,
        seconds = usage_interval.seconds + EXCLUDED.seconds
    """,
)

HOLD_RESERVATIONS = Prepared(
    "hold_reservations",
    ("text[]", "bigint[]", "timestamptz[]"),
    """
    UPDATE radius.reservation r SET used_octets = v.used_octets, expires_at = v.expires_at
    FROM unnest($1, $2, $3) AS v (login_id, used_octets, expires_at)
    WHERE r.login_id = v.login_id AND r.released_at IS NULL
    """,
)

RELEASE_RESERVATIONS = Prepared(
    "release_reservations",
    ("text[]", "timestamptz[]"),
    """
    UPDATE radius.reservation r SET released_at = v.released_at
    FROM unnest($1, $2) AS v (login_id, released_at) WHERE r.login_id = v.login_id AND r.released_at IS NULL
    """,
)

# Rule R32 and RFC 2866 §5.1: a NAS that restarted has none of its old sessions. A repeated or late Accounting-On must
# not close what began after it. Returned are the accounts of which more than a session is gone, or a session that reported
# after its NAS's clock says it restarted: who is told of the restart does not see that.
CLOSE_NAS_SESSIONS = """
    WITH closed AS (
        UPDATE radius.session SET stopped_at = %(event_at)s, terminate_cause = %(cause)s
        WHERE nas_address = %(nas_address)s AND stopped_at IS NULL AND started_at < %(event_at)s
          AND last_report_at <= %(received_at)s
        RETURNING acct_unique_id, username, login_id, last_report_at),
    released AS (
        UPDATE radius.reservation r SET released_at = %(event_at)s
        FROM closed WHERE r.login_id = closed.login_id AND r.released_at IS NULL
        RETURNING r.username),
    archived AS (
        UPDATE radius.radacct a SET acctstoptime = %(event_at)s, acctterminatecause = %(cause)s
        FROM closed WHERE a.acctuniqueid = closed.acct_unique_id)
    SELECT username FROM released UNION SELECT username FROM closed WHERE last_report_at > %(event_at)s
"""


def load_accounts(cursor: Cursor, usernames: Iterable[str]) -> dict[str, Account]:
    """Lock these accounts and return them with their grants and reservations."""
    wanted = sorted(set(usernames))
    accounts = {username: Account(username) for username in wanted}
    names = array("text[]", wanted)
    LOCK_ACCOUNTS.execute(cursor, names)
    for username, kind, status, since in cursor.fetchall():
        account = accounts[username]
        account.kind, account.status, account.since = _KINDS[kind], _STATUSES[status], since
    for username, grant in read_grants(cursor, wanted):
        accounts[username].grants[grant.grant_id] = grant
    SELECT_RESERVATIONS.execute(cursor, names)
    for login_id, grant_id, username, octets, used_octets, expires_at in cursor.fetchall():
        accounts[username].reservations[login_id] = Reservation(
            login_id, grant_id, octets, used_octets, expires_at
        )
    return accounts


_KINDS = {str(kind): kind for kind in AccountKind}
_STATUSES = {str(status): status for status in AccountStatus}


def load_sessions(cursor: Cursor, session_keys: Iterable[str]) -> list[Session]:
    """Return every session the NASes call by these keys."""
    SELECT_SESSIONS.execute(cursor, array("text[]", sorted(set(session_keys))))
    return [session_from_values(row) for row in cursor.fetchall()]


def load_live_sessions(cursor: Cursor, usernames: Sequence[str]) -> list[Session]:
    """Return the sessions of these accounts that are online."""
    SELECT_LIVE_SESSIONS.execute(cursor, array("text[]", usernames))
    return [session_from_values(row) for row in cursor.fetchall()]


def write_changes(cursor: Cursor, changes: Changes) -> None:
    """Write what a batch changed, each table with one statement."""
    grants = [grant for _, grant in sorted(changes.grants.items())]
    write_sessions(cursor, changes.sessions.values(), changes.before)
    USE_GRANTS.execute_rows(cursor, map(_use_row, grants))
    write_first_uses(cursor, changes.begun_grants.values())
    write_ended(cursor, grants)
    if changes.passed:
        write_passed_marks(cursor, changes.passed.values())
    ADD_USAGE.execute_rows(
        cursor,
        [
            (*key, used.input_octets, used.output_octets, used.seconds)
            for key, used in sorted(changes.intervals.items())
        ],
    )
    held = sorted(changes.reservations.items())
    HOLD_RESERVATIONS.execute_rows(cursor, [(key, one.used_octets, one.expires_at) for key, one in held])
    RELEASE_RESERVATIONS.execute_rows(cursor, sorted(changes.released.items()))


def _use_row(grant: Grant) -> tuple[int, int, int, int, datetime | None]:
    used = grant.used
    return grant.grant_id, used.input_octets, used.output_octets, used.seconds, grant.last_used_at


def close_nas_sessions(cursor: Cursor, restart: NasRestart, received_at: datetime) -> list[str]:
    """Close what a restarted NAS had online; return the accounts that changed beyond that."""
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
