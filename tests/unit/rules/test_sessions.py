"""Which report is of which session (DESIGN.md §4): whatever arrives first, no octet is counted in two of them."""

import dataclasses
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.accounting import Report, Status
from herotill.metering import Meter
from herotill.sessions import (
    NAS_RESTARTED,
    STALE,
    Session,
    apply_report,
    begin_session,
    identifying_attributes,
    session_of,
)
from herotill.usage import Usage
from tests.unit.rules.build import NOW, PHONE, at, interim, report, start, stop

Said = tuple[Report, str | None]
"""A report, and the login its Class names."""


def meter(said: list[Said], known: list[Session] | None = None) -> list[Session]:
    """Apply reports as the meter does; the sessions by start."""
    sessions = {session.acct_unique_id: session for session in known or []}
    for one, login_id in said:
        session = session_of(one, login_id, sessions.values()) or begin_session(one, "student-1", login_id)
        after, _ = apply_report(session, one, login_id)
        sessions[after.acct_unique_id] = after
    return sorted(sessions.values(), key=lambda session: session.started_at)


def nameless(*reports: Report) -> list[Said]:
    return [(one, None) for one in reports]


A_SESSION = (start(at(0)), interim(at(60), 60, 1000), interim(at(120), 120, 5000), stop(at(180), 180, 9000))


@pytest.mark.parametrize("order", list(permutations(A_SESSION)))
@pytest.mark.parametrize("login_id", ["login-1", None])
def test_r15_in_whatever_order_they_arrive_one_session_s_reports_are_one_session(
    order: tuple[Report, ...], login_id: str | None
) -> None:
    (session,) = meter([(one, login_id) for one in order])
    assert session.meter.total == Usage(0, 9000, 180)
    assert session.stopped_at == at(180)
    assert session.login_id == login_id


@given(st.permutations(A_SESSION), st.lists(st.booleans(), min_size=4, max_size=4))
def test_r15_class_missing_in_some_reports_does_not_split_a_session(
    order: list[Report], with_class: list[bool]
) -> None:
    said = [(one, "login-1" if has else None) for one, has in zip(order, with_class, strict=True)]
    (session,) = meter(said)
    assert session.meter.total == Usage(0, 9000, 180)
    assert session.login_id == ("login-1" if any(with_class) else None)


jitter = st.integers(-2, 2)


@given(st.permutations(range(6)), st.lists(jitter, min_size=6, max_size=6), st.lists(st.integers(0, 5)))
def test_r15_jitter_of_the_derived_start_and_repetitions_do_not_split_a_session(
    order: list[int], jitters: list[int], repeated: list[int]
) -> None:
    reports = [interim(at(100 * n + jitters[n]), 100 * n, 10 * n) for n in range(6)]
    (session,) = meter(nameless(*(reports[n] for n in [*order, *repeated])))
    assert session.meter.total.output_octets == 50


@given(st.integers(0, 597))
def test_r15_a_retransmission_without_delay_time_is_not_counted_as_another_session(late: int) -> None:
    """Given an interim whose answer was lost, when it arrives again after the Stop, then it says nothing new."""
    on_time = [start(at(0)), interim(at(600), 600, 1000), stop(at(1200), 1200, 9000)]
    (session,) = meter(nameless(*on_time, interim(at(1200 + late), 600, 1000)))
    assert session.meter.total == Usage(0, 9000, 1200)


def test_a_start_that_arrives_late_without_delay_time_began_earlier_than_it_seems() -> None:
    (session,) = meter(nameless(start(at(50)), interim(at(60), 60, 5), stop(at(70), 70, 6)))
    assert session.meter.total == Usage(0, 6, 70)


def test_a_repeated_start_changes_nothing() -> None:
    (session,) = meter(nameless(start(at(0)), start(at(30)), start(at(4), received_at=at(30))))
    assert session.started_at == at(0)
    assert session.meter.total == Usage()


def test_a_repeated_start_after_the_stop_adds_no_seconds_and_reopens_nothing() -> None:
    (session,) = meter(nameless(start(at(0)), stop(at(10), 10, 5), start(at(25))))
    assert session.meter.total == Usage(0, 5, 10)
    assert session.stopped_at == at(10)


def test_without_acct_session_time_a_session_lasts_until_its_first_stop() -> None:
    (session,) = meter(nameless(start(at(0)), stop(at(90), None, 5), stop(at(95), None, 5)))
    assert session.meter.total == Usage(0, 5, 90)


@pytest.mark.parametrize("first_of_second", ["start", "interim", "stop"])
@pytest.mark.parametrize("ended", ["stop", "restart", "silence"])
def test_r15_a_session_id_used_again_after_a_reboot_is_a_new_session(
    first_of_second: str, ended: str
) -> None:
    old = meter(nameless(start(at(0)), interim(at(600), 600, 7000)))
    if ended == "stop":
        old = meter(nameless(stop(at(700), 700, 8000)), old)
    if ended == "restart":
        old = [with_end(old[0], NAS_RESTARTED, 800)]
    firsts = {"start": start(at(900)), "interim": interim(at(960), 60, 50), "stop": stop(at(960), 60, 50)}
    first, second = meter(nameless(firsts[first_of_second], stop(at(1000), 100, 60)), old)
    assert first.meter.total.output_octets == (8000 if ended == "stop" else 7000)
    assert second.meter.total == Usage(0, 60, 100)
    assert second.acct_unique_id != first.acct_unique_id


def with_end(session: Session, cause: str, seconds: float) -> Session:
    return dataclasses.replace(session, stopped_at=at(seconds), terminate_cause=cause)


def test_r15_the_counters_of_a_silent_predecessor_make_no_wrap() -> None:
    """Given a NAS that lost power and told nobody, when its new session is still smaller, then it is counted as such."""
    sessions = meter(nameless(interim(at(3600), 3600, 1_000_000), interim(at(9600), 600, 5_000_000)))
    assert [session.meter.total.output_octets for session in sessions] == [1_000_000, 5_000_000]


def test_a_class_tells_two_sessions_of_one_name_apart_however_close() -> None:
    said: list[Said] = [(start(at(0)), "one"), (start(at(1)), "two"), (interim(at(60), 60, 7), "one")]
    said += [(interim(at(61), 60, 9), "two")]
    assert {s.login_id: s.meter.total.output_octets for s in meter(said)} == {"one": 7, "two": 9}


def test_a_class_is_not_given_to_a_session_that_was_over_before_it() -> None:
    """Given an old session without Class that its NAS called the same, when a login reports, then it is not that one."""
    old = meter(nameless(start(at(0)), stop(at(600), 600, 7000)))
    _, new = meter([(interim(at(900), 60, 5), "login-1"), (stop(at(960), 120, 9), "login-1")], old)
    assert new.meter.total == Usage(0, 9, 120)
    assert old[0].login_id is None


def test_late_reports_of_an_older_session_stay_with_it() -> None:
    first, second = meter(
        nameless(
            start(at(0)),
            stop(at(600), 600, 100),
            start(at(1000)),
            interim(at(550), 550, 90, received_at=at(1001)),
            stop(at(600), 600, 100, received_at=at(1002)),
            stop(at(1060), 60, 5),
        )
    )
    assert first.meter.total == Usage(0, 100, 600)
    assert second.meter.total == Usage(0, 5, 60)
    assert second.stopped_at == at(1060)


def test_a_late_stop_of_a_session_nobody_remembers_does_not_stop_its_successor() -> None:
    _, successor = meter(nameless(start(at(1000)), stop(at(600), 600, 100, received_at=at(1002))))
    assert successor.stopped_at is None
    assert successor.meter.total == Usage()


def test_a_stop_with_neither_octets_nor_time_is_of_the_session_that_is_on() -> None:
    (session,) = meter(nameless(start(at(0)), interim(at(600), 600, 7), stop(at(900), 0)))
    assert session.stopped_at == at(900)
    assert session.meter.total == Usage(0, 7, 600)


def test_r32_a_late_interim_reopens_a_session_closed_as_stale_and_a_start_does_not() -> None:
    (on,) = meter(nameless(start(at(0)), interim(at(600), 600, 7)))
    stale = with_end(on, STALE, 2400)
    (reopened,) = meter(nameless(interim(at(2500), 2500, 9)), [stale])
    assert (reopened.stopped_at, reopened.terminate_cause) == (None, None)
    (still,) = meter(nameless(start(at(0), received_at=at(2500))), [stale])
    assert still.terminate_cause == STALE


def test_r32_a_stop_of_a_session_closed_as_stale_has_the_last_word() -> None:
    (on,) = meter(nameless(start(at(0))))
    said = stop(at(700), 700, 7, terminate_cause="User-Request", received_at=at(9000))
    (session,) = meter(nameless(said), [with_end(on, STALE, 2400)])
    assert (session.stopped_at, session.terminate_cause) == (at(700), "User-Request")


def test_an_interim_after_the_stop_counts_and_reopens_nothing() -> None:
    (session,) = meter(nameless(start(at(0)), stop(at(600), 600), interim(at(590), 590, 55)))
    assert session.meter.total == Usage(0, 55, 600)
    assert session.stopped_at == at(600)


@pytest.mark.parametrize(("seconds", "is_on"), [(629, False), (630, False), (631, True)])
def test_a_session_that_outlives_accounting_on_is_on(seconds: int, is_on: bool) -> None:
    """A NAS may say Accounting-On when its configuration is read again; its sessions must not escape their quota."""
    (before,) = meter(nameless(start(at(0))))
    (after,) = meter(nameless(interim(at(seconds), seconds, 5)), [with_end(before, NAS_RESTARTED, 600)])
    assert (after.stopped_at is None) == is_on
    assert after.meter.total.output_octets == 5


@pytest.mark.parametrize(("seconds", "sessions"), [(30, 1), (30.000001, 2)])
def test_a_second_start_is_another_session_from_the_tolerance_on(seconds: float, sessions: int) -> None:
    assert len(meter(nameless(start(at(0)), start(at(seconds))))) == sessions


def test_every_attribute_that_may_name_a_session_to_its_nas_is_told_and_no_empty_one() -> None:
    begun = begin_session(start(at(0), details={"framed_ip_address": "10.0.0.9"}), "student-1", None)
    after, _ = apply_report(begun, start(at(0), details={"framed_ip_address": "10.0.0.9"}))
    assert identifying_attributes(after) == {
        "User-Name": "student-1",
        "Acct-Session-Id": "0001",
        "Calling-Station-Id": PHONE,
        "Framed-IP-Address": "10.0.0.9",
    }


@given(st.permutations([start(at(0)), *(interim(at(60 * n), 60 * n, n) for n in range(1, 5))]))
def test_usage_told_report_by_report_sums_to_the_session(order: list[Report]) -> None:
    session = begin_session(order[0], "student-1", None)
    told = Usage()
    for one in order + order:
        session, usage = apply_report(session, one)
        told += usage
    assert told == session.meter.total == Usage(0, 4, 240)


def test_a_session_begins_where_its_first_report_says() -> None:
    begun = begin_session(report(Status.INTERIM, at(100), 40), "student-1", None)
    assert begun.started_at == NOW + timedelta(seconds=60)
    assert begun.meter == Meter()
