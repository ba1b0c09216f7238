"""When a usage-based account is billed: at intervals of the calendar from its first use on (rule R7).

Counted from the beginning each time, so that the 31st comes back after February; in a time zone, so that daylight saving
moves no bill to another hour of the day.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class UsageInterval(StrEnum):
    """How often a usage-based account is billed, counted from its first use."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def interval_end(started_at: datetime, interval: UsageInterval, number: int, time_zone: str) -> datetime:
    """Return the end of the interval of this number; the first is 1, and 0 ends at the start itself."""
    zone = ZoneInfo(time_zone)
    start = started_at.astimezone(zone).replace(tzinfo=None)
    match interval:
        case UsageInterval.DAY:
            end = start + timedelta(days=number)
        case UsageInterval.WEEK:
            end = start + timedelta(weeks=number)
        case UsageInterval.MONTH:
            years, month = divmod(start.month - 1 + number, 12)
            year = start.year + years
            end = start.replace(
                year=year, month=month + 1, day=min(start.day, monthrange(year, month + 1)[1])
            )
    return end.replace(tzinfo=zone, fold=started_at.astimezone(zone).fold).astimezone(UTC)


def intervals_ended(started_at: datetime, interval: UsageInterval, time_zone: str, now: datetime) -> int:
    """Return how many intervals have ended by `now`; an interval's end is outside of it."""
    shortest = {UsageInterval.DAY: 1, UsageInterval.WEEK: 7, UsageInterval.MONTH: 28}[interval]
    number = max(0, (now - started_at).days // shortest + 2)
    while number > 0 and interval_end(started_at, interval, number, time_zone) > now:
        number -= 1
    return number


def begun_units(used: int, unit_size: int) -> int:
    """Return how many units have begun."""
    return -(-used // unit_size)
