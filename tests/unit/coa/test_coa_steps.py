"""Rule R31: what is done next about a request, by what the NAS said and what the accounting showed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.live_change import Purpose
from sync_daemon.coa.packets import Ack, Action, Nak, Outcome, Timeout, Unsendable
from sync_daemon.coa.steps import (
    BACK_OFF_SECONDS,
    Again,
    Await,
    Course,
    Settled,
    Step,
    after_no_effect,
    next_step,
)

DISCONNECT, COA = Action.DISCONNECT, Action.COA
END = Course(DISCONNECT, Purpose.END, way_number=0, ways=3, failures=0)
LAST_WAY = replace(END, way_number=2)
RESTRICT = Course(COA, Purpose.RESTRICT, way_number=0, ways=2, failures=0)
RESTORE = replace(RESTRICT, purpose=Purpose.RESTORE)
RAISE = replace(RESTRICT, purpose=Purpose.RAISE)


def last(course: Course) -> Course:
    return replace(course, way_number=course.ways - 1)


def test_r31_an_ack_awaits_the_accounting_where_there_is_any() -> None:
    assert next_step(END, Ack()) == Await()
    assert next_step(RESTRICT, Ack()) == Await()
    assert next_step(END, Nak(507)) == Await()
    assert next_step(replace(END, is_recorded=False), Ack()) == Settled("acked")


@pytest.mark.parametrize("error_cause", [201, 503])
def test_r31_a_session_the_nas_does_not_know_is_gone(error_cause: int) -> None:
    assert next_step(END, Nak(error_cause)) == Settled("gone")


@pytest.mark.parametrize("error_cause", [401, 402, 403, 404, 407, None])
def test_r31_attributes_the_nas_does_not_take_are_replaced_by_others(error_cause: int | None) -> None:
    assert next_step(END, Nak(error_cause)) == Again(DISCONNECT, 1, 0)
    assert next_step(replace(END, way_number=1), Nak(error_cause)) == Again(DISCONNECT, 2, 0)
    assert next_step(LAST_WAY, Nak(error_cause)) == Settled("naked")


def test_a_way_that_met_silence_gets_another_turn_when_the_others_are_refused() -> None:
    assert next_step(replace(LAST_WAY, failures=1), Nak(402)) == Again(DISCONNECT, 0, 2, BACK_OFF_SECONDS[1])


@pytest.mark.parametrize("error_cause", [502, 505, 506])
def test_r31_a_nas_that_is_busy_is_asked_the_same_later_and_later(error_cause: int) -> None:
    course, waits = END, []
    while isinstance(step := next_step(course, Nak(error_cause)), Again):
        assert (step.action, step.way_number) == (DISCONNECT, 0)
        waits.append(step.after_seconds)
        course = replace(course, failures=step.failures)
    assert waits == list(BACK_OFF_SECONDS)
    assert step == Settled("naked")


def test_r31_several_sessions_are_backed_off_from_and_named_otherwise() -> None:
    assert next_step(END, Nak(508)) == Again(DISCONNECT, 1, 0, BACK_OFF_SECONDS[0])


@pytest.mark.parametrize("error_cause", [405, 406, 501, 504, 601, 999])
def test_r31_a_nas_that_will_not_change_a_session_is_asked_to_end_it(error_cause: int) -> None:
    assert next_step(RESTRICT, Nak(error_cause)) == Again(DISCONNECT, 0, 0)
    assert next_step(RESTORE, Nak(error_cause)) == Again(DISCONNECT, 0, 0)
    assert next_step(END, Nak(error_cause)) == Settled("naked")


@pytest.mark.parametrize("error_cause", [401, 404, 405, 503, None])
def test_r31_a_limit_that_cannot_be_raised_throws_nobody_out(error_cause: int | None) -> None:
    assert next_step(last(RAISE), Nak(error_cause)) == Settled("naked")


def test_r31_a_change_of_an_unknown_session_is_named_otherwise_and_then_ended() -> None:
    assert next_step(RESTRICT, Nak(503)) == Again(COA, 1, 0)
    assert next_step(last(RESTRICT), Nak(503)) == Again(DISCONNECT, 0, 0)


def test_r31_silence_is_met_with_patience_and_with_other_names() -> None:
    course, ways = END, []
    while isinstance(step := next_step(course, Timeout()), Again):
        ways.append(step.way_number)
        course = replace(course, way_number=step.way_number, failures=step.failures)
    assert ways == [0, 1, 2, 0, 1, 2]
    assert step == Settled("timed_out")


def test_r31_who_ignores_changes_is_asked_to_disconnect() -> None:
    first = next_step(RESTRICT, Timeout())
    assert first == Again(COA, 0, 1, BACK_OFF_SECONDS[0])
    assert next_step(replace(RESTRICT, failures=1), Timeout()) == Again(DISCONNECT, 0, 1)
    assert next_step(replace(RAISE, failures=1), Timeout()) == Settled("timed_out")


def test_what_cannot_be_encoded_is_not_tried_again_and_what_the_network_refuses_is() -> None:
    assert next_step(END, Unsendable("No-Such: not in the dictionary")) == Settled("failed")
    assert next_step(END, Unsendable("no route", is_passing=True)) == Again(DISCONNECT, 0, 1, 1.0)


def test_r31_an_ack_without_effect_leads_to_the_next_way_and_a_disconnect() -> None:
    assert after_no_effect(END) == Again(DISCONNECT, 1, 0)
    assert after_no_effect(LAST_WAY) == Settled("unconfirmed")
    assert after_no_effect(RESTRICT) == Again(COA, 1, 0)
    assert after_no_effect(last(RESTRICT)) == Again(DISCONNECT, 0, 0)


def test_r31_with_one_way_only_it_is_asked_twice_whether_the_session_is_gone() -> None:
    only = replace(END, ways=1)
    assert after_no_effect(only) == Again(DISCONNECT, 0, 1)
    assert after_no_effect(replace(only, failures=1)) == Settled("unconfirmed")


@pytest.mark.parametrize("course", [RESTORE, RAISE])
def test_a_change_for_the_better_that_no_report_shows_is_left_at_that(course: Course) -> None:
    assert after_no_effect(course) == Settled("acked")


outcomes = st.one_of(
    st.just(Ack()),
    st.just(Timeout()),
    st.just(Unsendable("x", is_passing=True)),
    st.builds(Nak, st.sampled_from([None, 201, 401, 402, 405, 501, 502, 503, 506, 507, 508])),
)


@given(st.sampled_from(Purpose), st.sampled_from(Action), st.integers(1, 4), st.lists(outcomes, min_size=200))
def test_r31_every_course_ends(purpose: Purpose, action: Action, ways: int, said: list[Outcome]) -> None:
    """Whatever a NAS says, and where an ACK never shows, the course comes to an end, and never leaves a disconnect."""
    course = Course(action, purpose, 0, ways, 0)
    for outcome in said:
        step: Step = next_step(course, outcome)
        if isinstance(step, Await):
            step = after_no_effect(course)
        if isinstance(step, Settled):
            return
        assert isinstance(step, Again)
        assert 0 <= step.way_number < ways
        assert course.action is COA or step.action is DISCONNECT
        course = replace(course, action=step.action, way_number=step.way_number, failures=step.failures)
    raise AssertionError("it does not end")
