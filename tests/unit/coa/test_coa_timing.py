"""When a request is sent again (RFC 5080 §2.2.1)."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sync_daemon.coa.timing import RetransmissionTiming

MIDDLE = 0.5


def intervals(timing: RetransmissionTiming, randomness: float, count: int) -> list[float]:
    previous = timing.first_interval_seconds(None, randomness)
    found = [previous]
    for _ in range(count - 1):
        previous = timing.next_interval_seconds(previous, randomness)
        found.append(previous)
    return found


def test_without_jitter_intervals_double_up_to_the_maximum() -> None:
    assert intervals(RetransmissionTiming(), MIDDLE, 6) == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


@given(st.floats(0.0, 1.0, exclude_max=True), st.integers(1, 8))
def test_jitter_stays_within_its_bounds(randomness: float, count: int) -> None:
    first, *_ = found = intervals(RetransmissionTiming(), randomness, count)
    assert 1.8 <= first <= 2.2
    assert max(found) <= 16 * 1.1
    assert all(later >= earlier * 0.8 for earlier, later in itertools.pairwise(found))


def test_a_nas_known_to_be_quick_is_asked_again_sooner_but_not_at_once() -> None:
    timing = RetransmissionTiming()
    firsts = [timing.first_interval_seconds(seconds, MIDDLE) for seconds in (0.001, 0.8, 1.6, 9.0)]
    assert firsts == [0.4, 0.8, 1.6, 2.0]
