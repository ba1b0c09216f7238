"""What is done next about a request: await the accounting, ask again or otherwise, end the session instead, or stop. Pure.

Cases of an answer, first match decides (RFC 5176 §3.5):

    ACK, 507                      await the Stop, or for a change the next report; without a record of the session: done
    201, 503 to a Disconnect      the session is gone
    503 to a change               name it otherwise; then end it, which tells whether it is there
    401 402 403 404 407, none     name it otherwise; no way left: end it instead of changing it
    508                           the same, after a while
    502 505 506                   the same again, later each time
    405 406 and all others        it will not: end it instead of changing it
    silence                       again, later each time, in the end otherwise; a change twice, then end it
    ACK without effect            name it otherwise; a change that gives more is left at that

Ending instead of changing is for sessions that must not go on as they are, or that a reconnection would restore; a limit
that cannot be raised throws nobody out.
"""

from dataclasses import dataclass
from typing import assert_never

from herotill.live_change import Purpose
from sync_daemon.coa import error_causes as cause
from sync_daemon.coa.packets import Ack, Action, Nak, Outcome, Timeout, Unsendable

BACK_OFF_SECONDS = (1.0, 5.0, 30.0, 60.0, 120.0, 300.0)
SILENT_CHANGES = 2
"""So often a change may meet silence before the session is ended instead."""

_NAME_OTHERWISE = frozenset(
    {
        cause.UNSUPPORTED_ATTRIBUTE,
        cause.MISSING_ATTRIBUTE,
        cause.NAS_MISMATCH,
        cause.INVALID_REQUEST,
        cause.INVALID_VALUE,
        cause.SEVERAL_SESSIONS,
        None,
    }
)
_LATER = frozenset({cause.NOT_ROUTABLE, cause.PROXY_ERROR, cause.RESOURCES_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Course:
    """How far a request got: what is asked now, in which of so many ways to name the session, after so many failures."""

    action: Action
    purpose: Purpose
    way_number: int
    ways: int
    failures: int
    is_recorded: bool = True
    """Whether the session is known, so that its accounting can show what happened."""


@dataclass(frozen=True, slots=True)
class Await:
    """The NAS said yes; the accounting is to show it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Ask again, after so long."""

    action: Action
    way_number: int
    failures: int
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing more is to be done; `state` is one of coa_request.state."""

    state: str


Step = Await | Again | Settled


def next_step(course: Course, outcome: Outcome) -> Step:
    """Decide on what the NAS said, or did not say."""
    match outcome:
        case Ack():
            return _after_ack(course)
        case Nak(error_cause):
            return _after_nak(course, error_cause)
        case Timeout():
            return _after_silence(course, "timed_out")
        case Unsendable(_, is_passing):
            return _after_silence(course, "failed") if is_passing else Settled("failed")
        case _:
            assert_never(outcome)


def after_no_effect(course: Course) -> Step:
    """Decide when the NAS said yes and the accounting did not show it in time."""
    if course.action is Action.COA:
        if course.purpose in (Purpose.RESTORE, Purpose.RAISE):
            return Settled("acked")
        return _name_otherwise(course, 0.0, "unconfirmed")
    if course.way_number + 1 < course.ways:
        return Again(course.action, course.way_number + 1, course.failures)
    # Perhaps only the Stop was lost: asked once more, the NAS says that it knows no such session.
    again = Again(course.action, course.way_number, course.failures + 1)
    return again if course.ways == 1 and course.failures == 0 else Settled("unconfirmed")


def _after_ack(course: Course) -> Step:
    return Await() if course.is_recorded else Settled("acked")


def _after_nak(course: Course, error_cause: int | None) -> Step:
    if error_cause == cause.REQUEST_INITIATED:
        return _after_ack(course)
    if error_cause == cause.RESIDUAL_CONTEXT_REMOVED:
        return Settled("gone")
    if error_cause == cause.CONTEXT_NOT_FOUND:
        return Settled("gone") if course.action is Action.DISCONNECT else _name_otherwise(course)
    if error_cause in _NAME_OTHERWISE:
        wait = BACK_OFF_SECONDS[0] if error_cause == cause.SEVERAL_SESSIONS else 0.0
        return _name_otherwise(course, wait)
    if error_cause in _LATER and course.failures < len(BACK_OFF_SECONDS):
        return Again(course.action, course.way_number, course.failures + 1, BACK_OFF_SECONDS[course.failures])
    return _end_instead(course) or Settled("naked")


def _name_otherwise(course: Course, wait: float = 0.0, state: str = "naked") -> Step:
    if course.way_number + 1 < course.ways:
        return Again(course.action, course.way_number + 1, course.failures, wait)
    instead = _end_instead(course)
    if instead is not None:
        return instead
    # A way that met silence may have been lost, not refused: it gets another turn.
    if 0 < course.failures < len(BACK_OFF_SECONDS):
        return Again(course.action, 0, course.failures + 1, BACK_OFF_SECONDS[course.failures])
    return Settled(state)


def _end_instead(course: Course) -> Again | None:
    if course.action is Action.DISCONNECT or course.purpose is Purpose.RAISE:
        return None
    return Again(Action.DISCONNECT, 0, course.failures)


def _after_silence(course: Course, state: str) -> Step:
    failures = course.failures + 1
    if course.action is Action.COA and failures >= SILENT_CHANGES:
        return _end_instead(course) or Settled(state)
    if failures > len(BACK_OFF_SECONDS):
        return Settled(state)
    # Once may be bad luck; a NAS that discards what it does not like says nothing either.
    way_number = course.way_number if failures == 1 else (course.way_number + 1) % course.ways
    return Again(course.action, way_number, failures, BACK_OFF_SECONDS[course.failures])
