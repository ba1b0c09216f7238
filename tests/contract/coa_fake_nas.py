"""A NAS that only speaks dynamic authorization, written from RFC 5176 without pyrad, so that it judges our packets."""

import hashlib
import hmac
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

SECRET = b"nas secret"
MESSAGE_AUTHENTICATOR, EVENT_TIMESTAMP, ERROR_CAUSE = 80, 55, 101


@dataclass(frozen=True, slots=True)
class Heard:
    """A datagram as it came in, its source address and port, and when (time.monotonic)."""

    octets: bytes
    source: tuple[str, int]
    at: float


Mood = Callable[[bytes], list[bytes]]


def attributes_of(octets: bytes) -> list[tuple[int, bytes]]:
    attributes, position = [], 20
    while position < len(octets):
        length = octets[position + 1]
        attributes.append((octets[position], octets[position + 2 : position + length]))
        position += length
    return attributes


def request_is_valid(octets: bytes, secret: bytes = SECRET) -> bool:
    """RFC 5176 §3.3 and RFC 3579 §3.2: both authenticators are right, Message-Authenticator is there and first."""
    header, body = octets[:4], octets[20:]
    if hashlib.md5(header + bytes(16) + body + secret).digest() != octets[4:20]:
        return False
    if body[:2] != bytes((MESSAGE_AUTHENTICATOR, 18)):
        return False
    blanked = body[:2] + bytes(16) + body[18:]
    return hmac.digest(secret, header + bytes(16) + blanked, "md5") == body[2:18]


def answer(
    request: bytes, code: int, body: bytes = b"", secret: bytes = SECRET, identifier: int | None = None
) -> bytes:
    header = struct.pack("!BBH", code, request[1] if identifier is None else identifier, 20 + len(body))
    return header + hashlib.md5(header + request[4:20] + body + secret).digest() + body


def signed_answer(request: bytes, code: int, vector: bytes) -> bytes:
    """An answer with Message-Authenticator over `vector` in the authenticator's place."""
    header = struct.pack("!BBH", code, request[1], 20 + 18)
    blank = bytes((MESSAGE_AUTHENTICATOR, 18)) + bytes(16)
    digest = hmac.digest(SECRET, header + vector + blank, "md5")
    return answer(request, code, blank[:2] + digest)


def acks(request: bytes) -> list[bytes]:
    return [answer(request, request[0] + 1)]


def is_silent(request: bytes) -> list[bytes]:
    return []


def naks(error_cause: int) -> Mood:
    body = struct.pack("!BBI", ERROR_CAUSE, 6, error_cause)
    return lambda request: [answer(request, request[0] + 2, body)]


class FakeNas:
    """Listens on loopback until the `with` ends; `mood` gives the answers to each datagram and may be changed."""

    def __init__(self, mood: Mood = acks, host: str = "127.0.0.1") -> None:
        self.mood = mood
        self.heard: list[Heard] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(0.05)
        self.host = host
        self.port: int = self.socket.getsockname()[1]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        self.socket.close()

    def wait_for(self, datagrams: int, seconds: float = 10.0) -> list[Heard]:
        wait_until(lambda: len(self.heard) >= datagrams, seconds)
        return self.heard

    def send(self, octets: bytes, to: tuple[str, int]) -> None:
        self.socket.sendto(octets, to)

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                octets, source = self.socket.recvfrom(5000)
            except TimeoutError:
                continue
            self.heard.append(Heard(octets, source[:2], time.monotonic()))
            for reply in self.mood(octets):
                self.socket.sendto(reply, source)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(0.005)
