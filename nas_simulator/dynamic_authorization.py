"""The NAS's side of RFC 5176: Disconnect- and CoA-Requests received, judged, carried out, answered.

Owns the socket, the signatures, the window of duplicates and the mood. Which session is meant, and what happens to it,
is its NAS's business (`Decide`).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self, assert_never, cast

from nas_simulator import wire
from nas_simulator.moods import Ack, AckButStay, Duplicate, Forged, Late, Mood, Nak, Silent
from nas_simulator.session import Session
from nas_simulator.settings import NasSettings
from nas_simulator.wire import MalformedPacket, Received

_REMEMBERED = 4096

Address = tuple[str, int]


class Verdict(StrEnum):
    """What became of a request."""

    ACKED = "acked"
    NAKED = "naked"
    IGNORED = "ignored"  # the mood kept silent
    FORGED = "forged"  # the mood answered with another secret
    DUPLICATE = "duplicate"  # a retransmission: answered again, not done again
    DISCARDED = "discarded"  # not to be believed, so not answered


@dataclass(frozen=True, slots=True)
class DynamicRequest:
    """One datagram that came to the dynamic authorization port, when, and what became of it."""

    kind: str
    verdict: Verdict
    reason: str
    received_at: datetime
    received_monotonic: float
    source: Address
    request: Received | None = None
    error_cause: int | None = None
    sessions: tuple[Session, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the NAS says to a request: the sessions it means, or the Error-Cause why not."""

    sessions: tuple[Session, ...] = ()
    error_cause: int | None = None
    carry_out: Callable[[], None] = lambda: None


Decide = Callable[[Received], Decision]


class DynamicAuthorization(asyncio.DatagramProtocol):
    """A Dynamic Authorization Server on one UDP port."""

    def __init__(self, settings: NasSettings, decide: Decide) -> None:
        self.requests: list[DynamicRequest] = []
        self._settings = settings
        self._decide = decide
        self._moods: list[Mood] = [Ack()]
        # None while the answer is still to come.
        self._answers: OrderedDict[tuple[Address, int, bytes], list[bytes] | None] = OrderedDict()
        self._later: set[asyncio.TimerHandle] = set()
        self._arrived = asyncio.Event()
        self._closed = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def listening(cls, settings: NasSettings, address: str, decide: Decide) -> Self:
        """Open the port."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(
            lambda: cls(settings, decide), local_addr=(address, settings.dynamic_authorization.port)
        )
        return made

    @property
    def port(self) -> int:
        """The UDP port we listen on."""
        if self._transport is None:
            raise RuntimeError("the socket is not open")
        return int(self._transport.get_extra_info("sockname")[1])

    def set_moods(self, *moods: Mood) -> None:
        """Answer the next requests in these moods, one each, and all that follow in the last."""
        self._moods = list(moods) or [Ack()]

    async def wait_for(
        self, wanted: Callable[[DynamicRequest], bool], timeout_seconds: float
    ) -> DynamicRequest:
        """Return the first request wanted, past or to come. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                found = next((request for request in self.requests if wanted(request)), None)
                if found is not None:
                    return found
                self._arrived.clear()
                await self._arrived.wait()

    async def close(self) -> None:
        """Close the port and wait until it is; what was to be answered late is not answered."""
        for handle in self._later:
            handle.cancel()
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102 - asyncio's
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102, ARG002 - asyncio's
        self._closed.set()

    def error_received(self, exc: Exception) -> None:  # noqa: D102 - asyncio's; a client went away
        pass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Judge one datagram, answer it as the mood says, and remember it."""
        received = time.monotonic()
        source = (str(addr[0]), int(addr[1]))
        request, fault = self._believed(data)
        if request is None or fault is not None:
            self._note(request, Verdict.DISCARDED, fault or "", received, source)
            return
        key = (source, request.identifier, request.authenticator)
        if key in self._answers:
            self._send(self._answers[key] or [], source)
            self._note(request, Verdict.DUPLICATE, "the same request again", received, source)
            return
        self._answer(request, key, received)

    def _believed(self, data: bytes) -> tuple[Received | None, str | None]:
        try:
            request = wire.decode(data)
        except MalformedPacket as malformed:
            return None, f"malformed: {malformed}"
        if request.code not in {wire.DISCONNECT_REQUEST, wire.COA_REQUEST}:
            return request, f"code {request.code} does not belong here"
        fault = wire.dynamic_request_fault(request, self._settings.secret)
        return request, fault or self._unmet_demand(request)

    def _unmet_demand(self, request: Received) -> str | None:
        demanded = self._settings.dynamic_authorization
        if demanded.require_message_authenticator and not request.has_message_authenticator:
            return "it has no Message-Authenticator"
        timestamp = request.integer("Event-Timestamp")
        if timestamp is None:
            return "it has no Event-Timestamp" if demanded.require_event_timestamp else None
        off = abs(self._settings.clock().timestamp() - timestamp)
        if off > demanded.window_seconds:
            return f"its Event-Timestamp is {off:.0f} s off (RFC 5176 §6.3)"
        return None

    def _answer(self, request: Received, key: tuple[Address, int, bytes], received: float) -> None:
        mood = self._moods.pop(0) if len(self._moods) > 1 else self._moods[0]
        source = key[0]
        match mood:
            case Silent():
                self._note(request, Verdict.IGNORED, "silent", received, source)
            case Nak(error_cause):
                self._remember(key, [self._reply(request, error_cause)])
                self._note(request, Verdict.NAKED, "the mood", received, source, Decision((), error_cause))
            case Forged():
                self._remember(key, [self._reply(request, None, secret=b"not-" + self._settings.secret)])
                self._note(request, Verdict.FORGED, "another secret", received, source)
            case Late(seconds):
                self._remember(key, None)
                self._after(seconds, lambda: self._do(request, key, received, mood))
            case Ack() | Duplicate() | AckButStay():
                self._do(request, key, received, mood)
            case _:
                assert_never(mood)

    def _do(self, request: Received, key: tuple[Address, int, bytes], received: float, mood: Mood) -> None:
        decision = self._decide(request)
        answer = self._reply(request, decision.error_cause)
        self._remember(key, [answer])
        if isinstance(mood, Duplicate):
            self._send([answer], key[0])
        refused = decision.error_cause is not None
        verdict = Verdict.NAKED if refused else Verdict.ACKED
        self._note(request, verdict, type(mood).__name__, received, key[0], decision)
        if not refused and not isinstance(mood, AckButStay):
            decision.carry_out()

    def _reply(self, request: Received, error_cause: int | None, secret: bytes | None = None) -> bytes:
        # RFC 5176: an ACK is the request's code and one, a NAK and two.
        code = request.code + (1 if error_cause is None else 2)
        pairs: wire.Pairs = [] if error_cause is None else [("Error-Cause", error_cause)]
        signed = request.has_message_authenticator
        return wire.reply_to(request, code, secret or self._settings.secret, pairs, signed)

    def _remember(self, key: tuple[Address, int, bytes], answers: list[bytes] | None) -> None:
        self._answers[key] = answers
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        self._send(answers or [], key[0])

    def _send(self, answers: list[bytes], source: Address) -> None:
        if self._transport is not None and not self._transport.is_closing():
            for octets in answers:
                self._transport.sendto(octets, source)

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        def run() -> None:
            self._later.discard(handle)
            do()

        handle = asyncio.get_running_loop().call_later(seconds, run)
        self._later.add(handle)

    def _note(
        self,
        request: Received | None,
        verdict: Verdict,
        reason: str,
        received: float,
        source: Address,
        decision: Decision | None = None,
    ) -> None:
        self.requests.append(
            DynamicRequest(
                kind=_kind(request),
                verdict=verdict,
                reason=reason,
                received_at=self._settings.clock(),
                received_monotonic=received,
                source=source,
                request=request,
                error_cause=decision.error_cause if decision else None,
                sessions=decision.sessions if decision else (),
            )
        )
        self._arrived.set()


def _kind(request: Received | None) -> str:
    if request is None:
        return "garbage"
    return {wire.DISCONNECT_REQUEST: "disconnect", wire.COA_REQUEST: "coa"}.get(request.code, "other")
