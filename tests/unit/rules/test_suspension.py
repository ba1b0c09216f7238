"""R24: suspended only if expired, with a bill, whose payment date has passed, and automatic suspend is on."""

from itertools import product

import pytest

from herotill.suspension import ENDED, UNPAID_BILL, Arrears, explain_suspension, why_not_suspended

# expired, open bill, payment date passed, automatic suspend → suspended. No bill, no suspension.
TABLE = [(*facts, all(facts)) for facts in product((False, True), repeat=4)]


@pytest.mark.parametrize(("expired", "bill", "passed", "automatic", "suspended"), TABLE)
def test_r24_all_sixteen_combinations(
    expired: bool, bill: bool, passed: bool, automatic: bool, suspended: bool
) -> None:
    arrears = Arrears(expired, bill, passed, automatic)
    assert arrears.must_be_suspended is suspended
    assert bool(why_not_suspended(arrears)) is not suspended


def test_r24_each_missing_condition_is_named() -> None:
    nothing = Arrears(False, False, False, False, automatic_bill=False)
    assert why_not_suspended(nothing) == (
        "It has not expired.",
        "There is no unpaid bill (automatic bill is off): no bill, no suspension.",
        "Automatic suspend is off.",
    )
    assert why_not_suspended(Arrears(True, True, False, True)) == (
        "There is a bill, but its payment date has not passed yet.",
    )


@pytest.mark.parametrize(
    ("suspended", "arrears", "monthly", "said"),
    [
        (None, Arrears(True, False, False, True), True, "It has expired, but is not suspended (rule R24)."),
        (None, Arrears(True, True, True, False), True, "Automatic suspend is off."),
        (None, Arrears(True, True, True, True), True, "the next billing run suspends it"),
        (None, Arrears(False, True, True, True), True, "It has not expired."),
        (UNPAID_BILL, Arrears(True, True, True, True), True, "Paying its overdue bills"),
        (ENDED, Arrears(True, False, False, True), False, "buying another"),
        ("moved away", Arrears(True, False, False, True), True, "It is suspended (moved away)."),
    ],
)
def test_r24_r35_why_an_account_is_suspended_or_not(
    suspended: str | None, arrears: Arrears, monthly: bool, said: str
) -> None:
    assert said in " ".join(explain_suspension(suspended, arrears, monthly))


def test_nothing_is_said_of_who_is_in_good_standing() -> None:
    assert explain_suspension(None, Arrears(False, False, False, True), is_monthly=True) == ()
    assert explain_suspension(None, Arrears(True, False, False, True), is_monthly=False) == ()
