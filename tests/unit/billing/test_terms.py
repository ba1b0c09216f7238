"""Plans and their clocks: what a purchase keeps, when a grant ends, when a cycle does."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.cycles import cycle_end
from billing.projection import MAX_NOTIFY_OCTETS, notification_payloads
from billing.terms import PlanTerms, clocks_of_first_use_sale, clocks_of_purchase
from herotill.errors import InvalidValue
from herotill.policy import Counting, ServicePolicy
from herotill.quantities import Money
from herotill.snapshot import AccountKind

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
FREE = Money(0, "KES")
seconds = st.none() | st.integers(1, 10**8)
zones = st.sampled_from(["UTC", "Africa/Nairobi", "Europe/Berlin", "America/Santiago"])
moments = st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(
    st.builds(
        PlanTerms,
        price=st.just(FREE),
        quota_octets=seconds,
        quota_seconds=seconds,
        counting=st.sampled_from(Counting),
        valid_until=st.none() | st.just(NOW),
        policy=st.just(ServicePolicy(max_sessions=2)),
    )
)
def test_r12_a_snapshot_reads_back_as_the_terms_it_was(terms: PlanTerms) -> None:
    assert PlanTerms.from_mapping(terms.to_mapping()) == terms


@given(seconds, st.none() | st.integers(-1000, 1000))
def test_r13_a_grant_ends_at_the_earliest_of_its_fixed_ends(after: int | None, offset: int | None) -> None:
    until = None if offset is None else NOW + timedelta(seconds=offset)
    terms = PlanTerms(price=FREE, seconds_after_purchase=after, valid_until=until)
    ends = [end for end in (until, after and NOW + timedelta(seconds=after)) if end]
    assert clocks_of_purchase(terms, NOW, None).expires_at == min(ends, default=None)


def test_r8_a_ticket_sold_on_first_use_is_bought_then() -> None:
    terms = PlanTerms(price=FREE, seconds_after_purchase=60, seconds_after_first_use=90)
    clocks = clocks_of_first_use_sale(terms)
    assert (clocks.seconds_after_first_use, clocks.expires_at) == (60, None)


def test_r24_only_monthly_plans_end_with_the_cycle() -> None:
    with pytest.raises(InvalidValue, match="kinds"):
        PlanTerms(price=FREE, ends_with_cycle=True)
    assert PlanTerms(price=FREE, ends_with_cycle=True, kinds=(AccountKind.MONTHLY,)).ends_with_cycle


@pytest.mark.parametrize(
    ("now", "day", "end"),
    [
        ("2026-01-31", 31, "2026-02-28"),
        ("2028-02-10", 30, "2028-02-29"),
        ("2026-02-28", 31, "2026-03-31"),
        ("2026-12-10", 10, "2027-01-10"),
        ("2026-12-09", 10, "2026-12-10"),
    ],
)
def test_r24_cycles_of_days_29_to_31_end_on_the_months_last_day(now: str, day: int, end: str) -> None:
    noon = datetime.fromisoformat(now).replace(hour=12, tzinfo=UTC)
    assert cycle_end(noon, day, "UTC") == datetime.fromisoformat(end).replace(tzinfo=UTC)


@given(moments, st.integers(1, 31), zones)
def test_r24_cycles_never_skip_or_repeat(now: datetime, day: int, zone: str) -> None:
    end = cycle_end(now, day, zone)
    assert now < end <= now + timedelta(days=32)
    assert (end.astimezone(ZoneInfo(zone)).hour, cycle_end(end - timedelta(seconds=1), day, zone)) in (
        (0, end),
        (1, end),
    )
    assert cycle_end(end, day, zone) > end


@given(st.lists(st.text(max_size=128), max_size=300))
def test_no_notification_is_longer_than_postgresql_takes(names: list[str]) -> None:
    payloads = list(notification_payloads(names))
    assert all(len(payload.encode()) <= MAX_NOTIFY_OCTETS for payload in payloads)
    assert [name for payload in payloads for name in json.loads(payload)] == names
