"""R24: cycles tile time, whatever the day, the month, the year and daylight saving; parts of a price sum to the whole."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.cycles import (
    DAYS_OF_A_PLAN,
    CycleLength,
    CycleRule,
    cycle_from,
    end_of_day,
    first_instant,
    latest_begin,
    local_day,
    next_begin,
    share,
)

days = st.dates(date(2015, 1, 1), date(2045, 12, 31))
rules = st.builds(CycleRule, st.sampled_from(CycleLength), st.integers(1, 31), days)
# Clocks that skip midnight (Santiago, Beirut), that show it twice (Azores), odd offsets.
zones = st.sampled_from(
    [
        *("UTC", "Africa/Nairobi", "Europe/Berlin", "America/Santiago", "Asia/Beirut", "Atlantic/Azores"),
        *("Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo", "America/Havana"),
    ]
)


@given(rules, days)
def test_r24_cycles_tile_time_and_never_skip_or_repeat_a_day(rule: CycleRule, first: date) -> None:
    begin = first
    for _ in range(30):
        cycle = cycle_from(rule, begin)
        assert 1 <= cycle.days <= cycle.whole_days <= 31
        assert latest_begin(rule, cycle.ends_on) == cycle.ends_on
        assert latest_begin(rule, cycle.ends_on - timedelta(days=1)) <= begin
        assert begin == first or cycle.is_whole
        begin = cycle.ends_on


@given(st.integers(1, 31), st.integers(2015, 2045))
def test_r24_every_month_has_one_begin_also_for_days_29_to_31(day: int, year: int) -> None:
    rule, begin, begins = CycleRule(day=day), date(year - 1, 12, 31), []
    while (begin := next_begin(rule, begin)).year == year:
        begins.append(begin)
    assert [each.month for each in begins] == list(range(1, 13))
    assert all(each.day == day or ((each + timedelta(days=1)).day == 1 and each.day < day) for each in begins)


@pytest.mark.parametrize(
    ("day", "begin", "end"),
    [
        (31, "2027-01-31", "2027-02-28"),
        (31, "2027-02-28", "2027-03-31"),
        (30, "2028-01-30", "2028-02-29"),
        (29, "2028-02-29", "2028-03-29"),
        (29, "2027-02-28", "2027-03-29"),
        (10, "2026-12-10", "2027-01-10"),
    ],
)
def test_r24_leap_years_and_short_months(day: int, begin: str, end: str) -> None:
    cycle = cycle_from(CycleRule(day=day), date.fromisoformat(begin))
    assert (str(cycle.ends_on), cycle.is_whole) == (end, True)


@given(days, st.integers(0, 200))
def test_r24_a_plan_of_30_days_is_30_days_long_each_time(anchor: date, cycles: int) -> None:
    rule = CycleRule(CycleLength.THIRTY_DAYS, anchor=anchor)
    begin = anchor + timedelta(days=DAYS_OF_A_PLAN * cycles)
    assert cycle_from(rule, begin).days == cycle_from(rule, begin).whole_days == DAYS_OF_A_PLAN


@given(days, zones)
def test_r24_a_day_begins_once_at_its_first_instant(day: date, zone: str) -> None:
    begin = first_instant(day, zone)
    assert local_day(begin, zone) == day
    assert local_day(begin - timedelta(microseconds=1), zone) == day - timedelta(days=1)
    assert timedelta(hours=22) <= end_of_day(day, zone) - begin <= timedelta(hours=26)


def test_r24_daylight_saving_does_not_move_the_begin_of_a_cycle() -> None:
    rule, zone = CycleRule(day=29), "Europe/Berlin"  # clocks go forward on 2026-03-29 and back on 2026-10-25
    ends = [first_instant(cycle_from(rule, date(2026, month, 29)).ends_on, zone) for month in (3, 9)]
    assert [str(end.astimezone(ZoneInfo(zone)).time()) for end in ends] == ["00:00:00"] * 2
    assert ends == [datetime(2026, 4, 28, 22, tzinfo=UTC), datetime(2026, 10, 28, 23, tzinfo=UTC)]


@given(st.integers(0, 10**12), st.integers(1, 31), st.data())
def test_r24_the_parts_of_a_cycle_sum_to_the_whole(total: int, whole_days: int, data: st.DataObject) -> None:
    cuts = sorted({0, whole_days, *data.draw(st.lists(st.integers(0, whole_days)))})
    parts = [share(total, whole_days, first, end) for first, end in pairwise(cuts)]
    assert sum(parts) == total
    for part, (first, end) in zip(parts, pairwise(cuts), strict=True):
        assert abs(part * whole_days - total * (end - first)) < whole_days


def test_r24_a_cycle_that_ends_with_the_month_bills_the_remaining_days_first() -> None:
    first = cycle_from(CycleRule(day=1), date(2026, 11, 22))
    assert (str(first.ends_on), first.days, first.whole_days) == ("2026-12-01", 9, 30)
    assert (first.share_of(100_00), first.share_of(100_01)) == (30_00, 30_01)
    assert cycle_from(CycleRule(day=1), first.ends_on).share_of(100_01) == 100_01


def test_r24_a_cycle_that_does_not_bills_to_the_next_payment_date() -> None:
    first = cycle_from(CycleRule(day=10), date(2026, 11, 25))
    assert (str(first.ends_on), first.days, first.whole_days) == ("2026-12-10", 15, 30)
    assert cycle_from(CycleRule(day=10), date(2026, 11, 10)).is_whole
