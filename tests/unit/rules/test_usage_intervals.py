"""Intervals of a usage-based account: of the calendar, counted from its first use, none skipped and none repeated."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from herotill.usage_intervals import UsageInterval, begun_units, interval_end, intervals_ended

zones = st.sampled_from(["UTC", "Africa/Nairobi", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"])
moments = st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
intervals = st.sampled_from(UsageInterval)


@given(moments, intervals, zones, st.integers(0, 60))
def test_r7_each_interval_begins_where_the_last_ended(
    start: datetime, interval: UsageInterval, zone: str, number: int
) -> None:
    ends = [interval_end(start, interval, each, zone) for each in (number, number + 1)]
    assert ends[0] < ends[1]
    assert intervals_ended(start, interval, zone, ends[1]) == number + 1
    assert intervals_ended(start, interval, zone, ends[1] - timedelta(microseconds=1)) == number


@given(moments, zones, st.integers(1, 60))
def test_r7_a_month_ends_on_the_day_it_began_or_the_months_last(
    start: datetime, zone: str, number: int
) -> None:
    local = start.astimezone(ZoneInfo(zone))
    end = interval_end(start, UsageInterval.MONTH, number, zone).astimezone(ZoneInfo(zone))
    tomorrow = end + timedelta(days=1)
    assert end.day == local.day or (end.day < local.day and tomorrow.day == 1)


def test_r7_the_31st_comes_back_after_february() -> None:
    start = datetime(2027, 1, 31, 9, 0, tzinfo=UTC)
    ends = [interval_end(start, UsageInterval.MONTH, number, "UTC").day for number in (1, 2, 3)]
    assert ends == [28, 31, 30]


def test_r7_a_begun_unit_is_a_unit() -> None:
    assert [begun_units(used, 100) for used in (0, 1, 100, 101)] == [0, 1, 1, 2]
