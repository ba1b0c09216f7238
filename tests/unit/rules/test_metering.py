"""Rule R15: duplicates, loss, reordering and 4 GiB wraps never change what was used."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.metering import UNREAD, WORD, Counter, Meter, Reading, advance
from herotill.usage import Usage

MANY = 20 * WORD


def split(octets: int) -> Counter:
    """As a NAS with Gigawords says it."""
    return Counter(octets % WORD, octets // WORD)


def sparse(octets: int) -> Counter:
    """As a NAS says it that sends Gigawords only when there are some."""
    return Counter(octets % WORD, octets // WORD or None)


def wrapping(octets: int) -> Counter:
    """As a NAS without Gigawords says it."""
    return Counter(octets % WORD)


def read(readings: list[Reading], meter: Meter = UNREAD) -> Meter:
    for reading in readings:
        meter = advance(meter, reading)
    return meter


@st.composite
def histories(draw: st.DrawFn, most: int) -> list[Usage]:
    """Cumulative totals of one session at successive reports; each differs by at most `most` from the one before."""
    rises = st.integers(0, most) | st.sampled_from([0, 1, most - 1, most])
    steps = draw(st.lists(st.tuples(rises, rises, st.integers(4, 3600)), min_size=1, max_size=8))
    return list(accumulate((Usage(*step) for step in steps), lambda a, b: a + b))


@given(histories(MANY), st.sampled_from([split, sparse]), st.data())
def test_r15_with_gigawords_any_order_any_loss_any_repetition_gives_the_last_total(
    history: list[Usage], say: object, data: st.DataObject
) -> None:
    said = split if say is split else sparse
    readings = [Reading(u.seconds, said(u.input_octets), said(u.output_octets)) for u in history]
    arrived = data.draw(st.lists(st.sampled_from(readings), max_size=12))
    arrived.insert(data.draw(st.integers(0, len(arrived))), readings[-1])
    assert read(arrived).total == history[-1]


def said_without_gigawords(history: list[Usage]) -> list[Reading]:
    return [Reading(u.seconds, wrapping(u.input_octets), wrapping(u.output_octets)) for u in history]


def is_readable(history: list[Usage]) -> bool:
    """A total of exactly so many times 4 GiB reads as nothing said."""
    return all(n == 0 or n % WORD for u in history for n in (u.input_octets, u.output_octets))


@given(histories((WORD - 1) // 4).filter(is_readable), st.data())
def test_r15_without_gigawords_losses_and_repetitions_change_nothing_while_gaps_stay_below_4_gib(
    history: list[Usage], data: st.DataObject
) -> None:
    readings = said_without_gigawords(history)
    arrived = []
    for index, reading in enumerate(readings):
        # One in four is enough: three lost ones in a row are a gap of less than 4 GiB.
        if index == len(readings) - 1 or index % 4 == 3 or data.draw(st.booleans()):
            arrived += [reading] * data.draw(st.integers(1, 3))
    assert read(arrived).total == history[-1]


@given(histories(WORD - 1).filter(is_readable))
def test_r15_without_gigawords_every_gap_below_4_gib_is_read_to_the_octet(history: list[Usage]) -> None:
    assert read(said_without_gigawords(history)).total == history[-1]


@given(histories((WORD - 1) // 2).filter(is_readable), st.data())
def test_r15_without_gigawords_neighbours_may_swap(history: list[Usage], data: st.DataObject) -> None:
    readings = said_without_gigawords(history)
    index = 0
    while index + 1 < len(readings):
        if data.draw(st.booleans()):
            readings[index], readings[index + 1] = readings[index + 1], readings[index]
            index += 1
        index += 1
    assert read(readings).total == history[-1]


counters = st.builds(
    Counter, st.integers(0, WORD - 1) | st.sampled_from([0, 1, WORD - 1]), st.none() | st.integers(0, 40)
)
readings_of_any_kind = st.lists(st.builds(Reading, st.integers(0, 10**6), counters, counters), max_size=10)


@given(readings_of_any_kind)
def test_r15_no_nonsense_from_a_nas_moves_a_total_backwards(readings: list[Reading]) -> None:
    meter = UNREAD
    for reading in readings:
        after = advance(meter, reading)
        assert after.total.input_octets >= meter.total.input_octets
        assert after.total.output_octets >= meter.total.output_octets
        assert after.total.seconds >= meter.total.seconds
        meter = after


@given(readings_of_any_kind.filter(bool))
def test_r15_the_same_report_again_is_nothing_new(readings: list[Reading]) -> None:
    meter = read(readings)
    assert advance(meter, readings[-1]) == meter


@given(histories(WORD - 1).filter(is_readable))
def test_r15_replaying_a_whole_session_is_nothing_new(history: list[Usage]) -> None:
    readings = [Reading(u.seconds, split(u.input_octets), split(u.output_octets)) for u in history]
    assert read(readings, read(readings)) == read(readings)


def known(octets: int, seconds: int = 600) -> Meter:
    return Meter(Usage(octets, octets, seconds))


@pytest.mark.parametrize(
    ("before", "low", "seconds", "after"),
    [
        (1000, 1000, 660, 1000),
        (1000, 1001, 660, 1001),
        (WORD - 1, 1, 660, WORD + 1),  # two octets later
        (WORD - 1, WORD - 2, 660, 2 * WORD - 2),  # the widest gap a wrap can close
        (WORD + 7, 6, 660, 2 * WORD + 6),
        (1000, 999, 600, 1000),  # 4 GiB in no time at all: the counter was reset
        (1000, 999, 603, 1000),  # 4 GiB in three seconds: likewise
        (1000, 999, 604, WORD + 999),  # in four, at 10 Gbit/s, it was a wrap
        (1000, 999, 599, 1000),  # an earlier report
        (5, 1000, 590, WORD + 5),  # an earlier report that shows the wrap between the two
        (5, 1000, 597, 1000),  # too short a time for a wrap: the later report was a Stop without counters
        (WORD + 5, 1000, 590, WORD + 5),
        (WORD + 5, 0, 660, WORD + 5),  # nothing said
    ],
)
def test_r15_without_gigawords_a_fall_is_a_wrap_only_when_it_can_be(
    before: int, low: int, seconds: int, after: int
) -> None:
    meter = advance(known(before), Reading(seconds, Counter(low), Counter(low)))
    assert meter.total.input_octets == after
    assert meter.total.output_octets == after
    assert not meter.sends_gigawords


def test_r15_a_stop_with_zero_counters_tells_the_time_only() -> None:
    meter = advance(known(5 * WORD + 5), Reading(700, Counter(0), Counter(0)))
    assert meter.total == Usage(5 * WORD + 5, 5 * WORD + 5, 700)


def test_r15_an_interim_after_a_stop_with_zero_counters_still_counts_and_is_no_wrap() -> None:
    stopped = advance(UNREAD, Reading(700, Counter(0), Counter(0)))
    assert advance(stopped, Reading(600, Counter(5), Counter(6))).total == Usage(5, 6, 700)


def test_r15_one_direction_left_out_of_a_stop_is_not_a_wrap() -> None:
    meter = advance(known(1000), Reading(700, Counter(0), Counter(2000)))
    assert meter.total == Usage(1000, 2000, 700)


def test_r15_zero_below_a_gigaword_is_a_total() -> None:
    meter = advance(known(WORD - 1), Reading(700, Counter(0, 1), Counter(0, 2)))
    assert meter.total == Usage(WORD, 2 * WORD, 700)


def test_r15_a_session_whose_first_report_comes_late_counts_from_its_beginning() -> None:
    assert advance(UNREAD, Reading(7200, split(9 * WORD), split(1))).total == Usage(9 * WORD, 1, 7200)
