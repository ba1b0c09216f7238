"""The load generator against a small responder: every answer is taken in, the missing and the wrong ones are counted."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from benchmarks.generator import Load, Ports
from benchmarks.packets import ACCOUNTING_RESPONSE, SECRET
from benchmarks.traffic import sessions
from nas_simulator.wire import decode, reply_to


@contextmanager
def responder(silent_for: set[int], lying_for: set[int]) -> Iterator[int]:
    """Answer Accounting-Requests in the order they come, by their number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        stop = threading.Event()

        def serve() -> None:
            server.settimeout(0.05)
            number = 0
            while not stop.is_set():
                try:
                    octets, source = server.recvfrom(4096)
                except TimeoutError:
                    continue
                if number not in silent_for:
                    secret = b"not the secret" if number in lying_for else SECRET
                    server.sendto(
                        reply_to(decode(octets), ACCOUNTING_RESPONSE, secret, (), signed=False), source
                    )
                number += 1

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def test_a_closed_loop_sends_everything_and_checks_every_answer() -> None:
    packets = sessions(200, 20)
    with responder(set(), {3, 5}) as port, closing(Ports(port, 8)) as ports:
        outcome = Load(ports, packets).closed(10.0).outcome(ACCOUNTING_RESPONSE)

    assert (outcome.sent, outcome.answered, outcome.lost, outcome.wrong) == (200, 200, 0, 2)
    assert outcome.wrong_because == "2 x its Response Authenticator is wrong"
    assert len(outcome.latencies) == 200


def test_an_open_loop_keeps_its_rate_and_counts_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.generator.LOST_AFTER_SECONDS", 3.0)
    packets = sessions(100, 20)
    with responder({7}, set()) as port, closing(Ports(port, 8)) as ports:
        outcome = Load(ports, packets).open(1_000).outcome(ACCOUNTING_RESPONSE)

    assert (outcome.sent, outcome.answered, outcome.lost) == (100, 99, 1)
    assert outcome.seconds > 0.05
