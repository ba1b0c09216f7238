"""Rule R16: the throttle ladder is read, written and applied as the plan says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.errors import InvalidValue
from herotill.ladder import Step, format_ladder, parse_ladder, show_ladder, step_at
from herotill.policy import ServicePolicy

LADDER = "80:2000000/1000000,100:256000/256000@slow,120:cut"
STEPS = (
    Step(80, 2_000_000, 1_000_000),
    Step(100, 256_000, 256_000, "slow"),
    Step(120, cuts=True),
)
rates = st.integers(1, 4 * 10**12)
steps = st.builds(Step, st.integers(1, 1000), rates, rates, st.none() | st.sampled_from(["slow", "a b"]))
ladders = st.lists(steps, max_size=10, unique_by=lambda step: step.percent).map(
    lambda found: tuple(sorted(found, key=lambda step: step.percent))
)


def test_r16_a_ladder_is_read_as_it_is_typed_and_as_it_is_stored() -> None:
    assert parse_ladder(LADDER) == STEPS
    assert parse_ladder("80%:2M/1M, 100%:256k@slow, 120%:cut") == STEPS
    assert parse_ladder("") == ()
    assert show_ladder(LADDER) == "80%:2M/1M, 100%:256k/256k@slow, 120%:cut"


@given(ladders)
def test_what_is_written_is_read_back(found: tuple[Step, ...]) -> None:
    assert parse_ladder(format_ladder(found)) == found
    assert parse_ladder(show_ladder(format_ladder(found))) == found


@pytest.mark.parametrize(
    "text",
    [
        "80", ":", "80:", "0:1M", "1001:1M", "-5:1M", "80:1M/", "80:/1M", "80:0/1", "80:1M@", "80:1X", "x:1M",
        "80:2M,80:1M", "90:2M,80:1M", "100:cut,120:1M", "80:cut", "80:1M,", "80:5T/1", "٣:1M",
        ",".join(f"{percent}:1M" for percent in range(1, 12)),
    ],
)  # fmt: skip
def test_what_no_router_could_obey_is_refused_and_named(text: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        ServicePolicy(ladder=text)
    assert refusal.value.field == "ladder"


@pytest.mark.parametrize(
    ("used", "step"),
    [
        (0, None),
        (799, None),
        (800, STEPS[0]),
        (999, STEPS[0]),
        (1000, STEPS[1]),
        (1199, STEPS[1]),
        (1200, STEPS[2]),
        (10**9, STEPS[2]),
    ],
)
def test_r16_a_step_is_reached_by_its_last_octet_and_not_before(used: int, step: Step | None) -> None:
    assert step_at(LADDER, used, 1000) == step


def test_percents_are_exact_where_they_do_not_divide() -> None:
    assert step_at("33:1M", 10, 31) is None
    assert step_at("33:1M", 11, 31) is not None
    assert step_at("80:1M", 2**62 * 8 // 10, 2**62) is None  # half an octet short
    assert step_at("80:1M", 2**62 * 8 // 10 + 1, 2**62) is not None


def test_r16_a_step_with_a_list_needs_one_to_go_back_to() -> None:
    with pytest.raises(InvalidValue, match="address_list"):
        ServicePolicy(ladder=LADDER)
    assert ServicePolicy(ladder=LADDER, address_list="all").ladder == LADDER
