"""Rule R10: failed attempts are limited for each device and each NAS, and the answers do not tell which codes exist."""

from dataclasses import replace

from herotill.reasons import REPLY_MESSAGES, Reason
from rlm_herotill.attributes import SOURCE, Pairs
from rlm_herotill.guessing import DEVICE_FAILURES, NAS_FAILURES, WINDOW_SECONDS, Guesses
from tests.unit.packet_time.fakes import student
from tests.unit.packet_time.test_login import Desk, message
from tests.unit.rules.build import begun, grant

NAS, PHONE = "192.0.2.1", "02-00-00-00-00-01"
WAIT = REPLY_MESSAGES[Reason.TOO_MANY_FAILURES]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def typed(name: str, device: str = "phone", nas: str = NAS) -> Pairs:
    return (("User-Name", name), (SOURCE, nas), ("Calling-Station-Id", device))


def fail(desk: Desk, name: str, device: str = "phone") -> str:
    return message(desk.reject(desk.authorize(typed(name, device))))


def test_r10_a_device_that_fails_too_often_waits_whatever_it_types() -> None:
    desk = Desk(student())
    said = {fail(desk, name) for name in ("nobody", "student-1") * (DEVICE_FAILURES // 2)}
    assert len(said) == 1, "a wrong code and a wrong password sound the same"
    for name in ("student-1", "nobody"):
        found = desk.find(typed(name))
        assert (found.is_known, found.passwords) == (False, ())
        assert fail(desk, name) == WAIT
    assert desk.log_in(typed("student-1", "laptop")).accepted
    assert desk.log_in(typed("student-1", nas="192.0.2.9")).accepted


def test_r10_an_answer_kept_ready_is_no_way_round_the_limit() -> None:
    desk = Desk(student())
    desk.remember()
    assert desk.log_in(typed("student-1")).accepted
    for _ in range(DEVICE_FAILURES):
        fail(desk, "nobody")
    assert fail(desk, "student-1") == WAIT


def test_r10_at_a_nas_that_is_guessed_at_fresh_codes_wait_and_who_was_in_before_does_not() -> None:
    fresh = replace(student(), username="FRESH", grants=(grant(),))
    used = replace(student(), username="USED", grants=(begun(),))
    desk = Desk(fresh, used)
    for number in range(NAS_FAILURES):
        fail(desk, f"GUESS{number}", f"device-{number}")
    assert fail(desk, "FRESH", "new") == fail(desk, "GUESS", "newer") == WAIT
    assert desk.log_in(typed("USED", "newest")).accepted


def test_r10_refusals_by_the_limit_are_no_failures_and_time_ends_them() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(DEVICE_FAILURES):
        assert not guesses.must_wait(NAS, PHONE)
        guesses.note(NAS, PHONE)
    assert guesses.must_wait(NAS, PHONE)
    clock.now += WINDOW_SECONDS
    assert not guesses.must_wait(NAS, PHONE)
    guesses.note(NAS, PHONE)
    assert not guesses.must_wait(NAS, PHONE), "it begins anew"


def test_r10_failures_long_ago_are_forgotten() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(DEVICE_FAILURES - 1):
        guesses.note(NAS, PHONE)
    for _ in range(NAS_FAILURES):
        guesses.note(NAS, "")
    assert guesses.is_guessed_at(NAS)
    for _ in range(2):
        clock.now += WINDOW_SECONDS
        assert not guesses.is_guessed_at(NAS)
    guesses.note(NAS, PHONE)
    assert not guesses.must_wait(NAS, PHONE)
