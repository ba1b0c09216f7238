"""What `herotill-nas` prints: lines for people, objects for programs."""

from typing import Any

from nas_simulator.dynamic_authorization import DynamicRequest
from nas_simulator.exchange import Answer
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LogEntry, LoginOutcome, NoAnswer, Rejected
from nas_simulator.session import Session
from nas_simulator.wire import Received, Value

_NOT_SHOWN = frozenset({"MS-MPPE-Send-Key", "MS-MPPE-Recv-Key", "MS-CHAP-MPPE-Keys"})


def outcome_lines(outcome: LoginOutcome) -> list[str]:
    """Tell a login: the outcome first, then each attribute of the reply."""
    answer = outcome.answer
    took = f"{answer.elapsed_seconds * 1000:.1f} ms, {answer.attempts} sent"
    match outcome:
        case Accepted(_, reply):
            return [f"Access-Accept ({took})", *_reply_lines(reply)]
        case Rejected(reason, reply, _, by_peer):
            head = "Accepted by the server, but not believed" if by_peer else "Access-Reject"
            return [f"{head}: {reason or 'no reason given'} ({took})", *_reply_lines(reply)]
        case NoAnswer(_, discarded):
            return [f"No answer ({took})", *(f"  discarded: {why}" for why in discarded)]


def outcome_object(outcome: LoginOutcome) -> dict[str, Any]:
    """Tell a login as JSON."""
    told: dict[str, Any] = {"elapsed_seconds": outcome.answer.elapsed_seconds, **_attempts(outcome.answer)}
    match outcome:
        case Accepted(_, reply):
            return {"outcome": "accepted", **told, **_reply_object(reply)}
        case Rejected(reason, reply, _, by_peer):
            return {
                "outcome": "rejected",
                "reason": reason,
                "by_peer": by_peer,
                **told,
                **_reply_object(reply),
            }
        case NoAnswer(_, discarded):
            return {"outcome": "no answer", "discarded": list(discarded), **told}


def run_object(nas: SimulatedNas, outcome: LoginOutcome) -> dict[str, Any]:
    """Tell a whole run as JSON: the login, the sessions, every request either way."""
    return {
        "login": outcome_object(outcome),
        "sessions": [session_object(session) for session in nas.sessions],
        "sent": [_entry_object(entry) for entry in nas.log],
        "received": [_request_object(request) for request in nas.requests],
    }


def session_object(session: Session) -> dict[str, Any]:
    """Tell a session's numbers as JSON."""
    return {
        "acct_session_id": session.identity.acct_session_id,
        "user_name": session.user_name,
        "input_octets": session.used.input_octets,
        "output_octets": session.used.output_octets,
        "session_seconds": session.used.seconds,
        "terminate_cause": session.terminate_cause,
        "stop_answered": bool(session.stop_report and session.stop_report.answered),
    }


def log_line(entry: LogEntry) -> str:
    """Tell one request in a line."""
    reason = f": {entry.reason}" if entry.reason else ""
    took = f"{entry.elapsed_seconds * 1000:.1f} ms"
    return (
        f"{entry.sent_at:%H:%M:%S}  {entry.kind:<34} {entry.outcome}{reason} ({took}, {entry.attempts} sent)"
    )


def _reply_lines(reply: Received) -> list[str]:
    lines = [f"  {name} = {_shown(name, value)}" for name, value in reply.pairs]
    if not reply.has_message_authenticator:
        lines.append("  caution: no Message-Authenticator in the reply (CVE-2024-3596)")
    elif not reply.message_authenticator_first:
        lines.append("  caution: Message-Authenticator is not the first attribute")
    return lines


def _reply_object(reply: Received) -> dict[str, Any]:
    return {
        "attributes": [[name, _shown(name, value)] for name, value in reply.pairs],
        "has_message_authenticator": reply.has_message_authenticator,
        "message_authenticator_first": reply.message_authenticator_first,
    }


def _shown(name: str, value: Value) -> str | int:
    if name in _NOT_SHOWN:
        return "(not shown)"
    return f"0x{value.hex()}" if isinstance(value, bytes) else value


def _attempts(answer: Answer) -> dict[str, int]:
    return {"attempts": answer.attempts}


def _entry_object(entry: LogEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "sent_at": entry.sent_at.isoformat(),
        "elapsed_seconds": entry.elapsed_seconds,
        "attempts": entry.attempts,
    }


def _request_object(request: DynamicRequest) -> dict[str, Any]:
    return {
        "kind": request.kind,
        "verdict": str(request.verdict),
        "reason": request.reason,
        "error_cause": request.error_cause,
        "received_at": request.received_at.isoformat(),
        "source": request.source[0],
    }
