"""The outbox in the database: take due requests, keep their lease, find their NAS, record what became of them.

Every function is one short statement on an autocommit connection. A row taken is `sent` with `next_attempt_at` as the
end of its lease; whoever holds it renews the lease, and a row whose lease ran out belongs to whoever takes it next.
`attempts` grows with each taking and so tells the holder from a former one: a daemon that was paused past its lease
cannot overwrite what another has done since.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from herotill.nas import network_of
from sync_daemon.coa.packets import Action

CHANNEL = "herotill_coa"

LISTEN = f"LISTEN {CHANNEL}"

# Losing the lease in a crash of PostgreSQL means sending a request twice, which a NAS answers with 503; waiting for the
# disk would cost each disconnect milliseconds. NASes with a full backlog here are left to other daemons and to later.
TAKE_DUE = """
SET LOCAL synchronous_commit = off;
WITH due AS (
    SELECT coa_request_id
    FROM radius.coa_request
    WHERE state IN ('pending', 'sent')
      AND next_attempt_at <= statement_timestamp()
      AND nas_address <> ALL (%(full_nas_addresses)s::inet[])
    ORDER BY next_attempt_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE radius.coa_request AS request
SET state = 'sent',
    attempts = attempts + 1,
    next_attempt_at = clock_timestamp() + make_interval(secs => %(lease_seconds)s)
FROM due
WHERE request.coa_request_id = due.coa_request_id
RETURNING request.coa_request_id, request.attempts, request.action, request.reason, request.username,
          host(request.nas_address), request.session_attributes, request.changes, request.caused_at
"""

# statement_timestamp() and not clock_timestamp(): only a stable function lets the index coa_request_due end the scan.
SECONDS_TO_NEXT = """
SELECT EXTRACT(EPOCH FROM min(next_attempt_at) - statement_timestamp())::double precision
FROM radius.coa_request
WHERE state IN ('pending', 'sent')
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

# Exact addresses by the index; networks and IPv6, which people write in many ways, are compared by us.
# nasname is text that anybody may have edited, so it is never cast here: one bad name must not stop all requests.
FIND_NASES = """
SELECT nas.nasname, nas.shortname, nas.type, COALESCE(profile.coa_secret, nas.secret),
       COALESCE(profile.coa_port, 3799), host(profile.coa_address)
FROM radius.nas
LEFT JOIN radius.nas_profile AS profile ON profile.nas_id = nas.id
WHERE nas.nasname = ANY (%(addresses)s)
   OR position('/' IN nas.nasname) > 0
   OR position(':' IN nas.nasname) > 0
ORDER BY nas.id
"""

# The attempt is kept even when the lease was lost meanwhile: it did happen. The Stop may have come before the ACK was
# recorded; a state the meter set is left alone. Recording again after a broken connection changes nothing.
RECORD_RESULTS = """
WITH result AS (
    SELECT *
    FROM jsonb_to_recordset(%(results)s::jsonb) AS r (
        coa_request_id bigint, attempt integer, profile text, destination text, identifier smallint,
        sent_at timestamptz, transmissions smallint, answered_at timestamptz,
        result text, error_cause integer, state text, outcome text)
), recorded AS (
    INSERT INTO radius.coa_attempt (coa_request_id, attempt, profile, destination, identifier, sent_at,
                                    transmissions, answered_at, result, error_cause)
    SELECT coa_request_id, attempt, profile, destination, identifier, sent_at,
           transmissions, answered_at, result, result.error_cause
    FROM result
    JOIN radius.coa_request USING (coa_request_id)
    WHERE sent_at IS NOT NULL
    ON CONFLICT DO NOTHING
)
UPDATE radius.coa_request AS request
SET state = result.state,
    error_cause = result.error_cause,
    outcome = result.outcome,
    finished_at = COALESCE(result.answered_at, clock_timestamp())
FROM result
WHERE request.coa_request_id = result.coa_request_id
  AND request.attempts = result.attempt
  AND request.state = 'sent'
"""

IpAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class DueRequest:
    """A row of the outbox we hold. `attempt` is which taking of it this is, from 1."""

    coa_request_id: int
    attempt: int
    action: Action
    reason: str
    username: str
    nas_address: IpAddress
    session_attributes: object  # JSON: an object of attribute names to values, if the producer did its part
    changes: object
    caused_at: datetime | None


@dataclass(frozen=True, slots=True)
class NasTarget:
    """Where and how one NAS takes dynamic authorization. `coa_address` None means where its packets come from."""

    nasname: str
    shortname: str
    nas_type: str
    secret: bytes = field(repr=False)
    coa_port: int
    coa_address: IpAddress | None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What became of one attempt. Without `sent_at` nothing left and only the request's state is written."""

    coa_request_id: int
    attempt: int
    state: str  # acked, naked, timed_out or failed
    outcome: str  # one sentence for people
    result: str | None = None  # ack, nak, timeout or error
    profile: str = ""
    destination: str = ""
    identifier: int | None = None
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


def find_nases(connection: Connection, nas_addresses: Collection[IpAddress]) -> dict[IpAddress, NasTarget]:
    """Find the NAS of each address: the longest matching nasname, an address or a network. Unknown ones are left out."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_NASES, {"addresses": [str(address) for address in nas_addresses]})
        rows = cursor.fetchall()
    targets = [_target(*row) for row in rows]
    best = {address: longest_match(address, targets) for address in nas_addresses}
    return {address: target for address, target in best.items() if target is not None}


def longest_match(address: IpAddress, targets: Sequence[NasTarget]) -> NasTarget | None:
    """Choose the target whose nasname holds the address most narrowly; of equals the first. Bad names match nothing."""
    lengths = [(_match_length(address, target.nasname), target) for target in targets]
    matching = [(length, target) for length, target in lengths if length is not None]
    return max(matching, key=lambda pair: pair[0])[1] if matching else None


def record_results(connection: Connection, records: Sequence[AttemptRecord]) -> None:
    """Write attempts and final states, all in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(RECORD_RESULTS, {"results": json.dumps([_row(record) for record in records])})


def _execute_for(
    connection: Connection, sql: str, held: Sequence[DueRequest], parameters: Mapping[str, Any]
) -> None:
    ids, attempts = [row.coa_request_id for row in held], [row.attempt for row in held]
    with connection.cursor() as cursor:
        cursor.execute(sql, {**parameters, "ids": ids, "attempts": attempts})


def _due_request(coa_request_id: int, attempt: int, action: str, *rest: Any) -> DueRequest:
    reason, username, nas_address, session_attributes, changes, caused_at = rest
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
    )


def _target(
    nasname: str, shortname: str, nas_type: str, secret: str, coa_port: int, coa_address: str | None
) -> NasTarget:
    address = None if coa_address is None else ip_address(coa_address)
    return NasTarget(nasname, shortname, nas_type, secret.encode(), coa_port, address)


def _match_length(address: IpAddress, nasname: str) -> int | None:
    network = network_of(nasname)
    return network.prefixlen if network is not None and address in network else None


def _row(record: AttemptRecord) -> dict[str, object]:
    return {
        "coa_request_id": record.coa_request_id,
        "attempt": record.attempt,
        "profile": record.profile,
        "destination": record.destination,
        "identifier": record.identifier,
        "sent_at": record.sent_at and record.sent_at.isoformat(),
        "transmissions": record.transmissions,
        "answered_at": record.answered_at and record.answered_at.isoformat(),
        "result": record.result,
        "error_cause": record.error_cause,
        "state": record.state,
        "outcome": record.outcome,
    }
