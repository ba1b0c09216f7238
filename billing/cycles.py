"""The arithmetic of billing cycles (rule R24): where they begin and end, and what a part of one costs. Pure.

A cycle is half-open and begins at the first instant of a day of the account's time zone, whatever daylight saving does.
Cycles tile time: the end of one is the beginning of the next, and nothing that is paid early or late moves them.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

DAYS_OF_A_PLAN = 30


class CycleLength(StrEnum):
    """How long a cycle is."""

    MONTH = "month"  # from a day of the month to that day of the next
    THIRTY_DAYS = "30-days"


@dataclass(frozen=True, slots=True)
class CycleRule:
    """When an account's cycles begin: on `day` of each month (its last one where it has no such day), or every 30 days."""

    length: CycleLength = CycleLength.MONTH
    day: int = 1
    anchor: date = date(2000, 1, 1)
    """A day on which a cycle of 30 days begins."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle, or the rest of one: `whole_days` is how many days the whole of it has."""

    begins_on: date
    ends_on: date
    whole_days: int

    @property
    def days(self) -> int:
        """How many days are billed."""
        return (self.ends_on - self.begins_on).days

    @property
    def is_whole(self) -> bool:
        """Tell a cycle from the rest of one."""
        return self.days == self.whole_days

    def share_of(self, total: int) -> int:
        """Return what this cycle's days are of what the whole costs or holds."""
        return share(total, self.whole_days, self.whole_days - self.days, self.whole_days)


def cycle_from(rule: CycleRule, begins_on: date) -> Cycle:
    """Return the cycle that begins on this day; what is left of one, where a cycle began before (rule R24)."""
    ends_on = next_begin(rule, begins_on)
    return Cycle(begins_on, ends_on, (ends_on - latest_begin(rule, begins_on)).days)


def next_begin(rule: CycleRule, after: date) -> date:
    """Return the first day after this one on which a cycle begins."""
    if rule.length is CycleLength.THIRTY_DAYS:
        return after + timedelta(days=DAYS_OF_A_PLAN - (after - rule.anchor).days % DAYS_OF_A_PLAN)
    begin = _begin_in_month(after.year, after.month, rule.day)
    return begin if begin > after else _begin_in_month(*_month_after(after), rule.day)


def latest_begin(rule: CycleRule, on: date) -> date:
    """Return the last day up to this one on which a cycle begins."""
    if rule.length is CycleLength.THIRTY_DAYS:
        return on - timedelta(days=(on - rule.anchor).days % DAYS_OF_A_PLAN)
    begin = _begin_in_month(on.year, on.month, rule.day)
    last_of_previous = on.replace(day=1) - timedelta(days=1)
    return begin if begin <= on else _begin_in_month(last_of_previous.year, last_of_previous.month, rule.day)


def share(total: int, whole_days: int, first_day: int, end_day: int) -> int:
    """Return what the days from `first_day` up to `end_day` (from 0, outside) are of `total`.

    Parts that make up the whole sum to `total`, whatever the cuts: nothing is lost to rounding, and each part is exact to
    less than one unit.
    """
    return total * end_day // whole_days - total * first_day // whole_days


@lru_cache(maxsize=4096)
def first_instant(day: date, time_zone: str) -> datetime:
    """Return when this day begins in the zone, in UTC: at midnight, or when the clocks have skipped it."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def end_of_day(day: date, time_zone: str) -> datetime:
    """Return the first instant after this day in the zone."""
    return first_instant(day + timedelta(days=1), time_zone)


def local_day(moment: datetime, time_zone: str) -> date:
    """Return which day it is in the zone."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def cycle_end(now: datetime, cycle_day: int, time_zone: str) -> datetime:
    """Return the first instant after `now` at which a cycle that begins on `cycle_day` of each month begins anew."""
    return first_instant(next_begin(CycleRule(day=cycle_day), local_day(now, time_zone)), time_zone)


def _begin_in_month(year: int, month: int, cycle_day: int) -> date:
    return date(year, month, min(cycle_day, monthrange(year, month)[1]))


def _month_after(day: date) -> tuple[int, int]:
    years, month = divmod(day.month, 12)
    return day.year + years, month + 1
