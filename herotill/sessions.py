"""Sessions: the counters of one connection, which report belongs to which, and what a report changes.

The same function serves the meter, on rows of the database, and packet time, which lays reports the meter has not applied
yet over its snapshot.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from herotill.accounting import Report, Status
from herotill.grants import as_time, required_time
from herotill.metering import UNREAD, Meter, advance
from herotill.usage import Usage
from herotill.value import value

STALE = "Stale-Session"
REPLACED = "Replaced-Session"
"""Its device has logged in again (rule R6), and its router has not said Stop."""
_WITHOUT_STOP = (STALE, REPLACED)
NAS_RESTARTED = "NAS-Reboot"
REUSE_TOLERANCE = timedelta(seconds=30)
"""How much later a session must have begun to be another one: more than a NAS takes to repeat a Start without saying so."""
ROUNDING = timedelta(seconds=2)
"""How far a start derived from Acct-Session-Time may be off: both are whole seconds."""


@value
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

    A login id in Class decides. Without it, or where no session has it yet, a report belongs to the newest session that had
    begun by its own start, unless it tells of another one; a report from before every session belongs to none of them.
    """
    candidates = list(known)
    if not candidates:
        return None
    if len(candidates) > 1:
        candidates.sort(key=lambda session: (session.started_at, session.acct_unique_id), reverse=True)
    if login_id is not None:
        named = next((session for session in candidates if session.login_id == login_id), None)
        if named is not None:
            return named
        candidates = [session for session in candidates if session.login_id is None]
    begun = _begun_at(report)
    for session in candidates:
        if begun >= session.started_at - REUSE_TOLERANCE:
            return None if _is_another(report, begun, session) else session
    # What first told of a session may have come late and without Acct-Session-Time: it began before we thought.
    oldest = candidates[-1] if candidates else None
    return None if oldest is None or report.event_at < oldest.started_at - REUSE_TOLERANCE else oldest


def _begun_at(report: Report) -> datetime:
    return report.event_at - timedelta(seconds=report.seconds or 0)


def _is_another(report: Report, begun: datetime, session: Session) -> bool:
    """Whether a report that begins after a session's start is of a later one by the same name.

    A retransmission without Acct-Delay-Time seems to begin later too, and counting it as a session of its own would count
    its octets twice: so the other session must have begun when this one was over, or had reported for the last time.
    """
    if begun <= session.started_at + REUSE_TOLERANCE:
        return False
    if report.status is Status.START:
        return True
    was_over = begun >= (session.stopped_at or session.last_report_at) - ROUNDING
    restarted = session.stopped_at is not None and session.terminate_cause == NAS_RESTARTED
    # Zero is what a Stop with empty counters says (accel-ppp#273), not the age of a new session.
    fell_back = report.seconds is not None and 0 < report.seconds < session.meter.total.seconds
    return was_over and (restarted or fell_back)


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


def apply_report(session: Session, report: Report, login_id: str | None = None) -> tuple[Session, Usage]:
    """Return the session after the report, and what it newly used. Repeating a report uses nothing.

    `login_id` is what the report's Class names: a session that began without one has it from now on.
    """
    stopped_at, cause = _stopped(session, report)
    until = report.event_at if stopped_at is None else min(report.event_at, stopped_at)
    meter = advance(session.meter, report.reading(session.started_at, until))
    known, said = session.details, report.details
    after = Session(
        session.acct_unique_id,
        session.session_key,
        session.username,
        session.nas_address,
        session.acct_session_id,
        session.calling_station_id,
        session.login_id or login_id,
        session.started_at,
        max(session.last_report_at, report.received_at),
        meter,
        stopped_at,
        cause,
        known if said == known else {**known, **said},
    )
    return after, meter.total - session.meter.total


def _stopped(session: Session, report: Report) -> tuple[datetime | None, str | None]:
    if report.status is Status.STOP and (
        session.stopped_at is None or session.terminate_cause in _WITHOUT_STOP
    ):
        return report.event_at, report.terminate_cause or "Unknown"
    if report.status is Status.INTERIM and _goes_on(session, report):
        return None, None
    return session.stopped_at, session.terminate_cause


def _goes_on(session: Session, report: Report) -> bool:
    """Whether an interim shows a session alive that was closed without a Stop."""
    if session.stopped_at is None or session.terminate_cause in _WITHOUT_STOP:
        return True  # rule R32: it was only late
    # Some NASes say Accounting-On when their configuration is read again, and drop nobody.
    return session.terminate_cause == NAS_RESTARTED and report.event_at > session.stopped_at + REUSE_TOLERANCE


DETAIL_COLUMNS = (
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


SESSION_COLUMNS = (
    "acct_unique_id",
    "session_key",
    "username",
    "nas_address",
    "acct_session_id",
    "calling_station_id",
    "login_id",
    "started_at",
    "last_report_at",
    "input_octets",
    "output_octets",
    "session_seconds",
    "sends_gigawords",
    "stopped_at",
    "terminate_cause",
    *DETAIL_COLUMNS,
)
"""The columns of `radius.session` that make a Session, in the order `session_from_values` takes them."""


def session_from_values(row: Sequence[Any]) -> Session:
    """Read the SESSION_COLUMNS of a row of `radius.session`, from the database or from JSON."""
    return Session(
        row[0],
        row[1],
        row[2],
        str(row[3]),
        row[4],
        row[5],
        row[6],
        required_time(row[7]),
        required_time(row[8]),
        Meter(Usage(row[9], row[10], row[11]), row[12]),
        as_time(row[13]),
        row[14],
        {name: str(told) for name, told in zip(DETAIL_COLUMNS, row[15:], strict=True) if told},
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
        "Service-Type": session.details.get("service_type", ""),
    }
    return {name: value for name, value in named.items() if value}
