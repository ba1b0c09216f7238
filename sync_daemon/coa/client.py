"""The exchanges: many requests in flight, each sent again until answered or given up (RFC 5176, RFC 5080 §2.2.1).

Runs in one asyncio loop and is not thread-safe. Knows nothing of the database or of what a request is for.
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from pyrad.dictionary import Dictionary

from herotill.errors import InvalidValue
from sync_daemon.coa.error_causes import RESOURCES_UNAVAILABLE
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange, Flight, Lane, Leg
from sync_daemon.coa.pacing import Pacer, PacingSettings
from sync_daemon.coa.packets import Ack, Ignored, Nak, Timeout, Unsendable, read_answer, sign_request
from sync_daemon.coa.ports import Endpoint, SourcePort, family_of, plain_address
from sync_daemon.coa.timing import RetransmissionTiming

RFC_5080_TIMING = RetransmissionTiming()
USUAL_PACING = PacingSettings()
TIMER_SLACK_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How the client behaves; the defaults are the RFCs' numbers.

    `source_address` binds its own address family; the other family is left to the kernel.
    """

    source_address: str | None = None
    timing: RetransmissionTiming = RFC_5080_TIMING
    pacing: PacingSettings = USUAL_PACING
    identifier_rest_seconds: float = 300.0
    max_source_ports: int = 64


class DynamicAuthorizationClient:
    """Sends requests and verifies answers. Use inside one running loop and `close` it.

    `ignored` counts, by reason, the datagrams that were not taken for an answer.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        settings: ClientSettings | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        randomness: Callable[[], float] = random.random,
    ) -> None:
        self.ignored: Counter[Ignored] = Counter()
        self._dictionary = dictionary
        self._settings = settings or ClientSettings()
        self._clock = clock
        self._randomness = randomness
        self._holding = False
        self._ports: dict[socket.AddressFamily, list[SourcePort]] = {}
        self._lanes: dict[Endpoint, Lane] = {}
        self._in_flight: dict[tuple[SourcePort, Endpoint, int], Flight] = {}

    async def exchange(self, request: AuthorizationRequest) -> Exchange:
        """Send a request when the NAS's window allows and return what became of it; cancelling abandons it."""
        lane = self._lane(request.destination.endpoint)
        flight = Flight(request, lane, self._randomness())
        lane.waiting.append(flight)
        self._launch_waiting(lane)
        try:
            return await flight.result
        finally:
            self._retire(flight)

    def hold(self) -> None:
        """Transmit nothing that still waits for its NAS's window; what is in flight goes on."""
        self._holding = True

    def close(self) -> None:
        """Close all sockets. Exchanges still awaited must have been cancelled before."""
        for lane in self._lanes.values():
            if lane.retry is not None:
                lane.retry.cancel()
        for port in [port for ports in self._ports.values() for port in ports]:
            port.close()
        self._ports.clear()

    def _lane(self, endpoint: Endpoint) -> Lane:
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = self._lanes[endpoint] = Lane(Pacer(self._settings.pacing))
        return lane

    def _launch_waiting(self, lane: Lane) -> None:
        while lane.waiting and not self._holding and lane.pacer.may_send(lane.unanswered):
            if (moment := lane.pacer.send_at(_now())) > _now():
                self._launch_at(lane, moment)
                return
            flight = lane.waiting[0]
            try:
                claim = self._claim_identifier(flight.request.destination)
            except OSError as error:
                lane.waiting.popleft().settle(
                    Unsendable(f"no UDP socket could be opened: {error.strerror}", is_passing=True)
                )
                continue
            if claim is None:
                self._launch_when_identifiers_rested(flight)
                return
            self._launch(lane.waiting.popleft(), *claim)

    def _launch(self, flight: Flight, port: SourcePort, identifier: int) -> None:
        """Sign the request now, so that its Event-Timestamp is the time of its first transmission, and transmit it."""
        request, sent_at = flight.request, self._clock()
        endpoint, secret = request.destination.endpoint, request.destination.secret
        try:
            signed = sign_request(
                self._dictionary, request.action, request.attributes, identifier, sent_at, secret
            )
        except InvalidValue as error:
            port.pools[endpoint].give_back(identifier)
            flight.settle(Unsendable(str(error)))
            return
        deadline = _now() + self._settings.timing.maximum_duration_seconds
        flight.leg = Leg(port, endpoint, identifier, signed, sent_at, deadline)
        flight.first_at, flight.fills_window = _now(), True
        flight.lane.unanswered += 1
        flight.lane.pacer.sent(_now())
        self._in_flight[flight.leg.key] = flight
        self._transmit(flight, flight.leg)

    def _claim_identifier(self, destination: Destination) -> tuple[SourcePort, int] | None:
        """Find a source port with an Identifier to spare for this destination, opening one more if need be."""
        family = family_of(plain_address(destination.address))
        ports = self._ports.setdefault(family, [])
        for port in ports:
            identifier = port.pools[destination.endpoint].claim(_now())
            if identifier is not None:
                return port, identifier
        if len(ports) >= self._settings.max_source_ports:
            return None
        ports.append(self._open_port(family))
        return self._claim_identifier(destination)

    def _open_port(self, family: socket.AddressFamily) -> SourcePort:
        source_address = self._settings.source_address
        if source_address is not None and family_of(ip_address(source_address)) != family:
            source_address = None
        return SourcePort(family, source_address, self._settings.identifier_rest_seconds, self._read)

    def _launch_when_identifiers_rested(self, flight: Flight) -> None:
        """Arrange for the lane to go on when an Identifier is free; a request that retires does so as well."""
        lane, destination = flight.lane, flight.request.destination
        ports = self._ports[family_of(plain_address(destination.address))]
        free_at = [port.pools[destination.endpoint].next_free_at() for port in ports]
        known = [moment for moment in free_at if moment is not None]
        if known:
            self._launch_at(lane, min(known))

    def _launch_at(self, lane: Lane, moment: float) -> None:
        if lane.retry is None:
            lane.retry = asyncio.get_running_loop().call_at(moment, self._launch_again, lane)

    def _launch_again(self, lane: Lane) -> None:
        lane.retry = None
        self._launch_waiting(lane)

    def _transmit(self, flight: Flight, leg: Leg) -> None:
        try:
            leg.port.send(leg.signed.octets, leg.endpoint)
            flight.transmissions += 1
        except OSError as error:  # a full buffer or a route that is away is loss; retransmission is for that
            flight.send_error = error.strerror
        flight.tries += 1
        timing = self._settings.timing
        if flight.tries == 1:
            # While the round trip is unknown, look early: it may be known by then.
            first = timing.first_interval_seconds(flight.lane.pacer.answer_seconds, flight.randomness)
            self._look_again(flight, leg, _now() + min(first, timing.least_interval_seconds))
            return
        interval = timing.next_interval_seconds(flight.interval_seconds, self._randomness())
        flight.interval_seconds = interval
        self._look_again(flight, leg, _now() + interval)

    def _look_again(self, flight: Flight, leg: Leg, moment: float) -> None:
        loop = asyncio.get_running_loop()
        flight.timer = loop.call_at(min(moment, leg.deadline), self._retransmit_or_give_up, flight, leg)

    def _retransmit_or_give_up(self, flight: Flight, leg: Leg) -> None:
        timing = self._settings.timing
        if flight.tries == 1:
            expected = flight.lane.pacer.answer_seconds
            flight.interval_seconds = timing.first_interval_seconds(expected, flight.randomness)
            due = flight.first_at + flight.interval_seconds
            if _now() < min(due, leg.deadline) - TIMER_SLACK_SECONDS:
                self._look_again(flight, leg, due)
                return
        self._take_for_lost(flight)
        spent = flight.tries >= timing.maximum_transmissions or _now() >= leg.deadline
        if not spent:
            self._transmit(flight, leg)
        elif flight.transmissions:
            flight.settle(Timeout())
        else:
            flight.settle(Unsendable(f"the network refused it: {flight.send_error}", is_passing=True))

    def _take_for_lost(self, flight: Flight) -> None:
        """Slow down for a request that was not answered in time, and let another take its place in the window."""
        flight.lane.pacer.slowed(_now(), flight.first_at)
        if flight.fills_window:
            flight.leave_window()
            self._launch_waiting(flight.lane)

    def _read(self, port: SourcePort, source: Endpoint, datagram: bytes) -> None:
        identifier = datagram[1] if len(datagram) > 1 else -1
        flight = self._in_flight.get((port, source, identifier))
        if flight is None or flight.leg is None or flight.result.done():
            known = source in self._lanes
            self.ignored[Ignored.UNEXPECTED_IDENTIFIER if known else Ignored.UNKNOWN_SOURCE] += 1
            return
        answer = read_answer(datagram, flight.leg.signed)
        if isinstance(answer, Ack | Nak):
            self._note_answer(flight, answer)
            flight.settle(answer, self._clock())
        else:
            self.ignored[answer] += 1

    def _note_answer(self, flight: Flight, answer: Ack | Nak) -> None:
        pacer = flight.lane.pacer
        if isinstance(answer, Nak) and answer.error_cause == RESOURCES_UNAVAILABLE:
            pacer.slowed(_now(), flight.first_at)
        else:
            pacer.answered(_now(), flight.first_at, flight.tries == 1)

    def _retire(self, flight: Flight) -> None:
        """Forget a request, rest its Identifier, and let the next one of its NAS go."""
        if flight.timer is not None:
            flight.timer.cancel()
        leg = flight.leg
        if leg is not None:
            del self._in_flight[leg.key]
            leg.port.pools[leg.endpoint].release(leg.identifier, _now())
            flight.leave_window()
        elif flight in flight.lane.waiting:
            flight.lane.waiting.remove(flight)
        self._launch_waiting(flight.lane)


def _now() -> float:
    return asyncio.get_running_loop().time()
