"""What `herotill explain` says of one account: what would happen now and why, what is left, what happened last.

Reads the schema radius only, with the same snapshot and the same `decide` that packet time uses; changes nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.decision import (
    Accept,
    GrantAllocation,
    LoginRequest,
    Prepare,
    Reject,
    ReserveSlice,
    StartFirstUse,
    decide,
)
from herotill.grants import Grant, grant_end, grant_ends_at, grant_from_row
from herotill.reasons import REPLY_MESSAGES, Reason
from herotill.snapshot import AccountSnapshot, snapshot_from_json
from sync_daemon.explaining_words import in_words, left_sentences, rule_of

SELECT_SNAPSHOT = "SELECT radius.account_snapshot(%s)"

SELECT_TOTALS = """
    SELECT coalesce(sum(input_octets), 0)::bigint, coalesce(sum(output_octets), 0)::bigint,
           coalesce(sum(seconds), 0)::bigint
    FROM radius.usage_interval WHERE username = %s
"""

SELECT_GRANTS = """
    SELECT * FROM radius.entitlement WHERE username = %(username)s
    ORDER BY ended_at DESC NULLS FIRST, granted_at DESC, entitlement_id DESC LIMIT %(limit)s
"""

# Every session, also those that have gone to the archive (sync_daemon/archive.py).
_SESSIONS = """(
        SELECT username, acct_session_id, nas_address, calling_station_id, started_at, stopped_at, terminate_cause,
               session_seconds, input_octets, output_octets
        FROM radius.session
        UNION ALL
        SELECT username, acctsessionid, nasipaddress, coalesce(callingstationid, ''), acctstarttime, acctstoptime,
               acctterminatecause, coalesce(acctsessiontime, 0), coalesce(acctinputoctets, 0), coalesce(acctoutputoctets, 0)
        FROM radius.radacct_archive) AS session"""

SELECT_SESSIONS = f"""
    SELECT acct_session_id, host(nas_address), calling_station_id, started_at, stopped_at, terminate_cause,
           session_seconds, input_octets, output_octets
    FROM {_SESSIONS} WHERE username = %(username)s ORDER BY started_at DESC LIMIT %(limit)s
"""  # noqa: S608 - ours

# One line for each thing that happened: when, what, and the figures that go with it.
SELECT_HISTORY = f"""
    SELECT at, event, detail FROM (
        (SELECT occurred_at AS at, CASE WHEN accepted THEN 'login' ELSE 'refused' END AS event,
                concat_ws(', ', reason, nullif(calling_station_id, ''), host(nas_address)) AS detail
         FROM radius.login_outcome WHERE username = %(username)s ORDER BY occurred_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT granted_at, 'granted', concat_ws(', ', plan_name, source)
         FROM radius.entitlement WHERE username = %(username)s ORDER BY granted_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT occurred_at, CASE kind WHEN 'transfer' THEN 'given away' ELSE 'notice' END,
                CASE kind WHEN 'transfer' THEN concat(details ->> 'octets', ' octets to ', details ->> 'to')
                ELSE concat(details ->> 'percent', ' %% used') END
         FROM radius.access_event WHERE username = %(username)s AND kind IN ('usage_notice', 'transfer')
         ORDER BY occurred_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT first_used_at, 'first use', plan_name
         FROM radius.entitlement WHERE username = %(username)s AND first_used_at IS NOT NULL
         ORDER BY first_used_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT ended_at, 'ended', concat_ws(', ', plan_name, ended_reason)
         FROM radius.entitlement WHERE username = %(username)s AND ended_at IS NOT NULL
         ORDER BY ended_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT started_at, 'online', concat_ws(', ', 'session ' || acct_session_id, nullif(calling_station_id, ''))
         FROM {_SESSIONS} WHERE username = %(username)s ORDER BY started_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT stopped_at, 'offline', concat_ws(', ', 'session ' || acct_session_id, terminate_cause,
                input_octets + output_octets || ' octets')
         FROM {_SESSIONS} WHERE username = %(username)s AND stopped_at IS NOT NULL
         ORDER BY stopped_at DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT created_at, action, concat_ws(', ', reason, session_attributes ->> 'Acct-Session-Id', state, outcome)
         FROM radius.coa_request WHERE username = %(username)s ORDER BY created_at DESC LIMIT %(limit)s)
    ) AS history
    ORDER BY at DESC, event LIMIT %(limit)s
"""  # noqa: S608 - ours


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history."""

    at: datetime
    event: str
    detail: str


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One session as it was metered; octets as the NAS counted them."""

    acct_session_id: str
    nas_address: str
    calling_station_id: str
    started_at: datetime
    stopped_at: datetime | None
    terminate_cause: str | None
    session_seconds: int
    input_octets: int
    output_octets: int


@dataclass(frozen=True, slots=True)
class GrantLine:
    """One grant, living or ended; a remainder of None is unlimited."""

    plan_name: str
    source: str
    state: str
    used_octets: int
    remaining_octets: int | None
    remaining_seconds: int | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything `explain` says; `verdict` is for people, `reason` for machines."""

    username: str
    known: bool
    kind: str | None
    status: str | None
    group: str | None
    would_accept: bool
    reason: str
    verdict: tuple[str, ...]
    input_octets: int
    output_octets: int
    seconds: int
    grants: tuple[GrantLine, ...]
    sessions: tuple[SessionLine, ...]
    history: tuple[Event, ...]


def explain_account(cursor: Cursor, username: str, now: datetime, limit: int) -> Explanation:
    """Explain one account, known or not."""
    cursor.execute(SELECT_SNAPSHOT, (username,))
    document = _only_row(cursor)[0]
    snapshot = None if document is None else snapshot_from_json(document)
    would_accept, reason, verdict = _verdict(snapshot, now)
    cursor.execute(SELECT_TOTALS, (username,))
    input_octets, output_octets, seconds = _only_row(cursor)
    cursor.execute(SELECT_GRANTS, {"username": username, "limit": limit})
    names = [column.name for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    grants = tuple(_grant_line(grant_from_row(row), now) for row in rows)
    cursor.execute(SELECT_SESSIONS, {"username": username, "limit": limit})
    sessions = tuple(SessionLine(*row) for row in cursor.fetchall())
    cursor.execute(SELECT_HISTORY, {"username": username, "limit": limit})
    return Explanation(
        username=username,
        known=snapshot is not None,
        kind=None if snapshot is None else str(snapshot.kind),
        status=None if snapshot is None else str(snapshot.status),
        group=None if snapshot is None else snapshot.group,
        would_accept=would_accept,
        reason=reason,
        verdict=(*verdict, *left_sentences(grants)),
        input_octets=input_octets,
        output_octets=output_octets,
        seconds=seconds,
        grants=grants,
        sessions=sessions,
        history=tuple(in_words(Event(*row)) for row in cursor.fetchall()),
    )


def _only_row(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - an aggregate or a function call returns one row
    return row


def _verdict(snapshot: AccountSnapshot | None, now: datetime) -> tuple[bool, Reason, tuple[str, ...]]:
    """Say what a login with the right password would meet now, from a device that is not online."""
    if snapshot is None:
        return False, Reason.UNKNOWN_USER, ("A login would be refused: nobody has this name.",)
    decision = decide(LoginRequest(snapshot.username, login_id=""), snapshot, now)
    match decision:
        case Accept(reason=reason):
            return True, reason, ("A login would be accepted.", *_ACCEPT_SENTENCES.get(reason, ()))
        case Reject(reason):
            return False, reason, (f"A login would be refused: {REPLY_MESSAGES[reason]}{rule_of(reason)}",)
        case Prepare(step):
            return True, Reason.ACCEPTED, ("A login would be accepted.", _step_sentence(step))


_ACCEPT_SENTENCES = {
    Reason.RESTRICTED: ("Only into the restricted pool: what was bought is used up or over (rule R16).",),
    Reason.THROTTLED: ("Only at the throttled rates: what was bought is used up or over (rule R16).",),
    Reason.SUSPENDED_POOL: ("Only into the suspended pool: a bill is unpaid (rule R24).",),
}


def _step_sentence(step: GrantAllocation | StartFirstUse | ReserveSlice) -> str:
    match step:
        case GrantAllocation():
            return "The group's allocation of this period would be granted first (rule R17)."
        case StartFirstUse():
            return "It would be the first use, and the clock would start (rule R13)."
        case ReserveSlice(octets=octets):
            return f"A slice of {octets} octets would be reserved for it (rule R15)."


def _grant_line(grant: Grant, now: datetime) -> GrantLine:
    end = grant_end(grant, now)
    unused = grant.first_used_at is None
    state = f"ended: {end}" if end is not None else ("not used yet" if unused else "in use")
    ends_at = grant.ended_at or (None if unused and grant.expires_at is None else grant_ends_at(grant, now))
    return GrantLine(
        grant.plan_name,
        grant.source,
        state,
        grant.used_octets,
        grant.remaining_octets,
        grant.remaining_seconds,
        ends_at,
    )
