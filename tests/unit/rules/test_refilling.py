"""A refill adds time and quota; unlimited wins; the end and the rates are the plan's choice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.grants import Grant, GrantEnd, grant_end, grant_ends_at
from herotill.policy import Counting, Ending, ServicePolicy
from herotill.refilling import RefillExpiry, RefillRates, RefillTerms, refill
from herotill.usage import Usage

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GIB = 2**30
DAY = timedelta(days=1)
SLOW, FAST = ServicePolicy(download_bits_per_second=10**6), ServicePolicy(download_bits_per_second=10**7)
SOFT = ServicePolicy(
    at_quota=Ending.THROTTLE, throttled_download_bits_per_second=64000, throttled_upload_bits_per_second=64000
)


def _grant(grant_id: int = 1, **fields: object) -> Grant:
    plain = Grant(
        grant_id=grant_id,
        plan_name="day",
        source="voucher",
        counting=Counting.SUM,
        priority=100,
        policy=ServicePolicy(),
        granted_at=NOW,
        quota_octets=GIB,
        first_used_at=NOW,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def _fresh(**fields: object) -> Grant:
    return _grant(0, **({"first_used_at": None} | fields))


quotas = st.none() | st.integers(1, 10 * GIB)
ends = st.none() | st.integers(1, 60).map(lambda days: NOW + days * DAY)
old = st.builds(
    lambda quota, seconds, used, end: _grant(
        quota_octets=quota, quota_seconds=seconds, used=Usage(0, used, 0), expires_at=end
    ),
    quotas,
    quotas,
    st.integers(0, 10 * GIB),
    ends,
)
new = st.builds(
    lambda quota, seconds, end: _fresh(quota_octets=quota, quota_seconds=seconds, expires_at=end),
    quotas,
    quotas,
    ends,
)
terms = st.builds(RefillTerms, st.sampled_from(RefillExpiry), st.sampled_from(RefillRates), st.booleans())


def _after(before: list[Grant], fresh: Grant, chosen: RefillTerms) -> list[Grant]:
    refilled = refill(before, fresh, chosen, NOW)
    changed = {grant.grant_id: grant for grant in refilled.changed}
    return [changed.get(grant.grant_id, grant) for grant in before] + [refilled.grant]


def _left(grants: list[Grant]) -> int | None:
    alive = [grant for grant in grants if grant_end(grant, NOW) is None]
    if any(grant.quota_octets is None for grant in alive):
        return None
    return sum(grant.remaining_octets or 0 for grant in alive)


@given(st.lists(old, max_size=4), new, terms)
def test_r9_quota_is_added_and_unlimited_wins(before: list[Grant], fresh: Grant, chosen: RefillTerms) -> None:
    before = [replace(grant, grant_id=number + 1) for number, grant in enumerate(before)]
    was = _left(before)
    after = _left(_after(before, fresh, replace(chosen, counts_overuse=False)))
    if fresh.quota_octets is None or was is None:
        assert after is None
    else:
        assert after == was + fresh.quota_octets


@given(st.lists(old, min_size=1, max_size=4), new, terms)
def test_r9_what_is_refilled_together_ends_together(
    before: list[Grant], fresh: Grant, chosen: RefillTerms
) -> None:
    before = [replace(grant, grant_id=number + 1) for number, grant in enumerate(before)]
    living = [grant for grant in before if grant_end(grant, NOW) is None]
    refilled = refill(before, fresh, chosen, NOW)
    if not living:
        assert refilled.changed == ()
        assert refilled.grant.expires_at == fresh.expires_at
        return
    known = [grant.expires_at for grant in living]
    expected = _expected_end(known, fresh.expires_at, chosen.expiry)
    assert {grant.expires_at for grant in [*refilled.changed, refilled.grant]} == {expected}


def _expected_end(
    known: list[datetime | None], fresh: datetime | None, expiry: RefillExpiry
) -> datetime | None:
    if expiry is RefillExpiry.REPLACE or fresh is None:
        return fresh
    dated = [end for end in known if end is not None]
    if len(dated) < len(known):
        return None
    return max(dated) + (fresh - NOW) if expiry is RefillExpiry.EXTEND else max(*dated, fresh)


@pytest.mark.parametrize(
    ("expiry", "days"),
    [(RefillExpiry.REPLACE, 7), (RefillExpiry.EXTEND, 37), (RefillExpiry.LATEST, 30)],
)
def test_r9_expiry_is_the_plans_choice(expiry: RefillExpiry, days: int) -> None:
    before = _grant(expires_at=NOW + 30 * DAY)
    refilled = refill([before], _fresh(expires_at=NOW + 7 * DAY), RefillTerms(expiry), NOW)
    assert refilled.grant.expires_at == NOW + days * DAY


def test_r9_a_validity_after_first_use_counts_from_the_refill_where_something_is_in_use() -> None:
    before = _grant(expires_at=NOW + DAY)
    fresh = _fresh(seconds_after_first_use=2 * 86400)
    refilled = refill([before], fresh, RefillTerms(RefillExpiry.EXTEND), NOW)
    assert grant_ends_at(refilled.grant, NOW + 9 * DAY) == NOW + 3 * DAY


def test_r9_a_clock_that_has_not_begun_is_not_begun_by_a_refill() -> None:
    waiting = _grant(first_used_at=None, seconds_after_first_use=3600)
    refilled = refill([waiting], _fresh(seconds_after_first_use=7200), RefillTerms(RefillExpiry.REPLACE), NOW)
    assert refilled.changed == ()
    assert refilled.grant.seconds_after_first_use == 7200


@pytest.mark.parametrize(
    ("rates", "expected"), [(RefillRates.KEEP, SLOW.rates), (RefillRates.REPLACE, FAST.rates)]
)
def test_r9_rates_are_the_plans_choice(rates: RefillRates, expected: object) -> None:
    after = _after([_grant(policy=SLOW)], _fresh(policy=FAST), RefillTerms(rates=rates))
    assert {grant.policy.rates for grant in after} == {expected}


def test_r9_a_used_up_ticket_is_refilled_at_its_own_rates_where_they_are_kept() -> None:
    ended = _grant(policy=SLOW, used=Usage(0, GIB, 0), ended_at=NOW - DAY, ended_reason=GrantEnd.QUOTA)
    refilled = refill([ended], _fresh(policy=FAST), RefillTerms(), NOW)
    assert refilled.grant.policy.rates == SLOW.rates


@pytest.mark.parametrize(("counts", "left"), [(True, GIB - 300), (False, GIB)])
def test_r9_overuse_counts_only_if_the_plan_says_so(counts: bool, left: int) -> None:
    ended = _grant(
        policy=SOFT, used=Usage(100, GIB + 200, 0), ended_at=NOW - DAY, ended_reason=GrantEnd.QUOTA
    )
    refilled = refill([ended], _fresh(), RefillTerms(counts_overuse=counts), NOW)
    assert refilled.grant.remaining_octets == left


def test_r9_overuse_beyond_the_refill_is_owed_to_the_next() -> None:
    ended = _grant(policy=SOFT, used=Usage(0, 4 * GIB, 0), ended_at=NOW - DAY, ended_reason=GrantEnd.QUOTA)
    chosen = RefillTerms(counts_overuse=True)
    first = refill([ended], _fresh(policy=SOFT), chosen, NOW).grant
    assert first.ended_reason is GrantEnd.QUOTA
    second = refill([replace(first, grant_id=2)], _fresh(quota_octets=5 * GIB), chosen, NOW).grant
    assert second.remaining_octets == 3 * GIB


def test_r9_overshoot_of_a_plan_that_rejects_is_never_counted() -> None:
    ended = _grant(used=Usage(0, 2 * GIB, 0), ended_at=NOW - DAY, ended_reason=GrantEnd.QUOTA)
    assert refill([ended], _fresh(), RefillTerms(counts_overuse=True), NOW).grant.remaining_octets == GIB


def test_r9_a_groups_allocation_is_not_refilled() -> None:
    allocation = _grant(source="allocation", expires_at=NOW + DAY)
    refilled = refill([allocation], _fresh(quota_octets=None), RefillTerms(RefillExpiry.EXTEND), NOW)
    assert refilled.changed == ()
