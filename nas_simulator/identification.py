"""Which session a Disconnect- or CoA-Request means (RFC 5176 §3).

Owns the matching of attributes with sessions. Pure: nothing is done to a session here.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum

from nas_simulator.makes import Make
from nas_simulator.session import Identity, Session
from nas_simulator.wire import Received, Value


class ErrorCause(IntEnum):
    """The Error-Causes this NAS finds reason for (RFC 5176 §3.5)."""

    MISSING_ATTRIBUTE = 402
    NAS_IDENTIFICATION_MISMATCH = 403
    INVALID_ATTRIBUTE_VALUE = 407
    SESSION_CONTEXT_NOT_FOUND = 503
    MULTIPLE_SESSION_SELECTION_UNSUPPORTED = 508


_SESSION_KEYS: dict[str, Callable[[Identity], Value]] = {
    "User-Name": lambda identity: identity.user_name,
    "Acct-Session-Id": lambda identity: identity.acct_session_id,
    "Framed-IP-Address": lambda identity: identity.framed_ip_address,
    "Calling-Station-Id": lambda identity: identity.calling_station_id,
    "NAS-Port": lambda identity: identity.nas_port,
    "NAS-Port-Id": lambda identity: identity.nas_port_id,
}


def identified(
    request: Received, sessions: Iterable[Session], make: Make, nas: dict[str, str]
) -> tuple[Session, ...] | ErrorCause:
    """Return the live sessions that match every attribute given, or the Error-Cause why there are none.

    `nas` are the attributes that name this NAS; where the request has them, they must be ours.
    """
    if any(value != nas[name] for name, value in request.pairs if name in nas):
        return ErrorCause.NAS_IDENTIFICATION_MISMATCH
    keys = {name: value for name, value in request.pairs if name in _SESSION_KEYS}
    if not any(needed <= keys.keys() for needed in make.identifies):
        return ErrorCause.MISSING_ATTRIBUTE
    found = tuple(session for session in sessions if not session.ended and _matches(session, keys))
    if not found:
        return ErrorCause.SESSION_CONTEXT_NOT_FOUND
    if len(found) > 1 and not make.disconnects_several:
        return ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED
    return found


def _matches(session: Session, keys: dict[str, Value]) -> bool:
    return all(_SESSION_KEYS[name](session.identity) == value for name, value in keys.items())
