"""One UDP socket to a RADIUS server: requests, retransmissions, verified replies.

Owns identifiers, waiting and the retransmission of the same octets from the same socket (RFC 5080 §2.2.1 without its
backoff: tests want the time they asked for). Refuses to know what the packets mean.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

from nas_simulator.faults import Delivery, Direction, Loss
from nas_simulator.wire import MalformedPacket, Received, Request, decode

_IDENTIFIERS = 256


@dataclass(frozen=True, slots=True)
class Retransmission:
    """How long to wait for a reply, and how often to ask in all."""

    timeout_seconds: float = 2.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. `reply` is None where nobody answered in time.

    `sent_monotonic` is time.monotonic() as the first copy left; `attempts` counts it and its retransmissions.
    """

    reply: Received | None
    attempts: int
    sent_monotonic: float
    elapsed_seconds: float


@dataclass
class _Waiting:
    request: Request
    reply: asyncio.Future[Received]
    deaf: int


class RadiusSocket(asyncio.DatagramProtocol):
    """A connected UDP socket with up to 256 requests in flight."""

    def __init__(self, loss: Loss | None = None, require_message_authenticator: bool = False) -> None:
        self.discarded: list[str] = []
        self._loss = loss or Loss()
        self._strict = require_message_authenticator
        self._waiting: dict[int, _Waiting] = {}
        self._free = asyncio.Semaphore(_IDENTIFIERS)
        self._last_identifier = -1
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = asyncio.Event()

    @classmethod
    async def connected(
        cls, server: tuple[str, int], source: str | None, loss: Loss | None = None, strict: bool = False
    ) -> Self:
        """Open the socket towards `server`, from the address `source` where one is given."""
        loop = asyncio.get_running_loop()
        local = (source, 0) if source else None
        _, made = await loop.create_datagram_endpoint(
            lambda: cls(loss, strict), local_addr=local, remote_addr=server
        )
        return made

    @property
    def local_address(self) -> str:
        """The address our packets come from."""
        transport = self._open_transport()
        return str(transport.get_extra_info("sockname")[0])

    async def ask(
        self, build: Callable[[int], Request], retransmission: Retransmission, delivery: Delivery
    ) -> Answer:
        """Build a request for a free identifier, send it, retransmit it, and return what came back."""
        async with self._free:
            identifier = self._next_identifier()
            waiting = _Waiting(build(identifier), asyncio.get_running_loop().create_future(), delivery.deaf)
            self._waiting[identifier] = waiting
            try:
                return await self._exchange(waiting, retransmission, delivery)
            finally:
                del self._waiting[identifier]

    def send_octets(self, octets: bytes) -> None:
        """Send octets as they are, wanting no answer: malformed packets, floods."""
        if not self._loss.loses(Direction.OUT):
            self._open_transport().sendto(octets)

    async def close(self) -> None:
        """Close the socket and wait until it is."""
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - asyncio's
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102, ARG002 - asyncio's
        self._closed.set()

    def error_received(self, exc: Exception) -> None:
        """Note an ICMP error; the retransmission goes on, for the server may be starting."""
        self.discarded.append(f"the network said: {exc}")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002 - asyncio's
        """Give a verified reply to whoever waits for it; note why any other was discarded."""
        if self._loss.loses(Direction.IN):
            return
        try:
            reply = decode(data)
        except MalformedPacket as fault:
            self.discarded.append(f"malformed: {fault}")
            return
        self._give(reply)

    def _give(self, reply: Received) -> None:
        waiting = self._waiting.get(reply.identifier)
        if waiting is None:
            self.discarded.append("nobody waits for it (late or duplicate)")
        elif not waiting.request.accepts(reply, self._strict):
            self.discarded.append("its authenticators are wrong or missing")
        elif waiting.deaf > 0:
            waiting.deaf -= 1
        elif not waiting.reply.done():
            waiting.reply.set_result(reply)

    async def _exchange(
        self, waiting: _Waiting, retransmission: Retransmission, delivery: Delivery
    ) -> Answer:
        attempts = delivery.attempts or retransmission.attempts
        timeout = delivery.timeout_seconds or retransmission.timeout_seconds
        started = time.monotonic()
        for attempt in range(1, attempts + 1):
            for _ in range(delivery.copies if attempt == 1 else 1):
                self.send_octets(waiting.request.octets)
            await asyncio.wait([waiting.reply], timeout=timeout)
            if waiting.reply.done():
                return Answer(waiting.reply.result(), attempt, started, time.monotonic() - started)
        return Answer(None, attempts, started, time.monotonic() - started)

    def _next_identifier(self) -> int:
        # In turn and not the lowest free one: a server remembers an identifier for a while.
        identifier = (self._last_identifier + 1) % _IDENTIFIERS
        while identifier in self._waiting:
            identifier = (identifier + 1) % _IDENTIFIERS
        self._last_identifier = identifier
        return identifier

    def _open_transport(self) -> asyncio.DatagramTransport:
        if self._transport is None:
            raise RuntimeError("the socket is not open")
        return self._transport
