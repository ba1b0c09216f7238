"""The spans of time a report is made of: days, weeks from Monday, months, in the operator's time zone (rule R29).

Pure. Spans are half-open and touch: what is asked of each sums to what is asked of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from billing.cycles import first_instant
from herotill.errors import InvalidValue

MAX_SPANS = 3_700


class Interval(StrEnum):
    """How a period is divided."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first_day` up to `end_day` (not in it), and when they begin and end."""

    first_day: date
    end_day: date
    begins_at: datetime
    ends_at: datetime


def spans_of(first_day: date, end_day: date, time_zone: str, interval: Interval | None = None) -> list[Span]:
    """Divide the days up to `end_day` (not in it); without an interval they are one span.

    The first and the last week or month are cut to the period. Raises InvalidValue for an empty or endless period.
    """
    if end_day <= first_day:
        last = end_day - timedelta(days=1)
        raise InvalidValue("--to", last.isoformat(), f"it is not before --from, {first_day.isoformat()}")
    starts = _starts(first_day, end_day, interval)
    return [
        Span(start, end, first_instant(start, time_zone), first_instant(end, time_zone))
        for start, end in zip(starts, [*starts[1:], end_day], strict=True)
    ]


def _starts(first_day: date, end_day: date, interval: Interval | None) -> Sequence[date]:
    starts = [first_day]
    while interval is not None and (following := _next_start(starts[-1], interval)) < end_day:
        starts.append(following)
        if len(starts) > MAX_SPANS:
            raise InvalidValue("--interval", interval.value, f"the period has more than {MAX_SPANS} of them")
    return starts


def _next_start(day: date, interval: Interval) -> date:
    match interval:
        case Interval.DAY:
            return day + timedelta(days=1)
        case Interval.WEEK:
            return day + timedelta(days=7 - day.weekday())
        case Interval.MONTH:
            return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
