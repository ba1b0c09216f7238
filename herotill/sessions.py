"""Sessions: the counters of one connection, which report belongs to which, and what a report changes.

The same function serves the meter, on rows of the database, and packet time, which lays reports the meter has not applied
yet over its snapshot.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from herotill.accounting import Report, Status
from herotill.grants import as_time
from herotill.metering import UNREAD, Meter, advance
from herotill.usage import Usage

STALE = "Stale-Session"
NAS_RESTARTED = "NAS-Reboot"
REUSE_TOLERANCE = timedelta(seconds=30)
"""How much later a session must have begun to be another one: more than a NAS takes to repeat a Start without saying so."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session and its counters (table `radius.session`). Stopped sessions keep counting late reports upwards."""

    acct_unique_id: str
    session_key: str
    username: str
    nas_address: str
    acct_session_id: str
    calling_station_id: str
    login_id: str | None
    started_at: datetime
    last_report_at: datetime
    meter: Meter = UNREAD
    stopped_at: datetime | None = None
    terminate_cause: str | None = None
    details: dict[str, str] = field(default_factory=dict)


def session_of(report: Report, login_id: str | None, known: Iterable[Session]) -> Session | None:
    """Return the session a report belongs to among those its NAS calls by the same name, or None: it is a new one.

    A login id in Class decides. Without it a report belongs to the newest session that had begun by its own start;
    one that began clearly later than a session that is over, or that starts from nothing, is another session.
    """
    candidates = sorted(known, key=lambda session: session.started_at, reverse=True)
    if login_id is not None:
        named = [session for session in candidates if session.login_id in (login_id, None)]
        return next((s for s in named if s.login_id == login_id), named[0] if named else None)
    begun = _begun_at(report)
    for session in candidates:
        if begun >= session.started_at - REUSE_TOLERANCE:
            return None if _is_another(report, begun, session) else session
    return candidates[-1] if candidates else None


def _begun_at(report: Report) -> datetime:
    return report.event_at - timedelta(seconds=report.seconds or 0)


def _is_another(report: Report, begun: datetime, session: Session) -> bool:
    if begun <= session.started_at + REUSE_TOLERANCE:
        return False
    starts_over = report.status is Status.START
    restarted = session.stopped_at is not None and session.terminate_cause == NAS_RESTARTED
    fell_back = report.seconds is not None and report.seconds < session.meter.total.seconds
    return starts_over or restarted or (fell_back and session.stopped_at is not None)


def begin_session(report: Report, username: str, login_id: str | None) -> Session:
    """Return the session that this first report opens, before its counters are applied."""
    begun = _begun_at(report)
    identity = f"{report.session_key}\0{login_id or begun.timestamp()}"
    return Session(
        acct_unique_id=hashlib.md5(identity.encode(), usedforsecurity=False).hexdigest(),
        session_key=report.session_key,
        username=username,
        nas_address=report.nas_address,
        acct_session_id=report.acct_session_id,
        calling_station_id=report.calling_station_id,
        login_id=login_id,
        started_at=begun,
        last_report_at=report.received_at,
    )


def apply_report(session: Session, report: Report) -> tuple[Session, Usage]:
    """Return the session after the report, and what it newly used. Repeating a report uses nothing."""
    meter = advance(session.meter, report.reading(session.started_at))
    stopped_at, cause = _stopped(session, report)
    after = replace(
        session,
        meter=meter,
        last_report_at=max(session.last_report_at, report.received_at),
        stopped_at=stopped_at,
        terminate_cause=cause,
        details={**session.details, **report.details},
    )
    return after, meter.total - session.meter.total


def _stopped(session: Session, report: Report) -> tuple[datetime | None, str | None]:
    if report.status is Status.STOP and (session.stopped_at is None or session.terminate_cause == STALE):
        return report.event_at, report.terminate_cause or "Unknown"
    if session.terminate_cause == STALE and report.status is Status.INTERIM:
        return None, None  # rule R32: it was only late
    return session.stopped_at, session.terminate_cause


_DETAIL_COLUMNS = (
    "called_station_id",
    "framed_ip_address",
    "framed_ipv6_address",
    "framed_ipv6_prefix",
    "delegated_ipv6_prefix",
    "nas_identifier",
    "nas_port_id",
    "nas_port_type",
    "service_type",
    "framed_protocol",
)


def session_from_row(row: Mapping[str, Any]) -> Session:
    """Read a row of `radius.session`, from the database or from JSON."""
    started_at, last_report_at = as_time(row["started_at"]), as_time(row["last_report_at"])
    if started_at is None or last_report_at is None:
        raise ValueError("a session has started_at and last_report_at")
    return Session(
        acct_unique_id=row["acct_unique_id"],
        session_key=row["session_key"],
        username=row["username"],
        nas_address=str(row["nas_address"]),
        acct_session_id=row["acct_session_id"],
        calling_station_id=row["calling_station_id"],
        login_id=row["login_id"],
        started_at=started_at,
        last_report_at=last_report_at,
        meter=Meter(
            Usage(row["input_octets"], row["output_octets"], row["session_seconds"]), row["sends_gigawords"]
        ),
        stopped_at=as_time(row["stopped_at"]),
        terminate_cause=row["terminate_cause"],
        details={name: str(row[name]) for name in _DETAIL_COLUMNS if row[name]},
    )


def identifying_attributes(session: Session) -> dict[str, str]:
    """Return every attribute that can name this session to its NAS (RFC 5176 §3); the CoA profile picks among them."""
    named = {
        "User-Name": session.username,
        "Acct-Session-Id": session.acct_session_id,
        "Calling-Station-Id": session.calling_station_id,
        "Framed-IP-Address": session.details.get("framed_ip_address", ""),
        "Framed-IPv6-Prefix": session.details.get("framed_ipv6_prefix", ""),
        "NAS-Port-Id": session.details.get("nas_port_id", ""),
        "Called-Station-Id": session.details.get("called_station_id", ""),
    }
    return {name: value for name, value in named.items() if value}
