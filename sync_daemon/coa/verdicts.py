"""From a taken row to what is asked of the NAS, and from what became of it to what is written. Pure."""

from dataclasses import dataclass
from typing import assert_never

from sync_daemon.coa.error_causes import describe_error_cause
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange
from sync_daemon.coa.outbox import AttemptRecord, DueRequest, NasTarget
from sync_daemon.coa.packets import Ack, Action, Nak, Timeout, Unsendable
from sync_daemon.coa.profiles import name_session

ACTION_NAMES = {Action.DISCONNECT: "disconnect", Action.COA: "change of authorization"}


@dataclass(frozen=True, slots=True)
class AddressedRequest:
    """A request ready for the client, with the profile that named its session and the NAS's name for people."""

    request: AuthorizationRequest
    profile: str
    nas_shortname: str


def address_request(due: DueRequest, target: NasTarget | None) -> AddressedRequest | Unsendable:
    """Decide what goes where, or say why nothing can."""
    if target is None:
        return Unsendable(f"no NAS is configured for {due.nas_address}, so nobody can be asked")
    if not isinstance(due.session_attributes, dict) or not isinstance(due.changes, dict):
        return Unsendable("the request's attributes are not JSON objects of names to values")
    if due.action is Action.COA and not due.changes:
        return Unsendable("a change of authorization that changes nothing")
    named = name_session(target.nas_type, due.session_attributes)
    if named is None:
        return Unsendable("too little is known of the session to name it to the NAS")
    changes = due.changes if due.action is Action.COA else {}
    destination = Destination(target.coa_address or due.nas_address, target.coa_port, target.secret)
    request = AuthorizationRequest(due.action, {**named.attributes, **changes}, destination)
    return AddressedRequest(request, named.profile, target.shortname)


def failed_record(due: DueRequest, unsendable: Unsendable) -> AttemptRecord:
    """Record a request of which nothing left."""
    return AttemptRecord(due.coa_request_id, due.attempt, "failed", f"Not sent: {unsendable.reason}.")


def attempt_record(due: DueRequest, addressed: AddressedRequest, exchange: Exchange) -> AttemptRecord:
    """Record an exchange with its times, and the request's state that follows from it."""
    state, result, error_cause = _state_of(exchange)
    destination = addressed.request.destination
    return AttemptRecord(
        coa_request_id=due.coa_request_id,
        attempt=due.attempt,
        state=state,
        outcome=_sentence(f"{addressed.nas_shortname} ({destination})", ACTION_NAMES[due.action], exchange),
        result=result,
        profile=addressed.profile,
        destination=str(destination),
        identifier=exchange.identifier,
        sent_at=exchange.sent_at,
        transmissions=exchange.transmissions,
        answered_at=exchange.answered_at,
        error_cause=error_cause,
    )


def _state_of(exchange: Exchange) -> tuple[str, str, int | None]:
    match exchange.outcome:
        case Ack():
            return "acked", "ack", None
        case Nak(error_cause):
            return "naked", "nak", error_cause
        case Timeout():
            return "timed_out", "timeout", None
        case Unsendable():
            return "failed", "error", None
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
