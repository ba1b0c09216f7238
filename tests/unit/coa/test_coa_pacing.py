"""The window and the pace of one NAS (rule R31)."""

from hypothesis import given
from hypothesis import strategies as st

from sync_daemon.coa.pacing import Pacer, PacingSettings

SETTINGS = PacingSettings(
    initial_window=8, least_window=2, largest_window=64, requests_per_second=10.0, burst=3
)


def test_r31_the_window_grows_with_every_answer_until_the_first_loss_and_then_by_one_for_each_window() -> (
    None
):
    pacer = Pacer(SETTINGS)
    for number in range(4):
        pacer.answered(number + 0.01, number, was_sent_once=True)
    assert pacer.window == 12
    pacer.slowed(10.0, 9.0)
    assert pacer.window == 6
    for number in range(6):
        pacer.answered(20 + number + 0.01, 20 + number, was_sent_once=True)
    assert 6.9 < pacer.window < 7.1


def test_r31_what_was_lost_together_halves_the_window_once() -> None:
    pacer = Pacer(SETTINGS)
    for _ in range(5):
        pacer.slowed(10.0, 9.0)
    assert pacer.window == 4
    pacer.slowed(11.0, 10.5)
    assert pacer.window == 2


def test_r31_a_nas_that_becomes_slow_is_given_less() -> None:
    pacer = Pacer(SETTINGS)
    pacer.answered(0.01, 0.0, was_sent_once=True)
    before = pacer.window
    pacer.answered(3.0, 1.0, was_sent_once=True)
    assert pacer.window == before / 2


def test_the_round_trip_of_a_repeated_request_is_not_known() -> None:
    pacer = Pacer(SETTINGS)
    pacer.answered(9.0, 0.0, was_sent_once=False)
    assert pacer.answer_seconds is None
    pacer.answered(10.1, 10.0, was_sent_once=True)
    assert round(pacer.answer_seconds or 0, 3) == 0.3  # RFC 6298 §2.2


def test_r31_a_burst_goes_at_once_and_the_rest_at_the_pace() -> None:
    pacer = Pacer(SETTINGS)
    times, now = [], 100.0
    for _ in range(6):
        now = pacer.send_at(now)
        pacer.sent(now)
        times.append(round(now - 100, 3))
    assert times == [0, 0, 0, 0.1, 0.2, 0.3]


@given(st.lists(st.sampled_from(["answer", "late", "repeated", "loss"]), max_size=200))
def test_the_window_stays_within_its_bounds(events: list[str]) -> None:
    pacer = Pacer(SETTINGS)
    for number, event in enumerate(events):
        match event:
            case "loss":
                pacer.slowed(number + 0.5, number)
            case "late":
                pacer.answered(number + 5, number, was_sent_once=True)
            case _:
                pacer.answered(number + 0.01, number, event == "answer")
        assert 2 <= pacer.window <= 64
        assert pacer.may_send(1)
