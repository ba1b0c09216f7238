"""RADIUS requests as octets, made before the clock runs: the generator only sends them.

Encoded here and not with pyrad, which needs a hundred times as long; the unit tests let pyrad judge every kind. The
attributes are those a MikroTik hotspot sends.
"""

import hmac
import os
from dataclasses import dataclass
from hashlib import md5
from ipaddress import IPv4Address
from struct import pack

SECRET = b"a secret of sixteen"
PASSWORD = b"correct horse"
ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT = 1, 2, 3
ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE = 4, 5
START, STOP, INTERIM, NAS_ON = 1, 2, 3, 7
IDENTIFIERS = 128
"""Identifiers used per source port: with 64 ports, half of FreeRADIUS's max_requests stay in its cleanup_delay."""

_MESSAGE_AUTHENTICATOR = b"\x50\x12" + bytes(16)
_NAS = (
    b"\x3d\x06\x00\x00\x00\x13"  # NAS-Port-Type = Wireless-802.11
    b"\x06\x06\x00\x00\x00\x01"  # Service-Type = Login-User
    b"\x1e\x0ahotspot1"  # Called-Station-Id
    b"\x57\x07wlan1"  # NAS-Port-Id
    b"\x20\x0aMikroTik"  # NAS-Identifier
    b"\x04\x06\x7f\x00\x00\x01"  # NAS-IP-Address
)
_ACCOUNTED = b"\x2d\x06\x00\x00\x00\x01"  # Acct-Authentic = RADIUS
_FIRST_ADDRESS = int(IPv4Address("10.0.0.1"))


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Number `number` of the generated accounts; the database is filled with the same names (data.py)."""

    number: int

    @property
    def username(self) -> bytes:
        """User-Name."""
        return b"u%07d" % self.number

    @property
    def calling_station_id(self) -> bytes:
        """The MAC address of the only device."""
        digits = b"02%010X" % self.number
        return b":".join(digits[at : at + 2] for at in range(0, 12, 2))

    @property
    def attributes(self) -> bytes:
        """User-Name, Calling-Station-Id, Framed-IP-Address and NAS-Port."""
        return (
            text(1, self.username)
            + text(31, self.calling_station_id)
            + integer(8, _FIRST_ADDRESS + self.number)
            + integer(5, self.number)
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """The cumulative counters of a report."""

    seconds: int
    input_octets: int
    output_octets: int


def text(kind: int, value: bytes) -> bytes:
    """Encode one attribute of octets."""
    return bytes((kind, len(value) + 2)) + value


def integer(kind: int, value: int) -> bytes:
    """Encode one 32-bit attribute."""
    return pack(">BBI", kind, 6, value & 0xFFFFFFFF)


def access_request(identifier: int, who: Subscriber, session_id: bytes) -> bytes:
    """Encode a PAP login, its Message-Authenticator first (RFC 2869 §5.14)."""
    authenticator = os.urandom(16)
    attributes = (
        _MESSAGE_AUTHENTICATOR
        + who.attributes
        + text(44, session_id)
        + _NAS
        + text(2, _hidden(PASSWORD, authenticator))
    )
    header = pack(">BBH", ACCESS_REQUEST, identifier, len(attributes) + 20) + authenticator
    signature = hmac.digest(SECRET, header + attributes, "md5")
    return header + attributes[:2] + signature + attributes[18:]


def _hidden(password: bytes, authenticator: bytes) -> bytes:
    """Hide a User-Password of at most 16 octets (RFC 2865 §5.2)."""
    padded = int.from_bytes(password.ljust(16, b"\0"))
    return (padded ^ int.from_bytes(md5(SECRET + authenticator).digest())).to_bytes(16)


def session_attributes(who: Subscriber, session_id: bytes) -> bytes:
    """Encode what every report of one session has in common."""
    return who.attributes + text(44, session_id) + _NAS + _ACCOUNTED


def accounting_request(identifier: int, attributes: bytes) -> bytes:
    """Sign an Accounting-Request (RFC 2866 §3)."""
    header = pack(">BBH", ACCOUNTING_REQUEST, identifier, len(attributes) + 20)
    authenticator = md5(header + bytes(16) + attributes + SECRET).digest()
    return header + authenticator + attributes


def report(status: int, session: bytes, at: int, usage: Usage | None = None) -> bytes:
    """Encode the attributes of one report of a session; a Start has no usage. `at` is the epoch in seconds."""
    attributes = integer(40, status) + session + integer(55, at)
    if usage is not None:
        attributes += (
            integer(46, usage.seconds)
            + integer(42, usage.input_octets)
            + integer(52, usage.input_octets >> 32)
            + integer(43, usage.output_octets)
            + integer(53, usage.output_octets >> 32)
            + integer(47, usage.input_octets // 1000)
            + integer(48, usage.output_octets // 1000)
        )
    return attributes + integer(49, 1) if status == STOP else attributes


def nas_restart(identifier: int, at: int) -> bytes:
    """Encode an Accounting-On."""
    return accounting_request(identifier, integer(40, NAS_ON) + _NAS + integer(55, at))
