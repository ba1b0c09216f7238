"""The load generator: sends prepared packets from many source ports, remembers every answer and when it came.

Nothing is encoded, verified or sorted while the clock runs; `outcome` does that afterwards. It reports its own CPU time,
so that everybody can see whether it was the bottleneck.
"""

import gc
import random
import select
import socket
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.arithmetic import percentile
from benchmarks.verifying import faults

NAS_TIMEOUT_SECONDS = 2.0
"""Answers after this are late: a NAS has sent again or given up (MikroTik waits 300 ms to 3 s)."""
LOST_AFTER_SECONDS = 4.0
_RECEIVE_OCTETS = 4096
_NAP_SECONDS = 0.0001


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one load. Latencies are seconds, ascending.

    `completed` is what was answered before the load ended, the rest of `answered` came while waiting for stragglers.
    """

    sent: int
    answered: int
    completed: int
    lost: int
    late: int
    wrong: int
    wrong_because: str
    seconds: float
    latencies: Sequence[float] = field(repr=False)
    generator_seconds: float

    @property
    def rate(self) -> float:
        """Right answers in time, per second."""
        return max(0, self.completed - self.wrong - self.late) / self.seconds if self.seconds else 0.0

    def latency_ms(self, percent: float) -> float:
        """Return a percentile of the latencies, in milliseconds."""
        return percentile(self.latencies, percent) * 1000


class Ports:
    """Connected UDP sockets to one server port: each a source port with Identifiers of its own."""

    def __init__(self, server_port: int, count: int, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        self._poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        for number in range(count):
            port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            port.bind((addresses[number % len(addresses)], 0))
            port.connect(("127.0.0.1", server_port))
            self.sockets[port.fileno()] = port
            self._poll.register(port, select.EPOLLIN)
        self.poll = self._poll.poll

    def close(self) -> None:
        """Close them all."""
        for port in self.sockets.values():
            port.close()
        self._poll.close()


class Load:
    """One load on one server port. `packets` are sent once each, in order."""

    def __init__(self, ports: Ports, packets: Sequence[bytes]) -> None:
        self._ports = ports
        self._packets = packets
        self._next = 0
        self._sent_at = array("d", bytes(8 * len(packets)))
        self._replies: list[tuple[int, bytes]] = []
        self._received_at = array("d")
        # By source port and Identifier: the index of the packet that waits for its answer, else -1.
        self._waiting = {descriptor: [-1] * 256 for descriptor in ports.sockets}
        self._seconds = self._generator_seconds = 0.0
        self._completed = 0

    def closed(self, seconds: float) -> "Load":
        """Keep one packet in flight on every source port; the next goes out when the answer is in."""
        with undisturbed():
            cpu, start = time.process_time(), time.perf_counter()
            self._run_closed(start + seconds)
            self._seconds = min(seconds, (self._received_at[-1] if self._received_at else start) - start)
            self._completed = len(self._replies)
            self._drain()
            self._generator_seconds = time.process_time() - cpu
        return self

    def open(self, rate: float) -> "Load":
        """Send all packets at times of a Poisson process, whether or not answers come."""
        gaps = random.Random(len(self._packets))
        with undisturbed():
            cpu, start = time.process_time(), time.perf_counter()
            due = start
            for index in range(len(self._packets)):
                due += gaps.expovariate(rate)
                self._sent_at[index] = due
            self._run_open()
            self._seconds = time.perf_counter() - start
            self._completed = len(self._replies)
            self._drain()
            self._generator_seconds = time.process_time() - cpu
        return self

    def _run_closed(self, deadline: float) -> None:
        clock, sockets, packets, waiting = (
            time.perf_counter,
            self._ports.sockets,
            self._packets,
            self._waiting,
        )
        sent_at, received_at, replies = self._sent_at, self._received_at, self._replies
        receive = {descriptor: port.recv for descriptor, port in sockets.items()}
        send = {descriptor: port.send for descriptor, port in sockets.items()}
        total, following = len(packets), 0
        busy = dict.fromkeys(sockets, 0.0)  # since when its packet waits
        idle = list(sockets)
        swept_at = clock()
        while (now := clock()) < deadline:
            for descriptor in idle:
                if following < total:
                    packet = packets[following]
                    waiting[descriptor][packet[1]] = following
                    busy[descriptor] = sent_at[following] = clock()
                    send[descriptor](packet)
                    following += 1
            idle.clear()
            if following >= total and len(replies) >= total:
                break
            for descriptor, _ in self._ports.poll(0.05):
                reply = receive[descriptor](_RECEIVE_OCTETS)
                now = clock()
                slots = waiting[descriptor]
                index = slots[reply[1]]
                if index >= 0:
                    slots[reply[1]] = -1
                    replies.append((index, reply))
                    received_at.append(now)
                    if sent_at[index] >= busy[descriptor]:
                        idle.append(descriptor)
            if now - swept_at > 0.5:
                swept_at = now
                idle += _overdue(busy, idle, now)
        self._next = following

    def _run_open(self) -> None:
        clock, packets, sent_at = time.perf_counter, self._packets, self._sent_at
        descriptors = list(self._ports.sockets)
        count, total, following = len(descriptors), len(packets), 0
        while following < total:
            now = clock()
            while following < total and sent_at[following] <= now:
                descriptor, packet = descriptors[following % count], packets[following]
                # Were the Identifier still in use, its older packet would count as lost.
                self._waiting[descriptor][packet[1]] = following
                self._ports.sockets[descriptor].send(packet)
                following += 1
            if not self._receive(0) and following < total:
                time.sleep(min(max(sent_at[following] - clock(), 0.0), _NAP_SECONDS))
        self._next = following

    def _receive(self, timeout: float) -> int:
        events = self._ports.poll(timeout)
        for descriptor, _ in events:
            reply = self._ports.sockets[descriptor].recv(_RECEIVE_OCTETS)
            index = self._waiting[descriptor][reply[1]]
            if index >= 0:
                self._waiting[descriptor][reply[1]] = -1
                self._replies.append((index, reply))
                self._received_at.append(time.perf_counter())
        return len(events)

    def _drain(self) -> None:
        deadline = time.perf_counter() + LOST_AFTER_SECONDS
        while len(self._replies) < self._next and time.perf_counter() < deadline:
            self._receive(0.05)

    def outcome(self, expected_code: int) -> Outcome:
        """Verify every answer and count."""
        wrong = faults(self._packets, self._replies, expected_code)
        latencies = sorted(
            received - self._sent_at[index]
            for (index, _), received in zip(self._replies, self._received_at, strict=True)
        )
        return Outcome(
            sent=self._next,
            answered=len(self._replies),
            completed=self._completed,
            lost=self._next - len(self._replies),
            late=sum(1 for latency in latencies if latency > NAS_TIMEOUT_SECONDS),
            wrong=wrong.total(),
            wrong_because="; ".join(f"{count} x {reason}" for reason, count in wrong.most_common(3)),
            seconds=self._seconds,
            latencies=latencies,
            generator_seconds=self._generator_seconds,
        )

    def replies(self) -> Iterator[tuple[int, float, bytes]]:
        """Yield each answer: the index of its packet, when it came (perf_counter), its octets."""
        for (index, reply), received in zip(self._replies, self._received_at, strict=True):
            yield index, received, reply


def _overdue(busy: dict[int, float], idle: Sequence[int], now: float) -> list[int]:
    """Return the source ports whose packet is given up, so that the next may go out."""
    return [at for at, since in busy.items() if now - since > NAS_TIMEOUT_SECONDS and at not in idle]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector out of what is timed."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
