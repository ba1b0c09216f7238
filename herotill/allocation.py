"""Group pre-allocations: which period `now` lies in, and whether a member is due its allocation (rule R17).

Periods are calendar periods in the group's own time zone; their ends are computed from the calendar, so days of 23 and 25
hours and months of every length come out right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from herotill.policy import ServicePolicy, read_policy


class Period(StrEnum):
    """How often an allocation is given."""

    ONCE = "once"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TERM = "term"


@dataclass(frozen=True, slots=True)
class GroupAllocation:
    """A group's allocation as packet time needs it; the amounts are copied by the database when it grants one."""

    group_name: str
    period: Period
    time_zone: str
    policy: ServicePolicy
    term_starts: tuple[date, ...] = ()
    valid_seconds: int | None = None
    rolls_over: bool = False


@dataclass(frozen=True, slots=True)
class AllocationDue:
    """One allocation to be granted: its unique key, and when it ends (None is never)."""

    key: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class PeriodSpan:
    """A period's half-open span of days; `end` is None where there is no next one."""

    start: date
    end: date | None


def period_at(allocation: GroupAllocation, now: datetime) -> PeriodSpan | None:
    """Return the period that holds `now`, in the group's calendar; None before the first term."""
    today = now.astimezone(ZoneInfo(allocation.time_zone)).date()
    match allocation.period:
        case Period.ONCE:
            return PeriodSpan(date.min, None)
        case Period.DAY:
            return PeriodSpan(today, today + timedelta(days=1))
        case Period.WEEK:
            monday = today - timedelta(days=today.weekday())
            return PeriodSpan(monday, monday + timedelta(days=7))
        case Period.MONTH:
            first = today.replace(day=1)
            return PeriodSpan(first, (first + timedelta(days=31)).replace(day=1))
        case Period.TERM:
            return _term_at(sorted(allocation.term_starts), today)


def _term_at(starts: list[date], today: date) -> PeriodSpan | None:
    begun = [start for start in starts if start <= today]
    if not begun:
        return None
    return PeriodSpan(begun[-1], next((start for start in starts if start > today), None))


def allocation_due(
    allocation: GroupAllocation, username: str, granted_keys: frozenset[str], now: datetime
) -> AllocationDue | None:
    """Return the allocation this member should be granted now, or None: it has it, or no period is running."""
    span = period_at(allocation, now)
    if span is None:
        return None
    name = "once" if allocation.period is Period.ONCE else span.start.isoformat()
    key = f"allocation:{allocation.group_name}:{username}:{name}"
    return None if key in granted_keys else AllocationDue(key, _ends_at(allocation, span, now))


def _ends_at(allocation: GroupAllocation, span: PeriodSpan, now: datetime) -> datetime | None:
    ends: list[datetime] = []
    if allocation.valid_seconds is not None:
        ends.append(now + timedelta(seconds=allocation.valid_seconds))
    if span.end is not None and not allocation.rolls_over:
        midnight = datetime(
            span.end.year, span.end.month, span.end.day, tzinfo=ZoneInfo(allocation.time_zone)
        )
        ends.append(midnight.astimezone(UTC))
    return min(ends, default=None)


def allocation_from_row(row: Mapping[str, Any]) -> GroupAllocation:
    """Read a row of `radius.group_allocation`, from the database or from JSON."""
    return GroupAllocation(
        group_name=row["group_name"],
        period=Period(row["period"]),
        time_zone=row["time_zone"],
        policy=read_policy(row["policy"]),
        term_starts=tuple(_as_date(day) for day in row["term_starts"]),
        valid_seconds=row["valid_seconds"],
        rolls_over=row["rolls_over"],
    )


def _as_date(value: date | str) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value
