"""Rules R13 and R14: when grants end, in which order they burn, and that the parts sum to the whole."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.grants import Grant, GrantEnd, burn, burn_order, grant_end, grant_ends_at, grant_from_row
from herotill.policy import Counting, ServicePolicy, Sharing
from herotill.usage import Usage, counted_octets
from tests.unit.rules.build import INSTANT, NOW, at, begun, grant, total

BOTH_WAYS = Usage(60, 40, 10)


# -- R13: clocks


@pytest.mark.parametrize(
    ("clocks", "ends_at"),
    [
        ({}, None),
        ({"expires_at": at(60)}, at(60)),
        ({"seconds_after_first_use": 60}, at(60)),  # not used yet: from now on
        ({"seconds_after_first_use": 60, "first_used_at": at(-20)}, at(40)),
        ({"seconds_after_last_use": 60}, at(60)),
        ({"seconds_after_last_use": 60, "last_used_at": at(-20)}, at(40)),
        ({"expires_at": at(30), "seconds_after_first_use": 60, "seconds_after_last_use": 50}, at(30)),
        ({"expires_at": at(70), "seconds_after_first_use": 60, "seconds_after_last_use": 50}, at(50)),
    ],
)
def test_r13_a_grant_ends_at_the_earliest_of_its_clocks(
    clocks: dict[str, Any], ends_at: datetime | None
) -> None:
    assert grant_ends_at(grant(**clocks), NOW) == ends_at


@pytest.mark.parametrize(
    "clocks",
    [
        {"expires_at": at(60)},
        {"seconds_after_first_use": 60, "first_used_at": NOW},
        {"seconds_after_last_use": 60, "last_used_at": NOW},
    ],
)
def test_r13_a_grant_lives_up_to_its_end_and_not_at_it(clocks: dict[str, Any]) -> None:
    assert grant_end(grant(**clocks), at(60) - INSTANT) is None
    assert grant_end(grant(**clocks), at(60)) is GrantEnd.EXPIRY
    assert burn_order([grant(**clocks)], at(60)) == []


def test_r13_the_first_use_starts_the_clock_and_a_later_one_does_not_move_it() -> None:
    fresh = grant(seconds_after_first_use=60, expires_at=at(1000))
    (first,) = burn([fresh], BOTH_WAYS, at(5))
    assert first.grant is not None
    assert (first.grant.first_used_at, first.grant.expires_at) == (at(5), at(65))
    (second,) = burn([first.grant], BOTH_WAYS, at(50))
    assert second.grant is not None
    assert (second.grant.first_used_at, second.grant.expires_at) == (at(5), at(65))


def test_r13_each_use_moves_the_last_use_clock_and_a_late_report_does_not_move_it_back() -> None:
    (used,) = burn([grant(seconds_after_last_use=60)], BOTH_WAYS, at(50))
    assert used.grant is not None
    assert used.grant.last_used_at == at(50)
    (late,) = burn([used.grant], BOTH_WAYS, at(10))
    assert late.grant is not None
    assert late.grant.last_used_at == at(50)
    assert grant_end(late.grant, at(110) - INSTANT) is None
    assert grant_end(late.grant, at(110)) is GrantEnd.EXPIRY


def test_r13_over_use_does_not_revive_a_grant_that_ended_unused_for_too_long() -> None:
    dead = grant(seconds_after_last_use=60, last_used_at=NOW, first_used_at=NOW)
    (taken,) = burn([dead], BOTH_WAYS, at(100))
    assert taken.grant is not None
    assert taken.grant.used == BOTH_WAYS
    assert grant_end(taken.grant, at(100)) is GrantEnd.EXPIRY


@pytest.mark.parametrize(
    "ended",
    [{"expires_at": at(-1)}, {"ended_at": at(-1), "ended_reason": GrantEnd.VOID}],
)
def test_r13_over_use_starts_no_clock_of_a_grant_that_was_never_used(ended: dict[str, Any]) -> None:
    """The first use of a ticket sells it (rule R8): one that expired or was withdrawn must not be sold."""
    (taken,) = burn([grant(**ended)], BOTH_WAYS, NOW)
    assert taken.grant is not None
    assert taken.grant.first_used_at is None
    assert taken.usage == taken.grant.used == BOTH_WAYS


# -- quotas


@pytest.mark.parametrize(
    ("counting", "counted"),
    [(Counting.SUM, 100), (Counting.LARGER, 60), (Counting.DOWNLOAD, 40), (Counting.UPLOAD, 60)],
)
def test_r14_a_quota_is_exact_to_the_octet_however_it_is_counted(counting: Counting, counted: int) -> None:
    assert counted_octets(counting, BOTH_WAYS) == counted
    almost = grant(counting=counting, quota_octets=counted + 1, used=BOTH_WAYS)
    assert (almost.remaining_octets, grant_end(almost, NOW)) == (1, None)
    full = replace(almost, quota_octets=counted)
    assert (full.remaining_octets, grant_end(full, NOW)) == (0, GrantEnd.QUOTA)
    over = replace(almost, quota_octets=counted - 1)
    assert (over.remaining_octets, grant_end(over, NOW)) == (0, GrantEnd.QUOTA)


def test_r14_time_and_octets_together_end_with_whichever_is_first() -> None:
    both = grant(quota_octets=100, quota_seconds=10)
    assert grant_end(replace(both, used=Usage(99, 0, 9)), NOW) is None
    assert grant_end(replace(both, used=Usage(100, 0, 9)), NOW) is GrantEnd.QUOTA
    assert grant_end(replace(both, used=Usage(99, 0, 10)), NOW) is GrantEnd.TIME
    assert grant_end(replace(both, used=Usage(100, 0, 10), expires_at=NOW), NOW) is GrantEnd.QUOTA
    assert grant_end(replace(both, quota_seconds=0), NOW) is GrantEnd.TIME


def test_a_written_end_is_final() -> None:
    assert grant_end(grant(ended_at=NOW, ended_reason=GrantEnd.VOID), NOW) is GrantEnd.VOID


def test_unlimited_is_never_used_up() -> None:
    endless = grant(used=Usage(2**70, 2**70, 2**40))
    assert (endless.remaining_octets, endless.remaining_seconds, grant_end(endless, NOW)) == (
        None,
        None,
        None,
    )


# -- R14: order


IN_ORDER = [
    grant(9, priority=1),
    grant(8, expires_at=at(10)),
    grant(7, seconds_after_first_use=20),
    grant(6, expires_at=at(30), granted_at=at(-200)),
    grant(5, expires_at=at(30), granted_at=at(-100)),
    grant(3, granted_at=at(-100)),
    grant(4, granted_at=at(-100)),
    grant(1, priority=101, expires_at=at(1)),
]


@given(st.permutations(IN_ORDER))
def test_r14_grants_burn_by_priority_then_earliest_end_then_age(shuffled: list[Grant]) -> None:
    assert burn_order(shuffled, NOW) == IN_ORDER


def test_r14_the_dead_do_not_burn() -> None:
    assert burn_order([grant(1, quota_octets=0), grant(2, expires_at=NOW), grant(3)], NOW) == [grant(3)]


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_r15_a_session_with_a_slice_burns_that_grant_first(order: tuple[int, ...]) -> None:
    grants = [grant(n, priority=n, quota_octets=50) for n in order]
    taken = [(b.grant and b.grant.grant_id, b.usage.output_octets) for b in burn(grants, down(120), NOW, 2)]
    assert taken == [(2, 50), (1, 50), (3, 20)]


def down(octets: int) -> Usage:
    return Usage(output_octets=octets)


# -- the sum of the parts is the whole

quotas = st.none() | st.integers(0, 300)
amounts = st.integers(0, 400)
usages = st.builds(Usage, amounts, amounts, amounts)
moments = st.none() | st.integers(-5, 5).map(at)
grant_lists = st.lists(
    st.builds(
        grant,
        counting=st.sampled_from(Counting),
        priority=st.integers(1, 3),
        quota_octets=quotas,
        quota_seconds=quotas,
        used=st.builds(Usage, *[st.integers(0, 200)] * 3),
        expires_at=moments,
        first_used_at=moments,
        seconds_after_first_use=st.none() | st.integers(1, 5),
        ended_at=st.none(),
    ),
    max_size=5,
).map(lambda grants: [replace(one, grant_id=n) for n, one in enumerate(grants, 1)])


@given(grant_lists, usages, st.none() | st.integers(1, 5))
def test_r14_the_parts_sum_to_the_whole_and_each_grant_shows_its_part(
    grants: list[Grant], usage: Usage, reserved: int | None
) -> None:
    burns = burn(grants, usage, NOW, reserved)
    assert total([taken.usage for taken in burns]) == usage
    before = {one.grant_id: one for one in grants}
    for taken in burns:
        assert taken.usage
        assert min(taken.usage.input_octets, taken.usage.output_octets, taken.usage.seconds) >= 0
        if taken.grant is None:
            assert grants == []
        else:
            assert taken.grant.used == before[taken.grant.grant_id].used + taken.usage
    named = [taken.grant.grant_id for taken in burns if taken.grant]
    assert len(set(named)) == len(named)


@given(grant_lists, usages)
def test_r14_no_grant_gives_more_than_it_has_but_the_last_and_none_before_it_keeps_anything_back(
    grants: list[Grant], usage: Usage
) -> None:
    alive = burn_order(grants, NOW)
    burns = burn(grants, usage, NOW)
    if not alive:
        assert len(burns) <= 1
        return
    assert [taken.grant and taken.grant.grant_id for taken in burns] == [
        one.grant_id for one in alive[: len(burns)]
    ]
    for taken in burns[:-1]:
        assert taken.grant is not None
        assert taken.grant.used_octets <= (taken.grant.quota_octets or taken.grant.used_octets)
        assert taken.grant.used.seconds <= (taken.grant.quota_seconds or taken.grant.used.seconds)
        assert grant_end(taken.grant, NOW) in (GrantEnd.QUOTA, GrantEnd.TIME)


@given(grant_lists, st.lists(amounts, max_size=4))
def test_r14_burning_bit_by_bit_takes_the_same_of_each_grant_as_all_at_once(
    grants: list[Grant], parts: list[int]
) -> None:
    """With somewhere for the rest to go: what is over-use depends on when the last grant ended."""
    known = [replace(one, quota_seconds=None) for one in grants] + [grant(99, priority=9)]
    assert left_after(known, parts) == left_after(known, [sum(parts)])


def left_after(grants: list[Grant], downloads: list[int]) -> dict[int, Usage]:
    known = {one.grant_id: one for one in grants}
    for octets in downloads:
        burns = burn(known.values(), down(octets), NOW)
        known |= {taken.grant.grant_id: taken.grant for taken in burns if taken.grant}
    return {number: one.used for number, one in known.items()}


def test_over_use_goes_to_the_grant_that_ended_last() -> None:
    older = begun(2, ended_at=at(-20), ended_reason=GrantEnd.QUOTA)
    newer = begun(1, ended_at=at(-10), ended_reason=GrantEnd.EXPIRY)
    for grants in ([older, newer], [newer, older]):
        (taken,) = burn(grants, BOTH_WAYS, NOW)
        assert taken.grant == replace(newer, used=BOTH_WAYS)


def test_over_use_of_a_living_grant_stays_with_it() -> None:
    burns = burn([grant(1, quota_octets=10), grant(2, quota_octets=20, priority=101)], down(100), NOW)
    assert [(taken.grant and taken.grant.used_octets, taken.usage) for taken in burns] == [
        (10, down(10)),
        (90, down(90)),
    ]


def test_usage_of_an_account_that_was_never_granted_anything_is_nobody_s() -> None:
    (taken,) = burn([], BOTH_WAYS, NOW)
    assert (taken.grant, taken.usage) == (None, BOTH_WAYS)


def test_nothing_used_burns_nothing() -> None:
    assert burn([grant()], Usage(), NOW) == []


# -- rows

ROW: dict[str, Any] = {
    "entitlement_id": 7,
    "plan_name": "day",
    "source": "voucher",
    "counting": "larger",
    "priority": 50,
    "policy": {"sharing": "strict"},
    "granted_at": NOW,
    "quota_octets": 2**62,
    "quota_seconds": None,
    "used_input_octets": 1,
    "used_output_octets": 2,
    "used_seconds": 3,
    "expires_at": at(60),
    "seconds_after_first_use": 60,
    "seconds_after_last_use": None,
    "first_used_at": NOW,
    "last_used_at": None,
    "ended_at": None,
    "ended_reason": None,
}


def test_a_grant_reads_the_same_from_the_database_and_from_json() -> None:
    elsewhere = timezone(timedelta(hours=2))
    as_json = {
        name: value.astimezone(elsewhere).isoformat() if isinstance(value, datetime) else value
        for name, value in ROW.items()
    }
    read = grant_from_row(as_json)
    assert read == grant_from_row(ROW)
    assert read.expires_at is not None
    assert read.expires_at.tzinfo is UTC
    assert read.policy == ServicePolicy(sharing=Sharing.STRICT)
    assert read.used == Usage(1, 2, 3)
    ended = grant_from_row(ROW | {"ended_at": NOW, "ended_reason": "void"})
    assert (ended.ended_at, ended.ended_reason) == (NOW, GrantEnd.VOID)
