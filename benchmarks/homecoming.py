"""Subscribers who come back all at once: each logs in, and as soon as it is accepted its NAS reports the Start.

The Start carries the Class of the Accept, so it cannot be made beforehand; it is made while the clock runs.
"""

import random
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.generator import LOST_AFTER_SECONDS, NAS_TIMEOUT_SECONDS, Outcome, Ports, undisturbed
from benchmarks.packets import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCOUNTING_RESPONSE,
    START,
    Subscriber,
    access_request,
    accounting_request,
    report,
    session_attributes,
    text,
)
from benchmarks.verifying import fault

CLASS = 25

Waiting = dict[int, list[int]]
"""By descriptor and Identifier: the number of the subscriber whose answer is awaited, else -1."""
Replies = dict[int, tuple[float, bytes]]
"""By number: when the answer came, and its octets."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of it; `seconds` is from the first login to the last answer to a Start."""

    logins: Outcome
    starts: Outcome
    seconds: float


class Homecoming:
    """`count` subscribers behind the NASes of two sets of ports, which are of the same addresses in the same order."""

    def __init__(self, authentication: Ports, accounting: Ports, count: int, refused: Sequence[int]) -> None:
        self._login_ports = list(authentication.sockets.values())
        self._start_ports = list(accounting.sockets.values())
        self._authentication, self._accounting = authentication, accounting
        self._poll_logins, self._poll_starts = authentication.poll, accounting.poll
        self._who = [Subscriber(number) for number in range(count)]
        self._logins = [
            access_request(self._identifier(number), who, b"home%08x" % number)
            for number, who in enumerate(self._who)
        ]
        self._sessions = [session_attributes(who, b"home%08x" % who.number) for who in self._who]
        self._refused = frozenset(refused)
        self._starts: list[bytes] = [b""] * count
        self._login_sent, self._start_sent = array("d", bytes(8 * count)), array("d", bytes(8 * count))
        self._login_replies: Replies = {}
        self._start_replies: Replies = {}
        self._by_login = self._index(authentication)
        self._by_start = self._index(accounting)

    def _identifier(self, number: int) -> int:
        return number // len(self._login_ports) % 256

    @staticmethod
    def _index(ports: Ports) -> Waiting:
        return {descriptor: [-1] * 256 for descriptor in ports.sockets}

    def run(self, seconds: float) -> Returned:
        """Let them come at random times, over `seconds`."""
        count, gaps = len(self._logins), random.Random(1)
        with undisturbed():
            cpu, start = time.process_time(), time.perf_counter()
            due, rate = start, count / seconds
            for number in range(count):
                due += gaps.expovariate(rate)
                self._login_sent[number] = due
            self._send_all()
            deadline = time.perf_counter() + LOST_AFTER_SECONDS
            while time.perf_counter() < deadline and not self._all_answered():
                if not self._receive():
                    time.sleep(0.001)
            cpu = time.process_time() - cpu
        ended = max((at for at, _ in self._start_replies.values()), default=start)
        return Returned(
            self._outcome_of_logins(ended - start, cpu),
            self._outcome_of_starts(ended - start, cpu),
            ended - start,
        )

    def _send_all(self) -> None:
        clock, ports, following = time.perf_counter, self._login_ports, 0
        while following < len(self._logins):
            now = clock()
            while following < len(self._logins) and self._login_sent[following] <= now:
                port, packet = ports[following % len(ports)], self._logins[following]
                self._by_login[port.fileno()][packet[1]] = following
                port.send(packet)
                following += 1
            if not self._receive():
                time.sleep(0.0001)

    def _receive(self) -> int:
        events = self._poll_starts(0)
        for descriptor, _ in events:
            self._take(descriptor, self._accounting, self._by_start, self._start_replies)
        for descriptor, _ in (logins := self._poll_logins(0)):
            number = self._take(descriptor, self._authentication, self._by_login, self._login_replies)
            if number >= 0:
                self._start(number)
        return len(events) + len(logins)

    @staticmethod
    def _take(descriptor: int, ports: Ports, waiting: Waiting, replies: Replies) -> int:
        """Take one answer in; return the subscriber's number, -1 for an answer nobody waits for."""
        reply = ports.sockets[descriptor].recv(4096)
        number = waiting[descriptor][reply[1]]
        if number >= 0:
            waiting[descriptor][reply[1]] = -1
            replies[number] = (time.perf_counter(), reply)
        return number

    def _start(self, number: int) -> None:
        reply = self._login_replies[number][1]
        if reply[0] != ACCESS_ACCEPT:
            return
        attributes = report(START, self._sessions[number], int(time.time()))
        value = attribute(reply, CLASS)
        packet = accounting_request(
            self._identifier(number), attributes + text(CLASS, value) if value else attributes
        )
        self._starts[number] = packet
        port = self._start_ports[number % len(self._start_ports)]
        self._by_start[port.fileno()][packet[1]] = number
        self._start_sent[number] = time.perf_counter()
        port.send(packet)

    def _all_answered(self) -> bool:
        accepted = sum(1 for packet in self._starts if packet)
        return len(self._login_replies) == len(self._logins) and len(self._start_replies) == accepted

    def _outcome_of_logins(self, seconds: float, cpu: float) -> Outcome:
        faults = [
            fault(self._logins[number], reply, ACCESS_REJECT if number in self._refused else ACCESS_ACCEPT)
            for number, (_, reply) in self._login_replies.items()
        ]
        latencies = [at - self._login_sent[number] for number, (at, _) in self._login_replies.items()]
        return _outcome(len(self._logins), latencies, faults, seconds, cpu)

    def _outcome_of_starts(self, seconds: float, cpu: float) -> Outcome:
        faults = [
            fault(self._starts[number], reply, ACCOUNTING_RESPONSE)
            for number, (_, reply) in self._start_replies.items()
        ]
        latencies = [at - self._start_sent[number] for number, (at, _) in self._start_replies.items()]
        return _outcome(sum(1 for packet in self._starts if packet), latencies, faults, seconds, cpu)


def _outcome(
    sent: int, latencies: list[float], faults: Sequence[str | None], seconds: float, cpu: float
) -> Outcome:
    wrong = [reason for reason in faults if reason is not None]
    return Outcome(
        sent=sent,
        answered=len(latencies),
        completed=len(latencies),
        lost=sent - len(latencies),
        late=sum(1 for latency in latencies if latency > NAS_TIMEOUT_SECONDS),
        wrong=len(wrong),
        wrong_because="; ".join(sorted(set(wrong))),
        seconds=seconds,
        latencies=sorted(latencies),
        generator_seconds=cpu,
    )


def attribute(packet: bytes, kind: int) -> bytes:
    """Return the value of the first attribute of a kind; empty when there is none."""
    at = 20
    while at + 2 <= len(packet) and packet[at + 1] >= 2:
        if packet[at] == kind:
            return packet[at + 2 : at + packet[at + 1]]
        at += packet[at + 1]
    return b""
