"""A RADIUS server in a few lines, in the test's own event loop: it answers what the test says and keeps what it got."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from nas_simulator import NasSettings, Retransmission, wire
from nas_simulator.wire import Pairs, Received

SECRET = b"testing123"
QUICKLY = Retransmission(timeout_seconds=0.2, attempts=3)

Reply = tuple[int, Pairs]


@dataclass
class Responder:
    """What was received, octets and all, and how to answer an Access-Request."""

    answer: Callable[[Received], Reply | None]
    authentication_port: int = 0
    accounting_port: int = 0
    access: list[Received] = field(default_factory=list)
    accounting: list[Received] = field(default_factory=list)
    secret: bytes = SECRET
    signed: bool = True
    deaf_to_accounting: int = 0

    def reply(self, request: Received) -> bytes | None:
        if request.code == wire.ACCOUNTING_REQUEST:
            return self._account(request)
        self.access.append(request)
        answer = self.answer(request)
        return None if answer is None else wire.reply_to(request, *self._with_secret(answer), self.signed)

    def _account(self, request: Received) -> bytes | None:
        assert wire.accounting_request_fault(request, SECRET) is None
        self.accounting.append(request)
        if self.deaf_to_accounting:
            self.deaf_to_accounting -= 1
            return None
        return wire.reply_to(request, wire.ACCOUNTING_RESPONSE, self.secret, [], signed=False)

    def _with_secret(self, answer: Reply) -> tuple[int, bytes, Pairs]:
        return answer[0], self.secret, answer[1]

    def statuses(self) -> list[object]:
        return [request.value("Acct-Status-Type") for request in self.accounting]

    def settings(self, **changes: object) -> NasSettings:
        """Settings of a NAS that talks to us."""
        return NasSettings(
            **{  # type: ignore[arg-type]
                "secret": SECRET,
                "authentication_port": self.authentication_port,
                "accounting_port": self.accounting_port,
                "retransmission": QUICKLY,
                **changes,
            }
        )


class _Port(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self.closed = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self.responder.reply(wire.decode(data))
        if reply is not None:
            self.transport.sendto(reply, addr)


def accept(*pairs: tuple[str, wire.Value]) -> Callable[[Received], Reply]:
    """Accept everybody, with these attributes."""
    return lambda _: (wire.ACCESS_ACCEPT, pairs)


@asynccontextmanager
async def responding(
    answer: Callable[[Received], Reply | None], address: str = "127.0.0.1"
) -> AsyncIterator[Responder]:
    """Listen on two free ports until the test is done."""
    responder, loop = Responder(answer), asyncio.get_running_loop()
    ports = []
    for name in ("authentication_port", "accounting_port"):
        _, port = await loop.create_datagram_endpoint(lambda: _Port(responder), local_addr=(address, 0))
        setattr(responder, name, port.transport.get_extra_info("sockname")[1])
        ports.append(port)
    try:
        yield responder
    finally:
        for port in ports:
            port.transport.close()
            await port.closed.wait()
