"""What is asked, of whom, and what became of it: the values between the client and its callers."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from sync_daemon.coa.pacing import Pacer
from sync_daemon.coa.packets import Action, AttributeValue, Outcome, SignedRequest
from sync_daemon.coa.ports import Endpoint, SourcePort, endpoint_of, plain_address


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a NAS takes dynamic authorization, and the secret shared with it."""

    address: IPv4Address | IPv6Address
    port: int
    secret: bytes = field(repr=False)

    @property
    def endpoint(self) -> Endpoint:
        """Address and port as the kernel writes them."""
        return endpoint_of(plain_address(self.address), self.port)

    def __str__(self) -> str:
        host, port = self.endpoint
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """One thing asked of one NAS. `attributes` name the session and, for a CoA, say what changes."""

    action: Action
    attributes: Mapping[str, AttributeValue]
    destination: Destination


@dataclass(frozen=True, slots=True)
class Exchange:
    """What became of a request. `identifier`, `source_port` and `sent_at` are None if it was never given a socket."""

    outcome: Outcome
    identifier: int | None = None
    source_port: int | None = None
    sent_at: datetime | None = None
    answered_at: datetime | None = None
    transmissions: int = 0


@dataclass(frozen=True, slots=True)
class Leg:
    """What stays the same over all transmissions of a request. `deadline` is monotonic seconds."""

    port: SourcePort
    endpoint: Endpoint
    identifier: int
    signed: SignedRequest
    sent_at: datetime
    deadline: float

    @property
    def key(self) -> tuple[SourcePort, Endpoint, int]:
        """What an answer must match to be looked at."""
        return self.port, self.endpoint, self.identifier


class Lane:
    """The requests to one NAS: those on their way and those that wait for its window or its pace."""

    __slots__ = ("pacer", "retry", "unanswered", "waiting")

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self.unanswered = 0  # sent once, and not so long ago that they are lost
        self.waiting: deque[Flight] = deque()
        self.retry: asyncio.TimerHandle | None = None


class Flight:
    """A request on its way, from waiting for its NAS's window to settled."""

    __slots__ = (
        "fills_window",
        "first_at",
        "interval_seconds",
        "lane",
        "leg",
        "randomness",
        "request",
        "result",
        "send_error",
        "timer",
        "transmissions",
        "tries",
    )  # fmt: skip

    def __init__(self, request: AuthorizationRequest, lane: Lane, randomness: float) -> None:
        self.request = request
        self.lane = lane
        self.randomness = randomness  # of the first interval, which may be reckoned more than once
        self.result: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
        self.leg: Leg | None = None  # once it has a port and an Identifier
        self.timer: asyncio.TimerHandle | None = None
        self.first_at = 0.0  # monotonic seconds
        self.fills_window = False
        self.interval_seconds = 0.0
        self.transmissions = 0  # that the kernel took
        self.tries = 0
        self.send_error: str | None = None

    def settle(self, outcome: Outcome, answered_at: datetime | None = None) -> None:
        """End the request, once; what comes later changes nothing."""
        if self.result.done():
            return
        leg = self.leg
        if leg is None:
            self.result.set_result(Exchange(outcome))
            return
        identifier, source_port = leg.identifier, leg.port.number
        exchange = Exchange(outcome, identifier, source_port, leg.sent_at, answered_at, self.transmissions)
        self.result.set_result(exchange)

    def leave_window(self) -> None:
        """Make room for the next: it was answered, given up, or is taken for lost."""
        if self.fills_window:
            self.fills_window = False
            self.lane.unanswered -= 1
