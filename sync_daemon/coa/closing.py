"""The closed loop in the database: what the accounting shows of requests, and what requests show of sessions and NASes.

An ACK is a claim; a Stop is what happened. Each statement here is safe to run by any number of daemons at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from herotill.sessions import STALE
from sync_daemon.coa.ports import IpAddress
from sync_daemon.stale import SETTLE_CLOSED

LOST_STATES = ("naked", "timed_out", "unconfirmed", "failed")
"""All was tried and the session goes on, as far as we know."""

# A Stop settles everything that was asked of a session, also what is still on its way; the next report settles a change.
CONFIRM = """
WITH shown AS (
    UPDATE radius.coa_request AS request
    SET state = 'confirmed',
        finished_at = clock_timestamp(),
        outcome = concat_ws(' ', outcome, CASE
            WHEN session.stopped_at IS NULL THEN 'The next report came from a session that goes on.'
            ELSE 'The accounting has the end of the session: ' || coalesce(session.terminate_cause, 'Stop') || '.' END)
    FROM radius.session
    WHERE request.finished_at IS NULL
      AND request.state IN ('acked', 'sent')
      AND session.acct_unique_id = request.acct_unique_id
      AND (session.stopped_at IS NOT NULL
           OR (request.state = 'acked' AND request.action = 'coa' AND NOT request.becomes_disconnect
               AND session.last_report_at > request.acked_at))
    RETURNING request.nas_address, request.acked_at
)
SELECT ARRAY(SELECT DISTINCT host(nas_address) FROM shown WHERE acked_at IS NOT NULL),
       EXISTS (SELECT FROM radius.coa_request WHERE finished_at IS NULL AND state = 'acked')
"""

# A session that reports on was not ended, whatever was said of it; what is still wanted is asked again, naming it otherwise
# where the NAS denied it. A status that has changed since is not enforced any more.
REOPEN = """
WITH reopened AS (
    UPDATE radius.coa_request AS request
    SET state = 'pending',
        finished_at = NULL,
        failures = 0,
        told_at = NULL,
        next_attempt_at = clock_timestamp(),
        profile_number = CASE WHEN request.state = 'gone' THEN request.profile_number + 1 ELSE 0 END
    FROM radius.session
    WHERE request.state IN ('gone', 'naked', 'timed_out', 'unconfirmed', 'failed')
      AND NOT request.is_superseded
      AND request.purpose IN ('end', 'restrict')
      AND request.finished_at > statement_timestamp() - interval '1 day'
      AND session.acct_unique_id = request.acct_unique_id
      AND session.stopped_at IS NULL
      AND session.last_report_at > request.finished_at
          + CASE WHEN request.state = 'gone' THEN interval '0' ELSE make_interval(secs => %(after_seconds)s) END
      AND (request.reason NOT IN ('disabled', 'suspended', 'deleted')
           OR NOT EXISTS (SELECT FROM radius.managed_account
                          WHERE managed_account.username = request.username AND status = 'active'))
    RETURNING 1
)
SELECT count(*) FROM reopened
"""

# What is known of a session the NAS does not know: it ended no earlier than it last reported. Closed as stale, so that a
# late Stop corrects it and a late interim opens it again (rule R32). Accounts are locked first, as by everybody who changes
# usage.
CLOSE_GONE = f"""
SELECT FROM radius.managed_account
WHERE username IN (SELECT username FROM radius.coa_request WHERE coa_request_id = ANY (%(gone)s))
ORDER BY username FOR NO KEY UPDATE;
WITH closed AS (
    UPDATE radius.session
    SET stopped_at = GREATEST(session.last_report_at, session.started_at), terminate_cause = '{STALE}'
    FROM radius.coa_request AS request
    WHERE request.coa_request_id = ANY (%(gone)s) AND request.state = 'gone'
      AND session.acct_unique_id = request.acct_unique_id AND session.stopped_at IS NULL
    RETURNING session.acct_unique_id, session.username, session.login_id, session.stopped_at
), {SETTLE_CLOSED}
"""  # noqa: S608 - the word is ours

# A session that cannot be ended may use up what it was promised, and no more is promised of that to others.
HOLD_RESERVATIONS = """
UPDATE radius.reservation
SET expires_at = GREATEST(reservation.expires_at, clock_timestamp() + interval '1 day')
FROM radius.coa_request AS request
JOIN radius.session ON session.acct_unique_id = request.acct_unique_id
WHERE request.coa_request_id = ANY (%(lost)s) AND request.purpose IN ('end', 'restrict')
  AND session.stopped_at IS NULL AND reservation.login_id = session.login_id AND reservation.released_at IS NULL
"""

# Only what changes is written: a NAS that works is not written for every answer.
MARK_NASES = """
SET LOCAL synchronous_commit = off;
INSERT INTO radius.nas_profile (nas_id, coa_state, coa_state_since, coa_failure)
SELECT nas_id, state, clock_timestamp(), failure
FROM unnest(%(nas_ids)s::integer[], %(states)s::text[], %(failures)s::text[]) AS mark (nas_id, state, failure)
JOIN radius.nas ON nas.id = nas_id
ORDER BY nas_id
ON CONFLICT (nas_id) DO UPDATE
SET coa_state = excluded.coa_state, coa_state_since = excluded.coa_state_since, coa_failure = excluded.coa_failure
WHERE nas_profile.coa_state <> excluded.coa_state;
"""

# The schedule makes events of what went wrong.
TELL = "SELECT pg_notify('herotill_event', '')"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Whose acknowledged requests the accounting has shown now, and whether others may still be to be shown."""

    nas_addresses: tuple[IpAddress, ...]
    awaits_more: bool


@dataclass(frozen=True, slots=True)
class NasMark:
    """Whether a NAS does what it is asked, and if not, one sentence why."""

    nas_id: int
    state: str
    failure: str | None = None


def confirm(connection: Connection) -> Confirmed:
    """Settle what the accounting shows."""
    with connection.cursor() as cursor:
        cursor.execute(CONFIRM)
        row = cursor.fetchone()
    addresses, awaits_more = row if row is not None else ([], False)
    return Confirmed(tuple(ip_address(address) for address in addresses), awaits_more)


def reopen(connection: Connection, after_seconds: float) -> int:
    """Ask again for sessions that report on; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(REOPEN, {"after_seconds": after_seconds})
        row = cursor.fetchone()
    return 0 if row is None else int(row[0])


def mark_nases(connection: Connection, marks: Sequence[NasMark]) -> None:
    """Write which NASes work and which do not."""
    columns = {
        "nas_ids": [mark.nas_id for mark in marks],
        "states": [mark.state for mark in marks],
        "failures": [mark.failure for mark in marks],
    }
    with connection.cursor() as cursor:
        cursor.execute(MARK_NASES + TELL, columns)
