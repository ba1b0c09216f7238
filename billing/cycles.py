"""When a monthly account's cycle ends (rule R24). Pure."""

from calendar import monthrange
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


def cycle_end(now: datetime, cycle_day: int, time_zone: str) -> datetime:
    """Return the first instant after `now` at which a cycle that begins on `cycle_day` begins anew.

    A month without that day begins it on its last one (29 to 31), and the next month goes back to the day itself.
    Cycles begin at midnight of `time_zone`, whatever daylight saving does.
    """
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    begin = _begin_in_month(today.year, today.month, cycle_day)
    if begin <= today:
        years, month = divmod(today.month, 12)
        begin = _begin_in_month(today.year + years, month + 1, cycle_day)
    return datetime(begin.year, begin.month, begin.day, tzinfo=zone).astimezone(UTC)


def _begin_in_month(year: int, month: int, cycle_day: int) -> date:
    return date(year, month, min(cycle_day, monthrange(year, month)[1]))
