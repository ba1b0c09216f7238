"""Grants: what was given, what is left of it, when it ends, and in which order several of them burn.

A grant (table `radius.entitlement`) is a number of octets and seconds with its own clocks (rules R12 to R14).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from herotill.policy import Counting, ServicePolicy, read_policy
from herotill.usage import NOTHING_USED, Usage, counted_octets
from herotill.value import value

FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


class GrantEnd(StrEnum):
    """Why a grant gives nothing any more."""

    QUOTA = "quota"
    TIME = "time"
    EXPIRY = "expiry"
    VOID = "void"


@value
class Grant:
    """One grant and its use so far. A quota of None is unlimited; times are aware UTC."""

    grant_id: int
    plan_name: str
    source: str
    counting: Counting
    priority: int
    policy: ServicePolicy
    granted_at: datetime
    quota_octets: int | None = None
    quota_seconds: int | None = None
    used: Usage = NOTHING_USED
    expires_at: datetime | None = None
    seconds_after_first_use: int | None = None
    seconds_after_last_use: int | None = None
    first_used_at: datetime | None = None
    last_used_at: datetime | None = None
    ended_at: datetime | None = None
    ended_reason: GrantEnd | None = None

    @property
    def used_octets(self) -> int:
        """Octets used as this grant counts them; more than the quota after an overshoot."""
        return counted_octets(self.counting, self.used)

    @property
    def remaining_octets(self) -> int | None:
        """Octets left, never negative; None is unlimited."""
        return None if self.quota_octets is None else max(0, self.quota_octets - self.used_octets)

    @property
    def remaining_seconds(self) -> int | None:
        """Session seconds left, never negative; None is unlimited."""
        return None if self.quota_seconds is None else max(0, self.quota_seconds - self.used.seconds)


def grant_ends_at(grant: Grant, now: datetime) -> datetime | None:
    """Return when the grant's clocks end it if it is used from `now` on; None is never (rule R13)."""
    ends = [] if grant.expires_at is None else [grant.expires_at]
    if grant.seconds_after_first_use is not None:
        ends.append((grant.first_used_at or now) + timedelta(seconds=grant.seconds_after_first_use))
    if grant.seconds_after_last_use is not None:
        ends.append((grant.last_used_at or now) + timedelta(seconds=grant.seconds_after_last_use))
    return min(ends, default=None)


def grant_end(grant: Grant, now: datetime) -> GrantEnd | None:
    """Return why the grant gives nothing at `now`, or None while it lives. The end instant itself is outside."""
    if grant.ended_reason is not None:
        return grant.ended_reason
    if grant.quota_octets is not None and grant.used_octets >= grant.quota_octets:
        return GrantEnd.QUOTA
    if grant.quota_seconds is not None and grant.used.seconds >= grant.quota_seconds:
        return GrantEnd.TIME
    ends_at = grant_ends_at(grant, now)
    return GrantEnd.EXPIRY if ends_at is not None and ends_at <= now else None


def with_end_written(grant: Grant, now: datetime) -> Grant:
    """Return the grant with its end written down, if it has one at `now` that nobody has written yet."""
    end = None if grant.ended_at is not None else grant_end(grant, now)
    return grant if end is None else replace(grant, ended_at=now, ended_reason=end)


def burn_order(grants: Iterable[Grant], now: datetime) -> list[Grant]:
    """Return the grants alive at `now` in the order they burn: priority, earliest end, oldest (rule R14)."""
    alive = [grant for grant in grants if grant_end(grant, now) is None]
    if len(alive) > 1:
        alive.sort(key=lambda grant: _burn_key(grant, now))
    return alive


def _burn_key(grant: Grant, now: datetime) -> tuple[int, datetime, datetime, int]:
    return (grant.priority, grant_ends_at(grant, now) or FAR_FUTURE, grant.granted_at, grant.grant_id)


@value
class Burn:
    """What one report took from one grant; `grant` is the grant after it, None where nobody was granted anything."""

    grant: Grant | None
    usage: Usage


def burn(
    grants: Iterable[Grant], usage: Usage, now: datetime, reserved_grant_id: int | None = None
) -> list[Burn]:
    """Take `usage` from the grants in burn order and return what each gave; the parts sum to the whole.

    A session with a slice of a strict grant burns that grant first.

    What no living grant has room for is over-use: it goes to the last grant that gave, else to the one that ended last,
    so that nothing a NAS counted is lost. It moves no clock of a grant that has ended: that would sell it or revive it.
    A grant's octets and seconds fill independently; the first to be full ends it.
    """
    known = list(grants)
    burns: list[Burn] = []
    rest = usage
    order = burn_order(known, now)
    if reserved_grant_id is not None:
        order.sort(key=lambda grant: grant.grant_id != reserved_grant_id)
    for grant in order:
        if not rest:
            break
        part = _room_for(grant, rest)
        burns.append(Burn(_use(grant, part, now), part))
        rest = NOTHING_USED if part is rest else rest - part
    if rest:
        _add_overuse(burns, known, rest, now)
    return burns


def _add_overuse(burns: list[Burn], known: list[Grant], rest: Usage, now: datetime) -> None:
    if burns and burns[-1].grant is not None:
        last = burns.pop()
        burns.append(Burn(_use(burns_grant(last), rest, now), last.usage + rest))
        return
    ended = max(known, key=lambda grant: (grant.ended_at or now, grant.grant_id), default=None)
    burns.append(Burn(None if ended is None else replace(ended, used=ended.used + rest), rest))


def burns_grant(taken: Burn) -> Grant:
    """Return the grant of a burn that has one."""
    assert taken.grant is not None  # noqa: S101 - the caller looked
    return taken.grant


def _use(grant: Grant, part: Usage, now: datetime) -> Grant:
    last_used_at = now if grant.last_used_at is None else max(now, grant.last_used_at)
    used = _with_use(grant, grant.used + part, last_used_at)
    return used if grant.first_used_at is not None else _begin_use(used, now)


def _with_use(grant: Grant, used: Usage, last_used_at: datetime) -> Grant:
    # Field by field, because every report does this and `replace` takes six times as long.
    return Grant(
        grant.grant_id,
        grant.plan_name,
        grant.source,
        grant.counting,
        grant.priority,
        grant.policy,
        grant.granted_at,
        grant.quota_octets,
        grant.quota_seconds,
        used,
        grant.expires_at,
        grant.seconds_after_first_use,
        grant.seconds_after_last_use,
        grant.first_used_at,
        last_used_at,
        grant.ended_at,
        grant.ended_reason,
    )


def _begin_use(grant: Grant, now: datetime) -> Grant:
    """Start the first-use clock, as `radius.start_first_use` does at login."""
    ends = [] if grant.expires_at is None else [grant.expires_at]
    if grant.seconds_after_first_use is not None:
        ends.append(now + timedelta(seconds=grant.seconds_after_first_use))
    return replace(grant, first_used_at=now, expires_at=min(ends, default=None))


def _room_for(grant: Grant, usage: Usage) -> Usage:
    """Return the part of `usage` the grant has room for: itself where that is all of it."""
    if grant.quota_seconds is None and (
        grant.quota_octets is None
        # No way of counting counts more than both directions.
        or grant.quota_octets - grant.used_octets >= usage.input_octets + usage.output_octets
    ):
        return usage
    seconds = usage.seconds
    if grant.quota_seconds is not None:
        seconds = min(seconds, max(0, grant.quota_seconds - grant.used.seconds))
    if grant.quota_octets is None:
        return Usage(usage.input_octets, usage.output_octets, seconds)
    input_octets, output_octets = _octets_room(grant, grant.quota_octets, usage)
    return Usage(input_octets, output_octets, seconds)


def _octets_room(grant: Grant, quota: int, usage: Usage) -> tuple[int, int]:
    room = max(0, quota - grant.used_octets)
    match grant.counting:
        case Counting.SUM:
            input_octets = min(usage.input_octets, room)
            return input_octets, min(usage.output_octets, room - input_octets)
        case Counting.LARGER:
            return (
                min(usage.input_octets, quota - grant.used.input_octets),
                min(usage.output_octets, quota - grant.used.output_octets),
            )
        case Counting.DOWNLOAD:
            return usage.input_octets, min(usage.output_octets, room)
        case Counting.UPLOAD:
            return min(usage.input_octets, room), usage.output_octets


GRANT_COLUMNS = (
    "entitlement_id",
    "plan_name",
    "source",
    "counting",
    "priority",
    "policy",
    "granted_at",
    "quota_octets",
    "quota_seconds",
    "used_input_octets",
    "used_output_octets",
    "used_seconds",
    "expires_at",
    "seconds_after_first_use",
    "seconds_after_last_use",
    "first_used_at",
    "last_used_at",
    "ended_at",
    "ended_reason",
)
"""The columns of `radius.entitlement` that make a Grant, in the order `grant_from_values` takes them."""

_COUNTINGS = {str(counting): counting for counting in Counting}


def grant_from_row(row: Mapping[str, Any]) -> Grant:
    """Read a row of `radius.entitlement` by its columns' names, as JSON has it (times as ISO 8601 text)."""
    return grant_from_values([row[name] for name in GRANT_COLUMNS])


def grant_from_values(row: Sequence[Any]) -> Grant:
    """Read the GRANT_COLUMNS of a row of `radius.entitlement`."""
    return Grant(
        row[0],
        row[1],
        row[2],
        _COUNTINGS[row[3]],
        row[4],
        read_policy(row[5]),
        required_time(row[6]),
        row[7],
        row[8],
        Usage(row[9], row[10], row[11]),
        as_time(row[12]),
        row[13],
        row[14],
        as_time(row[15]),
        as_time(row[16]),
        as_time(row[17]),
        None if row[18] is None else GrantEnd(row[18]),
    )


def as_time(value: datetime | str | None) -> datetime | None:
    """Return an aware UTC time from a database value or its ISO 8601 text."""
    return None if value is None else required_time(value)


def required_time(value: datetime | str) -> datetime:
    """Return an aware UTC time from a database value, or its ISO 8601 text, that is never NULL."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
