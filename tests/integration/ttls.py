"""A supplicant of EAP-TTLS (RFC 5281) that puts into the tunnel whatever it is told: for what no honest device sends."""

import hmac
import secrets
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_CHALLENGE = 1, 2, 3, 11
USER_NAME, USER_PASSWORD, STATE, CALLING_STATION_ID, EAP_MESSAGE, MESSAGE_AUTHENTICATOR = 1, 2, 24, 31, 79, 80
IDENTITY, NAK, TTLS = 1, 3, 21
LENGTH, MORE = 0x80, 0x40
PATIENCE_SECONDS = 15.0
MOST_ROUNDS = 30


@dataclass
class TtlsSupplicant:
    """One conversation with a server on 127.0.0.1; `mac` is what the NAS says of the device, if anything."""

    port: int
    secret: bytes
    authority: Path
    mac: str
    _state: bytes = b""
    _numbers: Iterator[int] = field(default_factory=count)

    def log_in(self, *pairs: tuple[int, bytes]) -> int:
        """Make the tunnel, say these attributes in it, and return the code of the last answer."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(self.authority))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 is by itself, and some devices
        tunnel = context.wrap_bio(incoming, outgoing, server_hostname="radius")
        code, eap = self._ask(struct.pack("!BBHB", 2, 0, 14, IDENTITY) + b"anonymous")
        code, eap = self._ask(struct.pack("!BBHBB", 2, eap[1], 6, NAK, TTLS))
        is_said = False
        for _ in range(MOST_ROUNDS):
            if code != ACCESS_CHALLENGE:
                return code
            incoming.write(_payload(eap))
            if not eap[5] & MORE and not is_said:
                is_said = _say(tunnel, b"".join(_avp(*pair) for pair in pairs))
            data = outgoing.read()
            code, eap = self._ask(struct.pack("!BBHBB", 2, eap[1], 6 + len(data), TTLS, 0) + data)
        raise AssertionError("the conversation does not end")

    def _ask(self, eap: bytes) -> tuple[int, bytes]:
        """Send one round; return the answer's code and EAP message."""
        number, authenticator = next(self._numbers) % 256, secrets.token_bytes(16)
        parts = [eap[start : start + 253] for start in range(0, len(eap), 253)]
        pairs = [(USER_NAME, b"anonymous")] + ([(CALLING_STATION_ID, self.mac.encode())] if self.mac else [])
        pairs += [(EAP_MESSAGE, part) for part in parts] + ([(STATE, self._state)] if self._state else [])
        body = b"".join(bytes((kind, len(value) + 2)) + value for kind, value in pairs)
        head = struct.pack("!BBH", ACCESS_REQUEST, number, 20 + len(body) + 18) + authenticator
        unsigned = head + body + bytes((MESSAGE_AUTHENTICATOR, 18))
        signature = hmac.digest(self.secret, unsigned + bytes(16), "md5")
        return self._exchange(unsigned + signature)

    def _exchange(self, packet: bytes) -> tuple[int, bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.settimeout(PATIENCE_SECONDS)
            line.connect(("127.0.0.1", self.port))
            line.send(packet)
            answer = line.recv(4096)
        found = list(_pairs(answer[20:]))
        self._state = next((value for kind, value in found if kind == STATE), b"")
        return answer[0], b"".join(value for kind, value in found if kind == EAP_MESSAGE)


def _say(tunnel: ssl.SSLObject, data: bytes) -> bool:
    """Go on with the handshake; when it is done, say the data. Returns whether it was said."""
    try:
        tunnel.do_handshake()
    except ssl.SSLWantReadError:
        return False
    tunnel.write(data)
    return True


def _payload(eap: bytes) -> bytes:
    return eap[10:] if eap[5] & LENGTH else eap[6:]


def _avp(number: int, value: bytes) -> bytes:
    """Return an attribute as Diameter writes it (RFC 5281 §10.1), not marked mandatory."""
    length = 8 + len(value)
    return struct.pack("!II", number, length) + value + bytes(-length % 4)


def _pairs(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        yield data[0], data[2 : data[1]]
        data = data[data[1] :]
