"""RADIUS packets as octets: built with pyrad, signed, verified, and read back as pairs.

Owns everything that touches pyrad, so that its untyped values stop here. Refuses to own sockets and what packets mean.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pyrad import dictionary as _pyrad_dictionary
from pyrad import packet as _pyrad_packet

from herotill.dictionary import dictionary_path

Value = str | int | bytes
Pairs = Sequence[tuple[str, Value]]

ACCESS_REQUEST = 1
ACCESS_ACCEPT = 2
ACCESS_REJECT = 3
ACCOUNTING_REQUEST = 4
ACCOUNTING_RESPONSE = 5
ACCESS_CHALLENGE = 11
DISCONNECT_REQUEST = 40
DISCONNECT_ACK = 41
DISCONNECT_NAK = 42
COA_REQUEST = 43
COA_ACK = 44
COA_NAK = 45

MESSAGE_AUTHENTICATOR = 80
HEADER_OCTETS = 20

_pyrad: Any = _pyrad_packet


class MalformedPacket(Exception):  # noqa: N818 - what arrived, not what failed
    """Octets that are no RADIUS packet, or one whose values do not fit their types."""


@dataclass(frozen=True, slots=True)
class Received:
    """A packet somebody sent us, as (name, value) pairs in pyrad's order: repeated attributes stand together.

    An attribute our dictionary has not got is named by its number, `Attr-26.14988.99`.
    """

    code: int
    identifier: int
    authenticator: bytes
    pairs: tuple[tuple[str, Value], ...]
    octets: bytes
    has_message_authenticator: bool

    @property
    def message_authenticator_first(self) -> bool:
        """Whether Message-Authenticator stands before every other attribute (CVE-2024-3596)."""
        return self.octets[HEADER_OCTETS : HEADER_OCTETS + 1] == bytes([MESSAGE_AUTHENTICATOR])

    def values(self, name: str) -> tuple[Value, ...]:
        """Return every value of an attribute, in order."""
        return tuple(value for key, value in self.pairs if key == name)

    def value(self, name: str) -> Value | None:
        """Return the first value of an attribute, or None."""
        return next(iter(self.values(name)), None)

    def integer(self, name: str) -> int | None:
        """Return the first value of an integer attribute, or None."""
        value = self.value(name)
        return value if isinstance(value, int) else None


@dataclass(frozen=True, slots=True)
class Request:
    """A request ready to be sent, again and again, as the same octets."""

    code: int
    identifier: int
    octets: bytes
    _packet: Any

    def accepts(self, reply: Received, require_message_authenticator: bool = False) -> bool:
        """Whether the reply is the server's answer to this very request, unaltered."""
        try:
            parsed = _pyrad.Packet(secret=self._packet.secret, dict=attributes(), packet=reply.octets)
            return bool(self._packet.VerifyReply(parsed, enforce_ma=require_message_authenticator))
        except (_pyrad.PacketError, ValueError):
            return False


@cache
def attributes() -> Any:
    """Return pyrad's dictionary of our attributes."""
    make: Any = _pyrad_dictionary.Dictionary
    return make(str(dictionary_path()))


def new_authenticator() -> bytes:
    """Return a random Request Authenticator (RFC 2865 §3)."""
    return os.urandom(16)


def hidden_password(password: str | bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return User-Password as RFC 2865 §5.2 hides it. Raises ValueError past 128 octets."""
    hidden: bytes = _pyrad.AuthPacket(secret=secret, authenticator=authenticator).PwCrypt(password)
    return hidden


def access_request(
    identifier: int, secret: bytes, authenticator: bytes, pairs: Pairs, signed: bool = True
) -> Request:
    """Build an Access-Request whose first attribute, by default, is a Message-Authenticator."""
    packet = _pyrad.AuthPacket(id=identifier, secret=secret, authenticator=authenticator, dict=attributes())
    if signed:
        packet.add_message_authenticator()
    return _request(packet, pairs)


def accounting_request(identifier: int, secret: bytes, pairs: Pairs) -> Request:
    """Build an Accounting-Request, signed as RFC 2866 §3 says."""
    return _request(_pyrad.AcctPacket(id=identifier, secret=secret, dict=attributes()), pairs)


def dynamic_request(code: int, identifier: int, secret: bytes, pairs: Pairs, signed: bool = True) -> Request:
    """Build a Disconnect- or CoA-Request (RFC 5176), by default with a Message-Authenticator."""
    packet = _pyrad.CoAPacket(code=code, id=identifier, secret=secret, dict=attributes())
    if signed:
        packet.add_message_authenticator()
    return _request(packet, pairs)


def reply_to(request: Received, code: int, secret: bytes, pairs: Pairs, signed: bool = True) -> bytes:
    """Return a signed reply to a request we received, with its Proxy-States sent back."""
    packet = _pyrad.Packet(
        code=code,
        id=request.identifier,
        secret=secret,
        authenticator=request.authenticator,
        dict=attributes(),
    )
    if signed:
        packet.add_message_authenticator()
    _add(packet, pairs)
    _add(packet, [("Proxy-State", value) for value in request.values("Proxy-State")])
    octets: bytes = packet.ReplyPacket()
    return octets


def decode(octets: bytes) -> Received:
    """Read a packet from the network. Raises MalformedPacket."""
    try:
        packet = _pyrad.Packet(dict=attributes(), packet=octets)
        pairs = tuple(_pairs(packet))
    except (_pyrad.PacketError, ValueError, IndexError) as fault:
        raise MalformedPacket(str(fault)) from None
    return Received(
        code=packet.code,
        identifier=packet.id,
        authenticator=packet.authenticator,
        pairs=pairs,
        octets=packet.raw_packet,
        has_message_authenticator=bool(packet.message_authenticator),
    )


def dynamic_request_fault(request: Received, secret: bytes) -> str | None:
    """Tell what is wrong with the signatures of a Disconnect- or CoA-Request; None when nothing is."""
    packet = _pyrad.CoAPacket(secret=secret, dict=attributes(), packet=request.octets)
    if not packet.VerifyCoARequest():
        return "the request authenticator is wrong"
    try:
        if packet.message_authenticator and not packet.verify_message_authenticator():
            return "the Message-Authenticator is wrong"
    except ValueError:
        return "the Message-Authenticator is wrong"
    return None


def accounting_request_fault(request: Received, secret: bytes) -> str | None:
    """Tell what is wrong with the signature of an Accounting-Request; None when nothing is."""
    packet = _pyrad.AcctPacket(
        code=ACCOUNTING_REQUEST, secret=secret, dict=attributes(), packet=request.octets
    )
    return None if packet.VerifyAcctRequest() else "the request authenticator is wrong"


def _request(packet: Any, pairs: Pairs) -> Request:
    _add(packet, pairs)
    octets = packet.RequestPacket()
    return Request(code=packet.code, identifier=packet.id, octets=octets, _packet=packet)


def _add(packet: Any, pairs: Pairs) -> None:
    for name, value in pairs:
        if isinstance(value, bytes):
            # By number: pyrad would read octets that happen to spell 0x.. as hexadecimal.
            packet.setdefault(attributes().attrindex.GetForward(name), []).append(value)
        else:
            packet.AddAttribute(name, value)


def _pairs(packet: Any) -> Iterable[tuple[str, Value]]:
    index = attributes().attrindex
    for key in packet:
        name = index.GetBackward(key) if index.HasBackward(key) else None
        if name is None or attributes()[name].encrypt:
            # Salt-encrypted keys (MS-MPPE) are for the peer's cipher; we only carry them.
            yield from ((name or _numbered(key), value) for value in packet.get(key))
        else:
            yield from ((name, value) for value in packet[name])


def _numbered(key: int | tuple[int, ...]) -> str:
    return f"Attr-26.{'.'.join(map(str, key))}" if isinstance(key, tuple) else f"Attr-{key}"
