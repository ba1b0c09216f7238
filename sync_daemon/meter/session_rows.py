"""Rows of radius.session, and beside each the row that rlm_sql would have written, for every tool that reads radacct."""

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.sessions import DETAIL_COLUMNS, Session
from sync_daemon.prepared import Prepared

_ADVANCE = {
    "acct_unique_id": "text",
    "last_report_at": "timestamptz",
    "stopped_at": "timestamptz",
    "terminate_cause": "text",
    "session_seconds": "bigint",
    "input_octets": "bigint",
    "output_octets": "bigint",
    "sends_gigawords": "boolean",
}
"""What a report changes of a session that is known: columns and their types."""

_SAID = ("session_key", "username", "acct_session_id", "calling_station_id", "login_id", *DETAIL_COLUMNS)
_ADDRESSES = (
    "nas_address", "framed_ip_address", "framed_ipv6_address", "framed_ipv6_prefix", "delegated_ipv6_prefix",
)  # fmt: skip
_WHOLE = (
    _ADVANCE
    | dict.fromkeys(_SAID, "text")
    | dict.fromkeys(_ADDRESSES, "inet")
    | {"started_at": "timestamptz"}
)


def _arrays(columns: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{kind}[]" for kind in columns.values())


def _rows(columns: Mapping[str, str]) -> str:
    parameters = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"v AS MATERIALIZED (SELECT * FROM unnest({parameters}) AS v ({', '.join(columns)}))"  # noqa: S608 - ours


# How often a session reports is what was seen last (rule R32); a packet that came twice is no report of its own.
# An account nobody manages has no row to lock: two nodes may write its session at once. Counters only rise.
ADVANCE_SESSIONS = Prepared(
    "advance_sessions",
    _arrays(_ADVANCE),
    f"""
    WITH {_rows(_ADVANCE)},
    advanced AS (
        UPDATE radius.session s SET
            last_report_at = v.last_report_at, stopped_at = v.stopped_at, terminate_cause = v.terminate_cause,
            session_seconds = GREATEST(s.session_seconds, v.session_seconds),
            input_octets = GREATEST(s.input_octets, v.input_octets),
            output_octets = GREATEST(s.output_octets, v.output_octets), sends_gigawords = v.sends_gigawords,
            interim_interval_seconds = CASE
                WHEN v.stopped_at IS NULL AND v.last_report_at > s.last_report_at + interval '5 seconds'
                THEN EXTRACT(epoch FROM v.last_report_at - s.last_report_at)::integer
                ELSE s.interim_interval_seconds END
        FROM v WHERE s.acct_unique_id = v.acct_unique_id RETURNING 1),
    archived AS (
        UPDATE radius.radacct a SET
            acctupdatetime = v.last_report_at, acctstoptime = v.stopped_at, acctterminatecause = v.terminate_cause,
            acctinterval = EXTRACT(epoch FROM v.last_report_at - a.acctupdatetime)::bigint,
            acctsessiontime = v.session_seconds, acctinputoctets = v.input_octets, acctoutputoctets = v.output_octets
        FROM v WHERE a.acctuniqueid = v.acct_unique_id RETURNING 1)
    SELECT (SELECT count(*) FROM advanced) = cardinality($1) AND (SELECT count(*) FROM archived) = cardinality($1)
    """,  # noqa: S608 - the columns are ours
)

_INSERT = f"""
    WITH {_rows(_WHOLE)},
    online AS (
        INSERT INTO radius.session ({", ".join(_WHOLE)}) SELECT {", ".join(_WHOLE)} FROM v
        ON CONFLICT (acct_unique_id) %s)
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
    FROM v
    ON CONFLICT (acctuniqueid) %s
"""  # noqa: S608 - the columns are ours

WRITE_SESSIONS = Prepared(
    "write_sessions",
    _arrays(_WHOLE),
    _INSERT
    % (
        """DO UPDATE SET
            nas_port_id = EXCLUDED.nas_port_id, framed_ip_address = EXCLUDED.framed_ip_address,
            framed_ipv6_address = EXCLUDED.framed_ipv6_address, framed_ipv6_prefix = EXCLUDED.framed_ipv6_prefix,
            delegated_ipv6_prefix = EXCLUDED.delegated_ipv6_prefix, login_id = EXCLUDED.login_id,
            started_at = EXCLUDED.started_at, last_report_at = EXCLUDED.last_report_at,
            stopped_at = EXCLUDED.stopped_at, terminate_cause = EXCLUDED.terminate_cause,
            session_seconds = GREATEST(session.session_seconds, EXCLUDED.session_seconds),
            input_octets = GREATEST(session.input_octets, EXCLUDED.input_octets),
            output_octets = GREATEST(session.output_octets, EXCLUDED.output_octets),
            sends_gigawords = EXCLUDED.sends_gigawords""",
        """DO UPDATE SET
        acctstarttime = EXCLUDED.acctstarttime, acctupdatetime = EXCLUDED.acctupdatetime,
        acctstoptime = EXCLUDED.acctstoptime,
        acctinterval = EXTRACT(epoch FROM EXCLUDED.acctupdatetime - radacct.acctupdatetime)::bigint,
        acctsessiontime = EXCLUDED.acctsessiontime, acctinputoctets = EXCLUDED.acctinputoctets,
        acctoutputoctets = EXCLUDED.acctoutputoctets, acctterminatecause = EXCLUDED.acctterminatecause,
        framedipaddress = EXCLUDED.framedipaddress, framedipv6address = EXCLUDED.framedipv6address,
        framedipv6prefix = EXCLUDED.framedipv6prefix, delegatedipv6prefix = EXCLUDED.delegatedipv6prefix""",
    ),
)

# Somebody has removed rows of sessions that still report.
RESTORE_SESSIONS = Prepared("restore_sessions", _arrays(_WHOLE), _INSERT % ("DO NOTHING", "DO NOTHING"))


def write_sessions(cursor: Cursor, sessions: Iterable[Session], before: Mapping[str, Session]) -> None:
    """Write sessions that reports have changed; `before` are those of them that were there."""
    # In one order, so that two nodes that write the same ones never wait for each other.
    ordered = sorted(sessions, key=lambda session: session.acct_unique_id)
    advanced = [one for one in ordered if _has_only_advanced(one, before.get(one.acct_unique_id))]
    if advanced:
        ADVANCE_SESSIONS.execute_rows(cursor, map(_advance_row, advanced))
        if cursor.fetchone() != (True,):
            RESTORE_SESSIONS.execute_rows(cursor, map(_whole_row, advanced))
    if len(advanced) < len(ordered):
        said = {session.acct_unique_id for session in advanced}
        others = (session for session in ordered if session.acct_unique_id not in said)
        WRITE_SESSIONS.execute_rows(cursor, map(_whole_row, others))


def _has_only_advanced(session: Session, before: Session | None) -> bool:
    """Whether nothing but counters, times and the end may differ, as with nearly every interim."""
    if before is None or session.login_id != before.login_id:
        return False
    return session.details is before.details or session.details == before.details


def _advance_row(s: Session) -> tuple[Any, ...]:
    total = s.meter.total
    return (
        s.acct_unique_id, s.last_report_at, s.stopped_at, s.terminate_cause, total.seconds, total.input_octets,
        total.output_octets, s.meter.sends_gigawords,
    )  # fmt: skip


def _whole_row(s: Session) -> tuple[Any, ...]:
    details = {"called_station_id": ""} | s.details
    return (
        *_advance_row(s), s.session_key, s.username, s.acct_session_id, s.calling_station_id, s.login_id,
        *map(details.get, DETAIL_COLUMNS), s.nas_address, s.started_at,
    )  # fmt: skip
