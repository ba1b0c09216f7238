"""R26: what may be bought on credit, as a table and as laws."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.credit import CreditLine, Standing, refusal_by_balance, refusal_by_credit
from herotill.errors import InvalidValue
from herotill.quantities import Money

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WEEK = 7 * 86_400
AMOUNTS = st.integers(-5000, 5000)


def kes(minor: int) -> Money:
    return Money(minor, "KES")


def standing(balance: int, *, owed_for: int | None = None, limit: int | None = 1000) -> Standing:
    line = None if limit is None else CreditLine(kes(limit), WEEK)
    since = None if owed_for is None else NOW - timedelta(seconds=owed_for)
    return Standing(kes(balance), since, line)


@pytest.mark.parametrize(
    ("stands", "price", "said"),
    [
        (standing(500), 500, None),
        (standing(500, limit=None), 500, None),
        (standing(499, limit=None), 500, "balance is 4.99 KES, p costs 5.00 KES, and there is no credit"),
        (standing(0), 1000, None),
        (standing(0), 1001, "balance is 0.00 KES, p costs 10.01 KES, and the credit limit is 10.00 KES"),
        (standing(-400, owed_for=60), 600, None),
        (standing(-400, owed_for=60), 601, "the credit limit is 10.00 KES"),
        (standing(-400, owed_for=WEEK - 1), 100, None),
        (standing(-400, owed_for=WEEK), 100, "4.00 KES are owed since 2026-11-15 12:00 UTC and overdue"),
    ],
)
def test_r26_credit_is_given_up_to_the_limit_and_not_when_overdue(
    stands: Standing, price: int, said: str | None
) -> None:
    refusal = refusal_by_credit(stands, "p", kes(price), NOW)
    assert refusal is None if said is None else said in (refusal or "")


@given(balance=AMOUNTS, price=st.integers(1, 5000), limit=st.integers(1, 5000))
def test_r26_whatever_is_bought_on_credit_the_balance_stays_above_the_limit(
    balance: int, price: int, limit: int
) -> None:
    refusal = refusal_by_credit(standing(balance, limit=limit), "p", kes(price), NOW)
    assert (refusal is None) == (balance - price >= -limit or balance >= price)


@given(balance=AMOUNTS, price=st.integers(1, 5000))
def test_r25_a_refusal_shows_both_figures(balance: int, price: int) -> None:
    refusal = refusal_by_balance(standing(balance), "p", kes(price))
    assert (refusal is None) == (balance >= price)
    if refusal is not None:
        assert str(kes(balance)) in refusal
        assert str(kes(price)) in refusal


def test_r26_what_is_left_of_the_credit_is_the_limit_less_the_debt() -> None:
    assert standing(500).credit_left == kes(1000)
    assert (standing(-400).owed, standing(-400).credit_left) == (kes(400), kes(600))
    assert standing(-1400).credit_left == kes(0)
    assert standing(-400, limit=None).credit_left == kes(0)


@pytest.mark.parametrize(("limit", "seconds"), [(0, 60), (-5, 60), (5, 0)])
def test_r26_a_line_that_lends_nothing_is_refused(limit: int, seconds: int) -> None:
    with pytest.raises(InvalidValue):
        CreditLine(kes(limit), seconds)
