"""Whether a login is accepted, with which limits, or refused, and why: one pure function.

`decide` is called after the password was right. Where something must be committed first (an allocation, a first use, a
slice of a strict grant) it answers Prepare; packet time commits that, loads the snapshot anew and asks again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from herotill.allocation import allocation_due
from herotill.devices import normal_mac
from herotill.grants import Grant, GrantEnd, burn_order, grant_end, grant_ends_at
from herotill.policy import Ending, ServicePolicy, Sharing, parse_devices
from herotill.reasons import Reason
from herotill.replacing import device_of, devices_on
from herotill.reply import (
    UNLIMITED,
    Reply,
    like_grants,
    limits_for,
    reply_for,
    run_seconds,
    seconds_left,
    shared_limits,
)
from herotill.service import ending_of, living_reply, reply_at_end, step_after_end
from herotill.snapshot import AccountKind, AccountSnapshot, AccountStatus

RESERVATION_CLAIM_SECONDS = 300
"""A slice whose session never reports is free again after this (RFC 8506 §8.56 speaks of twice the validity)."""


class LoginRequest(NamedTuple):
    """What the rules need to know of an Access-Request. `login_id` is ours: one for each login."""

    username: str
    login_id: str
    calling_station_id: str = ""
    nas_address: str = ""


@dataclass(frozen=True, slots=True)
class Accept:
    """Let the session begin, with these limits."""

    reply: Reply
    reason: Reason = Reason.ACCEPTED


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse, and say why."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class GrantAllocation:
    """Grant a group's pre-allocation under this key."""

    key: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class StartFirstUse:
    """Start the clock of a grant that is used for the first time."""

    grant_id: int


@dataclass(frozen=True, slots=True)
class ReserveSlice:
    """Promise a slice of a strict grant to this login until its session claims it."""

    grant_id: int
    octets: int
    until: datetime


Preparation = GrantAllocation | StartFirstUse | ReserveSlice


@dataclass(frozen=True, slots=True)
class Prepare:
    """Commit this first, then decide again on a fresh snapshot."""

    step: Preparation


Decision = Accept | Reject | Prepare


def decide(request: LoginRequest, snapshot: AccountSnapshot, now: datetime) -> Decision:
    """Decide one login whose password was right."""
    if snapshot.status is not AccountStatus.DISABLED and not is_bound_device(request, snapshot.policy):
        return Reject(Reason.OTHER_DEVICE)
    match snapshot.status:
        case AccountStatus.DISABLED:
            return Reject(Reason.DISABLED)
        case AccountStatus.UNVERIFIED:
            return _decide_unverified(snapshot.policy)
        case AccountStatus.SUSPENDED:
            return _decide_suspended(snapshot)
        case AccountStatus.ACTIVE:
            return _decide_active(request, snapshot, now)
        case _:
            assert_never(snapshot.status)


def is_bound_device(request: LoginRequest, policy: ServicePolicy) -> bool:
    """Rule R6: whether this device may use an account whose devices are bound; any may where none is."""
    if not policy.bound_devices:
        return True
    return normal_mac(request.calling_station_id) in parse_devices(policy.bound_devices)


def _decide_unverified(policy: ServicePolicy) -> Decision:
    """Rule R3: a hard gate, or a pool from which nothing but verification is in reach, where the operator has one."""
    if policy.unverified_pool is None:
        return Reject(Reason.UNVERIFIED)
    reply = Reply(
        interim_interval_seconds=policy.interim_interval_seconds, address_pool=policy.unverified_pool
    )
    return Accept(reply, Reason.RESTRICTED)


def _decide_suspended(snapshot: AccountSnapshot) -> Decision:
    """Rule R24: a suspended monthly customer can connect and gets an address from the suspended pool."""
    policy = snapshot.policy
    if snapshot.kind is not AccountKind.MONTHLY or policy.suspended_pool is None:
        return Reject(Reason.SUSPENDED)
    return Accept(
        Reply(interim_interval_seconds=policy.interim_interval_seconds, address_pool=policy.suspended_pool),
        Reason.SUSPENDED_POOL,
    )


def _decide_active(request: LoginRequest, snapshot: AccountSnapshot, now: datetime) -> Decision:
    due = _allocation_due(snapshot, now)
    if due is not None:
        return Prepare(due)
    alive = burn_order(snapshot.grants, now)
    if not alive:
        return _decide_without_grant(request, snapshot, now)
    usable = [grant for grant in alive if not _is_reserved_away(grant, request, snapshot, now)]
    if not usable:
        return Reject(Reason.ALL_RESERVED)
    current = usable[0]
    if _too_many_sessions(request, snapshot, current.policy):
        return Reject(Reason.TOO_MANY_SESSIONS)
    if current.first_used_at is None:
        return Prepare(StartFirstUse(current.grant_id))
    return _decide_with_grant(request, snapshot, usable, now)


def _allocation_due(snapshot: AccountSnapshot, now: datetime) -> GrantAllocation | None:
    """Rule R17: a verified prepaid member, at the first login of the period."""
    if snapshot.allocation is None or snapshot.kind is not AccountKind.PREPAID:
        return None
    due = allocation_due(snapshot.allocation, snapshot.username, snapshot.allocation_keys, now)
    return None if due is None else GrantAllocation(due.key, due.until)


def _decide_with_grant(
    request: LoginRequest, snapshot: AccountSnapshot, usable: Sequence[Grant], now: datetime
) -> Decision:
    current = usable[0]
    ends_at = grant_ends_at(current, now)
    if current.policy.sharing is Sharing.STRICT and current.quota_octets is not None:
        slice_octets = _reserved_octets(request, snapshot, current)
        if slice_octets is None:
            return Prepare(_slice_to_reserve(snapshot, current, now))
        limits = limits_for(current.counting, slice_octets, slice_octets, slice_octets)
        return Accept(living_reply([current], limits, seconds_left(current.remaining_seconds, ends_at, now)))
    run = like_grants(usable)
    return Accept(living_reply(run, shared_limits(run), run_seconds(run, now)))


def _decide_without_grant(request: LoginRequest, snapshot: AccountSnapshot, now: datetime) -> Decision:
    ended = ended_last(snapshot, now)
    if ended is None or (snapshot.kind is AccountKind.MONTHLY and ended[1] is GrantEnd.EXPIRY):
        if snapshot.kind is not AccountKind.MONTHLY:
            return Reject(Reason.NO_CREDIT)
        # Rule R24: expired is not suspended; an active monthly account connects on its own policy.
        if _too_many_sessions(request, snapshot, snapshot.policy):
            return Reject(Reason.TOO_MANY_SESSIONS)
        return Accept(reply_for(snapshot.policy, UNLIMITED, None))
    grant, end = ended
    if _too_many_sessions(request, snapshot, grant.policy):
        return Reject(Reason.TOO_MANY_SESSIONS)
    return _decide_at_end(grant, end)


def ended_last(snapshot: AccountSnapshot, now: datetime) -> tuple[Grant, GrantEnd] | None:
    """Return the grant that ended last and why, counting those whose end nobody has written down yet."""
    ended = [(grant, end) for grant in snapshot.grants if (end := grant_end(grant, now)) is not None]
    if ended:
        return max(ended, key=lambda pair: (grant_ends_at(pair[0], now) or now, pair[0].grant_id))
    last = snapshot.last_ended
    if last is None or last.ended_reason is None or last.ended_reason is GrantEnd.VOID:
        return None
    return last, last.ended_reason


_END_REASONS = {
    GrantEnd.QUOTA: Reason.QUOTA_USED_UP,
    GrantEnd.TIME: Reason.TIME_USED_UP,
    GrantEnd.EXPIRY: Reason.EXPIRED,
    GrantEnd.VOID: Reason.NO_CREDIT,
}


def _decide_at_end(grant: Grant, end: GrantEnd) -> Decision:
    reply = reply_at_end(grant, end)
    if reply is None:
        return Reject(_END_REASONS[end])
    is_slowed = step_after_end(grant, end) is not None or ending_of(grant.policy, end) is Ending.THROTTLE
    return Accept(reply, Reason.THROTTLED if is_slowed else Reason.RESTRICTED)


def _too_many_sessions(request: LoginRequest, snapshot: AccountSnapshot, policy: ServicePolicy) -> bool:
    """Rule R6: a device that is on already may log in again; its old session is replaced (herotill.replacing)."""
    if policy.max_sessions is None or len(snapshot.sessions) < policy.max_sessions:
        return False
    device = normal_mac(request.calling_station_id) or request.calling_station_id
    others = [one for one in snapshot.sessions if not device or device_of(one) != device]
    return devices_on(others) >= policy.max_sessions


def _available_octets(snapshot: AccountSnapshot, grant: Grant, now: datetime) -> int:
    """Return what is neither used nor promised of a strict grant."""
    promised = sum(
        reservation.outstanding_octets(now)
        for reservation in snapshot.reservations
        if reservation.grant_id == grant.grant_id
    )
    return (grant.remaining_octets or 0) - promised


def _is_reserved_away(grant: Grant, request: LoginRequest, snapshot: AccountSnapshot, now: datetime) -> bool:
    if grant.policy.sharing is not Sharing.STRICT or grant.quota_octets is None:
        return False
    return _reserved_octets(request, snapshot, grant) is None and _available_octets(snapshot, grant, now) <= 0


def _reserved_octets(request: LoginRequest, snapshot: AccountSnapshot, grant: Grant) -> int | None:
    for reservation in snapshot.reservations:
        if reservation.login_id == request.login_id and reservation.grant_id == grant.grant_id:
            return reservation.octets
    return None


def _slice_to_reserve(snapshot: AccountSnapshot, grant: Grant, now: datetime) -> ReserveSlice:
    octets = min(grant.policy.slice_octets, _available_octets(snapshot, grant, now))
    return ReserveSlice(grant.grant_id, octets, now + timedelta(seconds=RESERVATION_CLAIM_SECONDS))
