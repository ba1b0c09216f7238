"""Reports that are journalled but not metered yet, laid over a snapshot: a login right after a Stop sees that Stop."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from herotill.accounting import Report
from herotill.grants import Burn, Grant, burn, with_end_written
from herotill.multiplier import PER_MILLE, charged_usage
from herotill.sessions import Session, apply_report, begin_session, session_of
from herotill.snapshot import AccountSnapshot, Reservation

Charged = tuple[Report, str | None, int]
"""A report, the login its Class names, and its NAS's multiplier in thousandths."""


def lay_over(snapshot: AccountSnapshot, reports: Iterable[Charged]) -> AccountSnapshot:
    """Return the snapshot as it will be once these reports are metered."""
    sessions = {session.acct_unique_id: session for session in snapshot.sessions}
    reservations = {reservation.login_id: reservation for reservation in snapshot.reservations}
    grants = snapshot.grants
    for report, login_id, per_mille in reports:
        known = [s for s in sessions.values() if s.session_key == report.session_key]
        session = session_of(report, login_id, known) or begin_session(report, snapshot.username, login_id)
        after, usage = apply_report(session, report, login_id)
        if per_mille != PER_MILLE:
            usage = charged_usage(session.meter.total, after.meter.total, per_mille)
        sessions[after.acct_unique_id] = after
        held = reservations.get(after.login_id or "")
        burns = burn(grants, usage, report.event_at, None if held is None else held.grant_id) if usage else []
        grants = tuple(with_end_written(grant, report.received_at) for grant in _after_burns(grants, burns))
        if held is not None:
            _settle(reservations, held, burns, after, report)
    live = tuple(session for session in sessions.values() if session.stopped_at is None)
    return replace(snapshot, sessions=live, grants=grants, reservations=tuple(reservations.values()))


def without_lost_sessions(snapshot: AccountSnapshot, restarted_at: Mapping[str, datetime]) -> AccountSnapshot:
    """Return the snapshot without the sessions that began before their NAS restarted, which it therefore lost."""
    kept = tuple(
        session
        for session in snapshot.sessions
        if (restart := restarted_at.get(session.nas_address)) is None
        or session.started_at >= restart
        or session.last_report_at > restart
    )
    return snapshot if len(kept) == len(snapshot.sessions) else replace(snapshot, sessions=kept)


def with_pending_logins(snapshot: AccountSnapshot, pending: Iterable[Session]) -> AccountSnapshot:
    """Return the snapshot with logins that were accepted moments ago and whose Start has not arrived."""
    known_logins = {session.login_id for session in snapshot.sessions}
    known_devices = {session.calling_station_id for session in snapshot.sessions}
    waiting = tuple(
        session
        for session in pending
        if session.login_id not in known_logins and session.calling_station_id not in known_devices
    )
    return replace(snapshot, sessions=snapshot.sessions + waiting) if waiting else snapshot


def _after_burns(grants: tuple[Grant, ...], burns: Sequence[Burn]) -> tuple[Grant, ...]:
    burned = {taken.grant.grant_id: taken.grant for taken in burns if taken.grant is not None}
    return tuple(burned.get(grant.grant_id, grant) for grant in grants) if burned else grants


def _settle(
    reservations: dict[str, Reservation],
    held: Reservation,
    burns: Sequence[Burn],
    session: Session,
    report: Report,
) -> None:
    if session.stopped_at is not None:
        del reservations[held.login_id]
        return
    for taken in burns:
        held = held.settled(taken)
    reservations[held.login_id] = held.held(report.received_at)
