"""A standing accept: what an ordinary login is answered, for as long as nothing but the clock can change it.

Most logins meet an account that has not changed since the last one: the same grants, the same policy. Their decision is
made once (`standing_accept`) and holds until its `until`; a login then only asks how many seconds are left and whether its
device has room. Everything else is decided by `herotill.decision`, and so is every case of doubt: None costs time, never
the right answer.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from herotill.allocation import allocation_due
from herotill.grants import FAR_FUTURE, Grant, burn_order, grant_ends_at
from herotill.policy import Sharing
from herotill.reply import Reply, like_grants, run_bounds, seconds_left, shared_limits
from herotill.service import living_reply
from herotill.snapshot import AccountKind, AccountSnapshot, AccountStatus


@dataclass(frozen=True, slots=True)
class StandingAccept:
    """The answer to every login before `until`, but for its Session-Timeout."""

    reply: Reply
    until: datetime
    quota_seconds: int | None
    ends_at: datetime | None
    max_sessions: int | None
    devices: tuple[str, ...]
    """Of the sessions that are on, each session's one."""

    def session_seconds(self, now: datetime) -> int | None:
        """Return the Session-Timeout of a login at `now`, as herotill.reply.run_seconds says it; None is none."""
        return seconds_left(self.quota_seconds, self.ends_at, now)

    def has_room_for(self, device: str, waiting: int) -> bool:
        """Whether one more session of `device` is surely allowed, with so many logins waiting for their Start.

        Rule R6; True only where herotill.decision says so too. Lost and repeated sessions are counted here.
        """
        if self.max_sessions is None:
            return True
        others = waiting + sum(1 for other in self.devices if not device or other != device)
        return others < self.max_sessions


def standing_accept(snapshot: AccountSnapshot, now: datetime) -> StandingAccept | None:
    """Return the answer this account's logins get from `now` on, or None where each has to be decided by itself."""
    if snapshot.status is not AccountStatus.ACTIVE or snapshot.policy.bound_devices:
        return None
    until = _without_allocation_until(snapshot, now)
    if until is None:
        return None
    alive = burn_order(snapshot.grants, now)
    if not alive or alive[0].first_used_at is None or not all(map(_stands_still, alive)):
        return None
    ends = [end for grant in alive if (end := grant_ends_at(grant, now)) is not None]
    run = like_grants(alive)
    policy = alive[0].policy
    quota_seconds, ends_at = run_bounds(run, now)
    return StandingAccept(
        reply=living_reply(run, shared_limits(run), None),
        until=min([until, *ends]),
        quota_seconds=quota_seconds,
        ends_at=ends_at,
        max_sessions=policy.max_sessions,
        devices=tuple(session.calling_station_id for session in snapshot.sessions),
    )


def _without_allocation_until(snapshot: AccountSnapshot, now: datetime) -> datetime | None:
    """Return until when no allocation falls due (rule R17), or None where one is due."""
    allocation = snapshot.allocation
    if allocation is None or snapshot.kind is not AccountKind.PREPAID:
        return FAR_FUTURE
    if allocation_due(allocation, snapshot.username, snapshot.allocation_keys, now) is not None:
        return None
    # Periods begin at midnight, whichever they are.
    zone = ZoneInfo(allocation.time_zone)
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone).astimezone(UTC)


def _stands_still(grant: Grant) -> bool:
    """Whether neither a login nor the mere passing of time moves the grant's end or its place in the order."""
    if grant.policy.sharing is Sharing.STRICT and grant.quota_octets is not None:
        return False  # every login reserves a slice (rule R15)
    waits_for_first_use = grant.seconds_after_first_use is not None and grant.first_used_at is None
    waits_for_last_use = grant.seconds_after_last_use is not None and grant.last_used_at is None
    return not (waits_for_first_use or waits_for_last_use)
