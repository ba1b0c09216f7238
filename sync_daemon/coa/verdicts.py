"""From a taken row to what is asked of the NAS, and from what became of it to what is written and done next. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from herotill.live_change import Purpose
from sync_daemon.coa.error_causes import describe_error_cause
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange
from sync_daemon.coa.nas_targets import NasTarget
from sync_daemon.coa.outbox import AttemptRecord, DueRequest, SessionState
from sync_daemon.coa.packets import Ack, Action, Nak, Timeout, Unsendable
from sync_daemon.coa.profiles import NamedSession, nas_attributes, profiles_for, ways_to_name
from sync_daemon.coa.serving import ServingSettings
from sync_daemon.coa.steps import Again, Await, Course, Settled, Step, after_no_effect, next_step

ACTION_NAMES = {Action.DISCONNECT: "disconnect", Action.COA: "change of authorization"}


@dataclass(frozen=True, slots=True)
class AddressedRequest:
    """A request ready for the client, the way its session was named, and how far it is on its course."""

    request: AuthorizationRequest
    profile: str
    nas: NasTarget
    course: Course


def address_request(due: DueRequest, target: NasTarget | None) -> AddressedRequest | AttemptRecord:
    """Decide what goes where; or, where nothing is to be sent, what is written instead."""
    if due.session_state is SessionState.STOPPED:
        return _settled(due, "confirmed", "The session had ended before it was asked for.")
    if due.is_superseded:
        return _settled(due, "superseded", "Something newer is wanted of the session.")
    if target is None:
        return _failed(due, f"no NAS is configured for {due.nas_address}, so nobody can be asked")
    fault = _fault_of(due)
    return _failed(due, fault) if fault is not None else _address_some_way(due, target)


def attempt_record(
    due: DueRequest, addressed: AddressedRequest, exchange: Exchange, settings: ServingSettings
) -> AttemptRecord:
    """Record an exchange with its times, the request's state that follows from it, and when something is next to be done."""
    course, destination = addressed.course, addressed.request.destination
    step = next_step(course, exchange.outcome)
    said = _sentence(f"{addressed.nas.shortname} ({destination})", ACTION_NAMES[course.action], exchange)
    result, error_cause = _result_of(exchange)
    return replace(
        _record(due, course, step, said, settings),
        action=course.action.value,
        result=result,
        profile=addressed.profile,
        destination=str(destination),
        identifier=exchange.identifier,
        source_port=exchange.source_port,
        sent_at=exchange.sent_at,
        transmissions=exchange.transmissions,
        answered_at=exchange.answered_at,
        error_cause=error_cause,
    )


def failed_record(due: DueRequest, unsendable: Unsendable) -> AttemptRecord:
    """Record a request of which nothing left."""
    return _failed(due, unsendable.reason)


def _fault_of(due: DueRequest) -> str | None:
    if not isinstance(due.session_attributes, dict) or not isinstance(due.changes, dict):
        return "the request's attributes are not JSON objects of names to values"
    if due.action is Action.COA and not due.changes:
        return "a change of authorization that changes nothing"
    return None


def _address_some_way(due: DueRequest, target: NasTarget) -> AddressedRequest | AttemptRecord:
    ways = _ways(due, target)
    if not ways and due.action_now is Action.COA and due.purpose is not Purpose.RAISE:  # this make takes none
        return _address_some_way(replace(due, becomes_disconnect=True, profile_number=0), target)
    if not ways:
        return _failed(due, _why_no_way(due, target))
    if due.was_acked:
        return _address_after_no_effect(due, target, ways)
    return _address(due, target, ways)


def _why_no_way(due: DueRequest, target: NasTarget) -> str:
    if profiles_for(target.nas_type, due.action_now):
        return "too little is known of the session to name it to the NAS"
    return f"{target.shortname} ({target.nas_type}) takes no requests; only the limits of its login end the session"


def _ways(due: DueRequest, target: NasTarget) -> tuple[NamedSession, ...]:
    assert isinstance(due.session_attributes, dict)  # noqa: S101 - the caller looked
    known = {**nas_attributes(due.nas_address, due.nas_identifier), **due.session_attributes}
    return ways_to_name(target.nas_type, known, due.action_now, due.is_only_session)


def _address(due: DueRequest, target: NasTarget, ways: tuple[NamedSession, ...]) -> AddressedRequest:
    course = _course(due, len(ways))
    named = ways[course.way_number]
    changes = due.changes if due.action_now is Action.COA and isinstance(due.changes, dict) else {}
    destination = Destination(target.coa_address or due.nas_address, target.coa_port, target.secret)
    request = AuthorizationRequest(due.action_now, {**named.attributes, **changes}, destination)
    return AddressedRequest(request, named.profile, target, course)


def _address_after_no_effect(
    due: DueRequest, target: NasTarget, ways: tuple[NamedSession, ...]
) -> AddressedRequest | AttemptRecord:
    step = after_no_effect(_course(due, len(ways)))
    if isinstance(step, Again):
        again = replace(
            due,
            was_acked=False,
            becomes_disconnect=step.action is Action.DISCONNECT,
            profile_number=step.way_number,
            failures=step.failures,
        )
        return address_request(again, target)
    action = ACTION_NAMES[due.action_now]
    said = f"{target.shortname} acknowledged the {action}, and the accounting does not show it."
    return _settled(due, step.state if isinstance(step, Settled) else "acked", said)


def _course(due: DueRequest, ways: int) -> Course:
    is_recorded = due.session_state is not SessionState.UNKNOWN
    # A dialect that has changed meanwhile may have fewer ways.
    return Course(
        due.action_now, due.purpose, due.profile_number % ways, ways, due.failures, is_recorded=is_recorded
    )


def _record(
    due: DueRequest, course: Course, step: Step, outcome: str, settings: ServingSettings
) -> AttemptRecord:
    known = AttemptRecord(
        due.coa_request_id,
        due.attempt,
        "pending",
        outcome,
        profile_number=course.way_number,
        becomes_disconnect=due.becomes_disconnect or course.action is not due.action,
        failures=course.failures,
    )
    match step:
        case Settled(state):
            return replace(known, state=state)
        case Await():
            return replace(known, state="acked", wait_seconds=_confirm_seconds(due, course, settings))
        case Again(action, way_number, failures, after_seconds):
            return replace(
                known,
                wait_seconds=after_seconds * settings.back_off_scale,
                profile_number=way_number,
                becomes_disconnect=action is not due.action,
                failures=failures,
            )
        case _:
            assert_never(step)


def _confirm_seconds(due: DueRequest, course: Course, settings: ServingSettings) -> float:
    if course.action is Action.DISCONNECT:
        return settings.stop_confirm_seconds
    interval = due.interim_interval_seconds or settings.usual_interim_seconds
    return interval * settings.change_confirm_intervals


def _failed(due: DueRequest, reason: str) -> AttemptRecord:
    return _settled(due, "failed", f"Not sent: {reason}.")


def _settled(due: DueRequest, state: str, outcome: str) -> AttemptRecord:
    return AttemptRecord(
        due.coa_request_id,
        due.attempt,
        state,
        outcome,
        profile_number=due.profile_number,
        becomes_disconnect=due.becomes_disconnect,
        failures=due.failures,
    )


def _result_of(exchange: Exchange) -> tuple[str, int | None]:
    match exchange.outcome:
        case Ack():
            return "ack", None
        case Nak(error_cause):
            return "nak", error_cause
        case Timeout():
            return "timeout", None
        case Unsendable():
            return "error", None
        case _:
            assert_never(exchange.outcome)


def _sentence(nas: str, action: str, exchange: Exchange) -> str:
    match exchange.outcome:
        case Ack():
            return f"{nas} acknowledged the {action}{_after(exchange)}."
        case Nak(error_cause):
            return f"{nas} refused the {action}: {describe_error_cause(error_cause)}."
        case Timeout():
            times = "once" if exchange.transmissions == 1 else f"{exchange.transmissions} times"
            return f"{nas} did not answer the {action}, which was sent {times}."
        case Unsendable(reason):
            return f"Not sent to {nas}: {reason}."
        case _:
            assert_never(exchange.outcome)


def _after(exchange: Exchange) -> str:
    if exchange.sent_at is None or exchange.answered_at is None:
        return ""
    milliseconds = (exchange.answered_at - exchange.sent_at).total_seconds() * 1000
    return f" after {milliseconds:.0f} ms"
