"""R24: suspended only if expired, with a bill, whose payment date has passed, and automatic suspend is on."""

from itertools import product

import pytest

from herotill.suspension import Arrears, why_not_suspended

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
