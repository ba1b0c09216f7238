"""R29: the spans a report is made of."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.report_periods import MAX_SPANS, Interval, spans_of
from herotill.errors import InvalidValue

DAYS = st.dates(date(2020, 1, 1), date(2027, 12, 31))
ZONES = st.sampled_from(["UTC", "Africa/Nairobi", "Europe/Berlin", "America/Havana", "Asia/Kathmandu"])


def test_r29_a_day_has_23_and_25_hours_when_the_clocks_change() -> None:
    spring = spans_of(date(2026, 3, 28), date(2026, 3, 31), "Europe/Berlin", Interval.DAY)
    autumn = spans_of(date(2026, 10, 24), date(2026, 10, 27), "Europe/Berlin", Interval.DAY)

    assert [(span.ends_at - span.begins_at) / timedelta(hours=1) for span in spring] == [24, 23, 24]
    assert [(span.ends_at - span.begins_at) / timedelta(hours=1) for span in autumn] == [24, 25, 24]
    assert spring[1].begins_at == datetime(2026, 3, 28, 23, tzinfo=UTC)


def test_r29_where_midnight_is_skipped_the_day_begins_when_the_clocks_go_on() -> None:
    # Havana goes from 0:00 to 1:00 on 8 March 2026.
    (span,) = spans_of(date(2026, 3, 8), date(2026, 3, 9), "America/Havana", Interval.DAY)

    assert span.begins_at == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert span.ends_at == datetime(2026, 3, 9, 4, tzinfo=UTC)


def test_r29_weeks_begin_on_monday_and_months_on_the_first_cut_to_the_period() -> None:
    weeks = spans_of(date(2026, 11, 4), date(2026, 11, 17), "UTC", Interval.WEEK)
    months = spans_of(date(2024, 1, 31), date(2024, 3, 2), "UTC", Interval.MONTH)

    assert [span.first_day.isoformat() for span in weeks] == ["2026-11-04", "2026-11-09", "2026-11-16"]
    assert weeks[-1].end_day == date(2026, 11, 17)
    assert [span.first_day.isoformat() for span in months] == ["2024-01-31", "2024-02-01", "2024-03-01"]


@given(DAYS, st.integers(1, 500), ZONES, st.sampled_from([None, *Interval]))
def test_r29_spans_touch_and_make_up_the_period(
    first: date, days: int, zone: str, interval: Interval | None
) -> None:
    end = first + timedelta(days=days)
    (whole,) = spans_of(first, end, zone)

    spans = spans_of(first, end, zone, interval)

    assert (spans[0].begins_at, spans[-1].ends_at) == (whole.begins_at, whole.ends_at)
    assert all(one.ends_at == other.begins_at for one, other in pairwise(spans))
    assert all(span.begins_at < span.ends_at for span in spans)


@pytest.mark.parametrize("days", [0, -3, MAX_SPANS + 2])
def test_r29_an_empty_and_an_endless_period_are_refused(days: int) -> None:
    first = date(2020, 1, 1)

    with pytest.raises(InvalidValue, match=r"--to|--interval"):
        spans_of(first, first + timedelta(days=days), "UTC", Interval.DAY)
