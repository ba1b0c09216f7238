"""The outbox in the database: take due requests, keep their lease, record what became of them.

Every function is one short statement on an autocommit connection. A row taken is `sent` with `next_attempt_at` as the
end of its lease; whoever holds it renews the lease, and a row whose lease ran out belongs to whoever takes it next.
`attempts` grows with each taking and so tells the holder from a former one: a daemon that was paused past its lease
cannot overwrite what another has done since.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from herotill.live_change import Purpose
from sync_daemon.coa.closing import CLOSE_GONE, HOLD_RESERVATIONS, LOST_STATES, TELL
from sync_daemon.coa.packets import Action
from sync_daemon.coa.ports import IpAddress

CHANNEL = "herotill_coa"

LISTEN = f"LISTEN {CHANNEL}"

# Losing the lease in a crash of PostgreSQL means sending a request twice, which a NAS answers with 503; waiting for the
# disk would cost each disconnect milliseconds. NASes with a full backlog here are left to other daemons and to later.
# What is on its way for a session goes first: a NAS must hear of two changes in the order they were wanted.
TAKE_DUE = """
SET LOCAL synchronous_commit = off;
WITH due AS (
    SELECT coa_request_id, acct_unique_id, state AS was
    FROM radius.coa_request AS request
    WHERE finished_at IS NULL
      AND next_attempt_at <= statement_timestamp()
      AND nas_address <> ALL (%(full_nas_addresses)s::inet[])
      AND NOT EXISTS (
          SELECT FROM radius.coa_request AS earlier
          WHERE earlier.acct_unique_id = request.acct_unique_id AND earlier.finished_at IS NULL
            AND earlier.state = 'sent' AND earlier.coa_request_id < request.coa_request_id)
    ORDER BY next_attempt_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE radius.coa_request AS request
SET state = 'sent',
    attempts = attempts + 1,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
FROM due LEFT JOIN radius.session ON session.acct_unique_id = due.acct_unique_id
WHERE request.coa_request_id = due.coa_request_id
RETURNING request.coa_request_id, request.attempts, request.action, request.reason, request.username,
          host(request.nas_address), request.session_attributes, request.changes, request.caused_at,
          request.purpose, request.profile_number, request.becomes_disconnect, request.failures,
          due.was = 'acked', request.is_superseded,
          CASE WHEN session.acct_unique_id IS NULL THEN 'unknown'
               WHEN session.stopped_at IS NOT NULL THEN 'stopped' ELSE 'live' END,
          session.interim_interval_seconds,
          NOT EXISTS (SELECT FROM radius.session AS other
                      WHERE other.username = request.username AND other.stopped_at IS NULL
                        AND other.nas_address = request.nas_address
                        AND other.acct_unique_id <> request.acct_unique_id),
          session.nas_identifier
"""

# statement_timestamp() and not clock_timestamp(): only a stable function lets the index coa_request_due end the scan.
SECONDS_TO_NEXT = """
SELECT EXTRACT(EPOCH FROM min(next_attempt_at) - statement_timestamp())::double precision
FROM radius.coa_request
WHERE finished_at IS NULL
  AND nas_address <> ALL (%(full_nas_addresses)s::inet[])
"""

RENEW_LEASES = """
SET LOCAL synchronous_commit = off;
UPDATE radius.coa_request AS request
SET next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
FROM unnest(%(ids)s::bigint[], %(attempts)s::integer[]) AS held (coa_request_id, attempt)
WHERE request.coa_request_id = held.coa_request_id
  AND request.attempts = held.attempt
  AND request.state = 'sent'
"""

PUT_BACK = """
UPDATE radius.coa_request AS request
SET state = 'pending', next_attempt_at = clock_timestamp()
FROM unnest(%(ids)s::bigint[], %(attempts)s::integer[]) AS held (coa_request_id, attempt)
WHERE request.coa_request_id = held.coa_request_id
  AND request.attempts = held.attempt
  AND request.state = 'sent'
"""

# The attempt is kept even when the lease was lost meanwhile: it did happen. The Stop may have come before the ACK was
# recorded; a state set meanwhile is left alone. Recording again after a broken connection changes nothing. What was
# superseded while it was on its way is not gone on with. What a crash of PostgreSQL takes away is asked again.
RECORD_RESULTS = """
SET LOCAL synchronous_commit = off;
WITH result AS (
    SELECT *
    FROM jsonb_to_recordset(%(results)s::jsonb) AS r (
        coa_request_id bigint, attempt integer, action text, profile text, destination text, identifier smallint,
        source_port integer, sent_at timestamptz, transmissions smallint, answered_at timestamptz,
        result text, error_cause integer, state text, wait_seconds double precision,
        profile_number smallint, becomes_disconnect boolean, failures smallint, outcome text)
), recorded AS (
    INSERT INTO radius.coa_attempt (coa_request_id, attempt, action, profile, destination, identifier, source_port,
                                    sent_at, transmissions, answered_at, result, error_cause, outcome)
    SELECT coa_request_id, attempt, result.action, profile, destination, identifier, source_port,
           sent_at, transmissions, answered_at, result, result.error_cause, result.outcome
    FROM result
    JOIN radius.coa_request USING (coa_request_id)
    WHERE sent_at IS NOT NULL
    ON CONFLICT DO NOTHING
)
UPDATE radius.coa_request AS request
SET state = CASE WHEN is_superseded AND result.state = 'pending' THEN 'superseded' ELSE result.state END,
    error_cause = result.error_cause,
    outcome = result.outcome,
    profile_number = result.profile_number,
    becomes_disconnect = result.becomes_disconnect,
    failures = result.failures,
    acked_at = CASE WHEN result.state = 'acked' THEN COALESCE(result.answered_at, acked_at) ELSE acked_at END,
    next_attempt_at = clock_timestamp() + make_interval(secs => COALESCE(wait_seconds, 0)),
    finished_at = CASE WHEN wait_seconds IS NULL OR is_superseded AND result.state = 'pending'
                       THEN COALESCE(result.answered_at, clock_timestamp()) END
FROM result
WHERE request.coa_request_id = result.coa_request_id
  AND request.attempts = result.attempt
  AND request.state = 'sent'
"""


class SessionState(StrEnum):
    """What the accounting says of the session a request is about."""

    UNKNOWN = "unknown"
    LIVE = "live"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class DueRequest:
    """A row of the outbox we hold. `attempt` is which taking of it this is, from 1.

    `was_acked`: the NAS said yes before, and nothing came of it in time.
    """

    coa_request_id: int
    attempt: int
    action: Action
    reason: str
    username: str
    nas_address: IpAddress
    session_attributes: object  # JSON: an object of attribute names to values, if the producer did its part
    changes: object
    caused_at: datetime | None
    purpose: Purpose = Purpose.END
    profile_number: int = 0
    becomes_disconnect: bool = False
    failures: int = 0
    was_acked: bool = False
    is_superseded: bool = False
    session_state: SessionState = SessionState.UNKNOWN
    interim_interval_seconds: int | None = None
    is_only_session: bool = True
    nas_identifier: str | None = None  # as the NAS last reported it

    @property
    def action_now(self) -> Action:
        """What is asked of the NAS now: a change may have become a disconnect."""
        return Action.DISCONNECT if self.becomes_disconnect else self.action


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What became of one attempt, and what is next. Without `sent_at` nothing left and only the request is written.

    `state` is one of coa_request.state; `wait_seconds` None: it is settled.
    """

    coa_request_id: int
    attempt: int
    state: str
    outcome: str  # one sentence for people
    wait_seconds: float | None = None
    profile_number: int = 0
    becomes_disconnect: bool = False
    failures: int = 0
    action: str = "disconnect"
    result: str | None = None  # ack, nak, timeout or error
    profile: str = ""
    destination: str = ""
    identifier: int | None = None
    source_port: int | None = None
    sent_at: datetime | None = None
    transmissions: int = 0
    answered_at: datetime | None = None
    error_cause: int | None = None


def listen(connection: Connection) -> None:
    """Be told of new requests from now on."""
    with connection.cursor() as cursor:
        cursor.execute(LISTEN)


def take_due(
    connection: Connection, limit: int, lease_seconds: float, full_nas_addresses: Collection[IpAddress] = ()
) -> list[DueRequest]:
    """Take up to `limit` due requests for `lease_seconds`, oldest first; rows others hold are passed over."""
    parameters = {
        "limit": limit,
        "lease_seconds": lease_seconds,
        "full_nas_addresses": [str(address) for address in full_nas_addresses],
    }
    with connection.cursor() as cursor:
        cursor.execute(TAKE_DUE, parameters)
        rows = sorted(cursor.fetchall())
    return [_due_request(*row) for row in rows]


def seconds_to_next(connection: Connection, full_nas_addresses: Collection[IpAddress] = ()) -> float | None:
    """Return how long until the next request or lease is due (negative: overdue); None when there is none."""
    with connection.cursor() as cursor:
        addresses = [str(address) for address in full_nas_addresses]
        cursor.execute(SECONDS_TO_NEXT, {"full_nas_addresses": addresses})
        row = cursor.fetchone()
    return None if row is None else row[0]


def renew_leases(connection: Connection, held: Sequence[DueRequest], lease_seconds: float) -> None:
    """Keep what is in flight from being taken by another daemon."""
    _execute_for(connection, RENEW_LEASES, held, {"lease_seconds": lease_seconds})


def put_back(connection: Connection, held: Sequence[DueRequest]) -> None:
    """Make requests due again at once, for another daemon or for our next start."""
    _execute_for(connection, PUT_BACK, held, {})


def record_results(connection: Connection, records: Sequence[AttemptRecord]) -> None:
    """Write attempts and states, and what follows for sessions and their grants, all in one transaction."""
    gone = [record.coa_request_id for record in records if record.state == "gone"]
    lost = [record.coa_request_id for record in records if record.state in LOST_STATES]
    statements = [
        RECORD_RESULTS,
        *([CLOSE_GONE] if gone else ()),
        *([HOLD_RESERVATIONS, TELL] if lost else ()),
    ]
    results = json.dumps([asdict(record) for record in records], default=datetime.isoformat)
    with connection.cursor() as cursor:
        # One query string is one transaction (PostgreSQL, Frontend/Backend Protocol, Multiple Statements).
        cursor.execute(";".join(statements), {"results": results, "gone": gone, "lost": lost})


def _execute_for(
    connection: Connection, sql: str, held: Sequence[DueRequest], parameters: Mapping[str, Any]
) -> None:
    ids, attempts = [row.coa_request_id for row in held], [row.attempt for row in held]
    with connection.cursor() as cursor:
        cursor.execute(sql, {**parameters, "ids": ids, "attempts": attempts})


def _due_request(coa_request_id: int, attempt: int, action: str, *rest: Any) -> DueRequest:
    reason, username, nas_address, session_attributes, changes, caused_at, purpose, *progress = rest
    profile_number, becomes_disconnect, failures, was_acked, is_superseded, session_state, *known = progress
    interim_interval_seconds, is_only_session, nas_identifier = known
    return DueRequest(
        coa_request_id,
        attempt,
        Action(action),
        reason,
        username,
        ip_address(nas_address),
        session_attributes,
        changes,
        caused_at,
        Purpose(purpose),
        profile_number,
        becomes_disconnect,
        failures,
        was_acked,
        is_superseded,
        SessionState(session_state),
        interim_interval_seconds,
        is_only_session,
        nas_identifier,
    )
