"""What an octet counts where it was carried (rule R22)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.errors import InvalidValue
from herotill.multiplier import (
    MAX_PER_MILLE,
    carried_octets,
    charged_usage,
    format_multiplier,
    parse_multiplier,
)
from herotill.usage import NOTHING_USED, Usage

octets = st.integers(0, 2**45)
per_mille = st.integers(0, MAX_PER_MILLE)
steps = st.lists(st.builds(Usage, octets, octets, st.integers(0, 86_400)), max_size=30)


@given(steps, per_mille)
def test_r22_however_often_a_session_reports_rounding_loses_nothing(
    steps: list[Usage], per_mille: int
) -> None:
    total, charged = NOTHING_USED, NOTHING_USED
    for step in steps:
        after = total + step
        charged += charged_usage(total, after, per_mille)
        total = after
    assert charged.input_octets == total.input_octets * per_mille // 1000
    assert charged.output_octets == total.output_octets * per_mille // 1000
    assert charged.seconds == total.seconds


def test_r22_once_twice_half_and_not_at_all() -> None:
    carried = Usage(1001, 3, 60)
    assert charged_usage(NOTHING_USED, carried, 1000) == carried
    assert charged_usage(NOTHING_USED, carried, 2000) == Usage(2002, 6, 60)
    assert charged_usage(NOTHING_USED, carried, 500) == Usage(500, 1, 60)
    assert charged_usage(NOTHING_USED, carried, 0) == Usage(0, 0, 60)


@given(st.integers(1, 2**50), st.integers(1, MAX_PER_MILLE))
def test_r22_a_limit_sent_is_the_least_that_uses_the_grant_up(remaining: int, per_mille: int) -> None:
    limit = carried_octets(remaining, per_mille)
    assert limit is not None
    assert limit >= 1
    assert limit * per_mille // 1000 >= remaining
    assert (limit - 1) * per_mille // 1000 < remaining


def test_r22_what_does_not_count_has_no_limit() -> None:
    assert carried_octets(5, 0) is None
    assert carried_octets(None, 2000) is None
    assert carried_octets(0, 2000) == 0


@given(per_mille)
def test_r22_a_multiplier_is_written_as_it_can_be_typed(per_mille: int) -> None:
    assert parse_multiplier(format_multiplier(per_mille), "multiplier") == per_mille


@pytest.mark.parametrize(
    ("text", "per_mille"), [("0", 0), ("2x", 2000), ("1.25", 1250), (" 0.5x ", 500), ("100", 100_000)]
)
def test_r22_a_multiplier_is_typed_with_or_without_its_x(text: str, per_mille: int) -> None:
    assert parse_multiplier(text, "multiplier") == per_mille


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0005", "101", "100.001", "1e3", "two", "1,5", "٢"])
def test_r22_an_impossible_multiplier_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="multiplier"):
        parse_multiplier(text, "multiplier")
