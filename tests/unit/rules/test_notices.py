"""Which marks of its quota or time a grant passes (rule R21)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.errors import InvalidValue
from herotill.grants import Grant, burn
from herotill.notices import marks_passed, percent_used
from herotill.policy import ServicePolicy, parse_percents
from herotill.usage import Usage
from tests.unit.rules.build import NOW, grant


def _used(octets: int, **changes: Any) -> Grant:
    fields: dict[str, Any] = {"quota_octets": 1000, "used": Usage(0, octets, 0)} | changes
    return grant(**fields)


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        (0, 499, ()),
        (0, 500, (50,)),
        (500, 799, ()),
        (499, 800, (50, 80)),
        (0, 5000, (50, 80, 100)),
        (999, 1000, (100,)),
        (1000, 2000, ()),
    ],
)
def test_r21_a_mark_is_passed_by_reaching_it(before: int, after: int, passed: tuple[int, ...]) -> None:
    assert marks_passed(_used(before), _used(after)) == passed


def test_r21_time_counts_like_octets_whichever_is_further() -> None:
    before = _used(100, quota_seconds=100)
    assert marks_passed(before, replace(before, used=Usage(0, 100, 81))) == (50, 80)


def test_r21_an_unlimited_grant_passes_nothing() -> None:
    assert percent_used(_used(5, quota_octets=None)) == 0
    assert marks_passed(_used(0, quota_octets=None), _used(9999, quota_octets=None)) == ()


def test_r21_the_plan_says_the_marks_or_that_there_are_none() -> None:
    own, none = ServicePolicy(notice_percents="90"), ServicePolicy(notice_percents="")
    assert marks_passed(_used(0, policy=own), _used(950, policy=own)) == (90,)
    assert marks_passed(_used(0, policy=none), _used(950, policy=none)) == ()


@given(st.lists(st.integers(0, 400), max_size=20))
def test_r21_over_any_history_each_mark_is_passed_once(steps: list[int]) -> None:
    now, passed = _used(0), list[int]()
    for octets in steps:
        if not octets:
            continue
        (taken,) = burn([now], Usage(0, octets, 0), NOW)
        assert taken.grant is not None
        passed += marks_passed(now, taken.grant)
        now = taken.grant
    assert passed == [mark for mark in (50, 80, 100) if sum(steps) >= mark * 10]


@pytest.mark.parametrize(
    "text", ["0", "101", "50,50", "fifty", "50,", "5.5", "1,2,3,4,5,6,7,8,9,10,11", "-5"]
)
def test_r21_marks_nobody_can_pass_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="notice_percents"):
        ServicePolicy(notice_percents=text)


def test_r21_marks_are_read_in_any_order() -> None:
    assert parse_percents("100,50") == (50, 100)
    assert parse_percents("") == ()
