"""Disconnect- and CoA-Requests as octets, and the verification of what comes back (RFC 5176).

Owns the packet format only: no sockets, no clock. An expected answer is a value; everything else is an `Ignored` reason,
to be counted and never acted upon.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import CoAPacket, CoARequest, DisconnectRequest

from herotill.errors import InvalidValue

AttributeValue = str | int | Sequence[str | int]

HEADER_OCTETS = 20
MAX_PACKET_OCTETS = 4096
MESSAGE_AUTHENTICATOR = 80
ERROR_CAUSE = 101
NO_AUTHENTICATOR = bytes(16)
OWN_ATTRIBUTES = frozenset({"Event-Timestamp", "Message-Authenticator"})


class Action(StrEnum):
    """What is asked of the NAS; the values are those of coa_request.action."""

    DISCONNECT = "disconnect"
    COA = "coa"


REQUEST_CODES = {Action.DISCONNECT: DisconnectRequest, Action.COA: CoARequest}


@dataclass(frozen=True, slots=True)
class Ack:
    """The NAS says it did it. Whether it did is seen in the accounting."""


@dataclass(frozen=True, slots=True)
class Nak:
    """The NAS refuses; `error_cause` is RFC 5176 §3.5, None when it gave no reason."""

    error_cause: int | None


@dataclass(frozen=True, slots=True)
class Timeout:
    """No valid answer to any transmission."""


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The request never left: it could not be encoded, or no socket would take it. That may pass (`is_passing`)."""

    reason: str
    is_passing: bool = False


Outcome = Ack | Nak | Timeout | Unsendable


class Ignored(StrEnum):
    """Why a datagram was not taken for an answer."""

    UNKNOWN_SOURCE = "unknown source"  # nothing was ever sent there
    UNEXPECTED_IDENTIFIER = "unexpected identifier"  # late, duplicate or invented
    MALFORMED = "malformed"
    WRONG_CODE = "wrong code"
    WRONG_AUTHENTICATOR = "wrong authenticator"
    WRONG_MESSAGE_AUTHENTICATOR = "wrong Message-Authenticator"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it goes on the wire. A retransmission is these octets again, nothing less."""

    octets: bytes
    secret: bytes = field(repr=False)

    @property
    def code(self) -> int:
        """RADIUS packet code: 40 or 43."""
        return self.octets[0]

    @property
    def authenticator(self) -> bytes:
        """The Request Authenticator, which the answer is signed with."""
        return self.octets[4:HEADER_OCTETS]


def sign_request(
    dictionary: Dictionary,
    action: Action,
    attributes: Mapping[str, AttributeValue],
    identifier: int,
    event_timestamp: datetime,
    secret: bytes,
) -> SignedRequest:
    """Encode a request with Message-Authenticator first and Event-Timestamp always.

    Without Event-Timestamp a NAS cannot tell a replay (RFC 5176 §3.4), and hostapd, told to be strict, drops requests
    that lack either. Raises InvalidValue naming the attribute that cannot be encoded.
    """
    # pyrad is untyped
    packet: Any = CoAPacket(REQUEST_CODES[action], identifier, secret, dict=dictionary)  # type: ignore[no-untyped-call]
    packet.add_message_authenticator()
    _add_attribute(packet, "Event-Timestamp", int(event_timestamp.timestamp()))
    for name, value in attributes.items():
        _refuse_unsendable(dictionary, name, value)
        _add_attribute(packet, name, value)
    return SignedRequest(_encode(packet), secret)


def read_answer(datagram: bytes, request: SignedRequest) -> Ack | Nak | Ignored:
    """Judge a datagram that came from the request's destination with the request's Identifier."""
    octets = _packet_octets(datagram)
    attributes = None if octets is None else _attributes(octets)
    if octets is None or attributes is None:
        return Ignored.MALFORMED
    if octets[0] not in (request.code + 1, request.code + 2):
        return Ignored.WRONG_CODE
    if not _authenticator_is_right(octets, request):
        return Ignored.WRONG_AUTHENTICATOR
    if not _message_authenticator_is_right(octets, attributes, request):
        return Ignored.WRONG_MESSAGE_AUTHENTICATOR
    return Ack() if octets[0] == request.code + 1 else Nak(_error_cause(octets, attributes))


def _add_attribute(packet: Any, name: str, value: AttributeValue) -> None:
    try:
        packet.AddAttribute(name, value)
    except KeyError:
        raise InvalidValue(name, value, "the attribute must be in the RADIUS dictionary") from None
    except (ValueError, TypeError, OSError, OverflowError, struct.error) as error:
        raise InvalidValue(name, value, f"it must be encodable as its type: {error}") from error


def _refuse_unsendable(dictionary: Dictionary, name: str, value: AttributeValue) -> None:
    """Refuse what we set ourselves, and FreeRADIUS's own attributes, which have numbers no packet can hold."""
    attribute = dictionary.attributes.get(name)
    if name in OWN_ATTRIBUTES or (attribute is not None and not attribute.vendor and attribute.code > 255):
        raise InvalidValue(name, value, "it is no attribute to be sent in a request")


def _encode(packet: Any) -> bytes:
    try:
        octets = bytes(packet.RequestPacket())
    except (ValueError, TypeError, struct.error) as error:
        raise InvalidValue("attributes", "(all)", f"they must be encodable: {error}") from error
    if len(octets) > MAX_PACKET_OCTETS:
        raise InvalidValue(
            "attributes", f"{len(octets)} octets", f"a packet holds {MAX_PACKET_OCTETS} octets"
        )
    return octets


def _packet_octets(datagram: bytes) -> bytes | None:
    """Cut the datagram to its Length field; octets behind it are padding (RFC 2865 §3)."""
    if len(datagram) < HEADER_OCTETS:
        return None
    length = int.from_bytes(datagram[2:4], "big")
    if not HEADER_OCTETS <= length <= min(len(datagram), MAX_PACKET_OCTETS):
        return None
    return datagram[:length]


def _walk(octets: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (type, first value octet, end) of each attribute; ValueError when one does not fit."""
    position = HEADER_OCTETS
    while position < len(octets):
        end = position + octets[position + 1] if position + 1 < len(octets) else 0
        if end < position + 2 or end > len(octets):
            raise ValueError("attribute length")
        yield octets[position], position + 2, end
        position = end


def _attributes(octets: bytes) -> list[tuple[int, int, int]] | None:
    try:
        return list(_walk(octets))
    except ValueError:
        return None


def _authenticator_is_right(octets: bytes, request: SignedRequest) -> bool:
    signed = octets[:4] + request.authenticator + octets[HEADER_OCTETS:] + request.secret
    digest = hashlib.md5(signed, usedforsecurity=False).digest()
    return hmac.compare_digest(digest, octets[4:HEADER_OCTETS])


def _message_authenticator_is_right(
    octets: bytes, attributes: list[tuple[int, int, int]], request: SignedRequest
) -> bool:
    """Check Message-Authenticator if there is one; RFC 5176 leaves it out of answers to the NAS's choice.

    FreeRADIUS before 3.2.4, as a NAS or a proxy before one, signs its ACKs and NAKs over sixteen zero octets in place of
    the Request Authenticator. That is wrong, but nobody without the secret can do it, so it is accepted.
    """
    places = [(start, end) for kind, start, end in attributes if kind == MESSAGE_AUTHENTICATOR]
    if not places:
        return True
    start, end = places[0]
    if len(places) > 1 or end - start != 16:
        return False
    blanked = octets[HEADER_OCTETS:start] + bytes(16) + octets[end:]
    vectors = (request.authenticator, NO_AUTHENTICATOR)
    digests = (hmac.digest(request.secret, octets[:4] + vector + blanked, "md5") for vector in vectors)
    return any(hmac.compare_digest(digest, octets[start:end]) for digest in digests)


def _error_cause(octets: bytes, attributes: list[tuple[int, int, int]]) -> int | None:
    for kind, start, end in attributes:
        if kind == ERROR_CAUSE and end - start == 4:
            return int.from_bytes(octets[start:end], "big")
    return None
