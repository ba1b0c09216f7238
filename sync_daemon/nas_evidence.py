"""What the database has seen of one NAS: its sessions, its logins, and what it answered. Reads only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.errors import Refused
from herotill.nas import network_of

RECENT_LOGINS = 200_000
RECENT_REQUESTS = 500
LONG_SESSION_SECONDS = 1_200
"""After two of RFC 2869's ten minutes an interim should have come."""
SIGNED_FOR = timedelta(days=1)
"""So long nothing unsigned may come, before a router that did not sign counts as one that does: it may sign for one of its
services and not for another."""

SELECT_NAS = """
    SELECT n.nasname, n.type, n.secret, coalesce(p.coa_port, 3799), host(p.coa_address), p.coa_secret,
           coalesce(p.coa_state, 'unknown'), p.coa_failure
    FROM radius.nas n LEFT JOIN radius.nas_profile p ON p.nas_id = n.id WHERE n.shortname = %(name)s
"""
# Also of sessions that have ended; retention bounds how many these are.
SELECT_SESSIONS = """
    SELECT count(*), count(*) FILTER (WHERE stopped_at IS NULL), max(last_report_at),
           count(*) FILTER (WHERE session_seconds >= %(long)s),
           count(*) FILTER (WHERE session_seconds >= %(long)s AND interim_interval_seconds IS NULL),
           (percentile_disc(0.5) WITHIN GROUP (ORDER BY interim_interval_seconds))::integer,
           count(*) FILTER (WHERE sends_gigawords), count(*) FILTER (WHERE login_id IS NOT NULL),
           count(*) FILTER (WHERE framed_ip_address IS NOT NULL),
           coalesce(sum(input_octets), 0)::bigint, coalesce(sum(output_octets), 0)::bigint
    FROM radius.session WHERE nas_address <<= %(network)s::inet
"""
SELECT_LOGINS = """
    WITH recent AS (
        SELECT accepted, unsigned, occurred_at FROM radius.login_outcome
        WHERE login_outcome_id > (SELECT coalesce(max(login_outcome_id), 0) - %(recent)s FROM radius.login_outcome)
          AND nas_address <<= %(network)s::inet)
    SELECT count(*), count(*) FILTER (WHERE accepted), count(*) FILTER (WHERE unsigned),
           count(*) FILTER (WHERE occurred_at > (SELECT max(occurred_at) FROM recent WHERE unsigned)),
           max(occurred_at), max(occurred_at) FILTER (WHERE unsigned)
    FROM recent
"""
SELECT_SIGNATURES = """
    SELECT host(nas_address), count(*), count(*) FILTER (WHERE unsigned), max(occurred_at),
           max(occurred_at) FILTER (WHERE unsigned)
    FROM radius.login_outcome
    WHERE login_outcome_id > (SELECT coalesce(max(login_outcome_id), 0) - %(recent)s FROM radius.login_outcome)
      AND nas_address IS NOT NULL
    GROUP BY nas_address ORDER BY 3 DESC, nas_address
"""
SELECT_ANSWERS = """
    SELECT attempt.action, attempt.destination, attempt.profile, attempt.result, attempt.error_cause, count(*),
           max(attempt.sent_at)
    FROM (SELECT coa_request_id FROM radius.coa_request WHERE nas_address <<= %(network)s::inet
          ORDER BY created_at DESC LIMIT %(recent)s) AS request
    JOIN radius.coa_attempt AS attempt USING (coa_request_id)
    GROUP BY 1, 2, 3, 4, 5 ORDER BY max(attempt.sent_at) DESC
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """How often a kind of request had one kind of answer; `profile` is the way the session was named."""

    action: str
    destination: str
    profile: str
    result: str
    error_cause: int | None
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything seen of a NAS. Octets as metered: input is the upload, whatever the NAS calls it."""

    sessions: int
    live_sessions: int
    last_report_at: datetime | None
    long_sessions: int
    long_without_interim: int
    interim_seconds: int | None
    with_gigawords: int
    with_class: int
    with_address: int
    input_octets: int
    output_octets: int
    logins: int = 0
    accepted: int = 0
    unsigned: int = 0
    signed_since: int = 0
    last_login_at: datetime | None = None
    last_unsigned_at: datetime | None = None
    answers: tuple[Answered, ...] = ()

    @property
    def still_unsigned(self) -> bool:
        """Whether it cannot be trusted to sign yet."""
        return is_still_unsigned(self.last_login_at, self.last_unsigned_at)


@dataclass(frozen=True, slots=True)
class Signatures:
    """How many of the logins that an address asked for lately came without Message-Authenticator."""

    address: str
    logins: int
    unsigned: int
    last_login_at: datetime
    last_unsigned_at: datetime | None

    @property
    def still_unsigned(self) -> bool:
        """Whether it cannot be trusted to sign yet."""
        return is_still_unsigned(self.last_login_at, self.last_unsigned_at)


@dataclass(frozen=True, slots=True)
class EnteredNas:
    """The NAS as it was entered."""

    name: str
    address: str
    nas_type: str
    coa_secret: str
    coa_port: int
    coa_address: str | None
    coa_state: str
    coa_failure: str | None

    def __repr__(self) -> str:
        """Name it without its secret."""
        return f"EnteredNas({self.name!r}, {self.address!r})"


def is_still_unsigned(last_login_at: datetime | None, last_unsigned_at: datetime | None) -> bool:
    """Whether somebody who sent unsigned requests may still do so; without any of later, nothing says otherwise."""
    if last_unsigned_at is None:
        return False
    return last_login_at is None or last_login_at - last_unsigned_at < SIGNED_FOR


def find_nas(cursor: Cursor, name: str) -> EnteredNas:
    """Return the NAS of a name. Raises Refused where there is none, or its address is no address."""
    cursor.execute(SELECT_NAS, {"name": name})
    row = cursor.fetchone()
    if row is None:
        raise Refused(f"there is no NAS named {name}; herotill nas list shows them", rule="R33")
    nasname, nas_type, secret, port, address, coa_secret, state, failure = row
    if network_of(nasname) is None:
        raise Refused(
            f"{name} has {nasname!r} for an address: herotill nas edit {name} --address ADDRESS", rule="R33"
        )
    return EnteredNas(name, nasname, nas_type, coa_secret or secret, port, address, state, failure)


def read_evidence(cursor: Cursor, nas: EnteredNas) -> Evidence:
    """Return what was seen of this NAS's address or network."""
    wanted = {
        "network": str(network_of(nas.address)), "long": LONG_SESSION_SECONDS, "recent": RECENT_LOGINS,
    }  # fmt: skip
    sessions = _only_row(cursor, SELECT_SESSIONS, wanted)
    logins = _only_row(cursor, SELECT_LOGINS, wanted)
    cursor.execute(SELECT_ANSWERS, wanted | {"recent": RECENT_REQUESTS})
    answers = tuple(Answered(*row) for row in cursor.fetchall())
    return Evidence(*(*sessions, *logins, answers))


def read_signatures(cursor: Cursor) -> tuple[Signatures, ...]:
    """Return of every address how it signed lately, those who did not most first."""
    cursor.execute(SELECT_SIGNATURES, {"recent": RECENT_LOGINS})
    return tuple(Signatures(*row) for row in cursor.fetchall())


def _only_row(cursor: Cursor, statement: str, values: dict[str, Any]) -> tuple[Any, ...]:
    cursor.execute(statement, values)
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - aggregates return one row
    return row
