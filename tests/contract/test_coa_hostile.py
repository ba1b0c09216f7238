"""Hostile answers (rule R31): forged, stale, truncated, duplicated, random. They change nothing and are in no log.

HEROTILL_HOSTILE_DATAGRAMS says how many, such as 1000000.
"""

import asyncio
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from sync_daemon import database
from sync_daemon.coa.client import ClientSettings, DynamicAuthorizationClient
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange
from sync_daemon.coa.pacing import PacingSettings
from sync_daemon.coa.packets import Ack, Action, Ignored
from sync_daemon.coa.timing import RetransmissionTiming
from tests.contract.coa_fake_nas import (
    SECRET,
    FakeNas,
    Heard,
    acks,
    answer,
    is_silent,
    naks,
    signed_answer,
    wait_until,
)
from tests.contract.coa_setup import PATIENT, add_nas, enqueue, query, state_of, wait_for_state, workers

DATAGRAMS = int(os.environ.get("HEROTILL_HOSTILE_DATAGRAMS", "20000"))
AT_ONCE = 500
"""So many are sent before it is looked whether they were read: what the kernel drops proves nothing."""
ENDLESS = RetransmissionTiming(3600.0, 3600.0, 2, 3600.0, 0.0, 3600.0)
IN_FLIGHT = 64
MARK = b"LEAKED-CONTENT"


class Malice:
    """Makes datagrams that are no answers to the requests it has heard."""

    def __init__(self, heard: list[Heard], earlier: list[Heard], seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._heard = heard
        self._kinds: list[Callable[[bytes], bytes]] = [
            lambda request: answer(request, 41, secret=b"not the secret"),
            lambda request: answer(request, 42, b"\x65\x06\x00\x00\x01\xf7", secret=b"not the secret"),
            lambda request: answer(request, 41, MARK_ATTRIBUTE)[: self._random.randrange(0, 30)],
            lambda request: answer(request, 41, b"\x12\xff" + MARK),
            lambda request: answer(request, self._random.choice([2, 3, 5, 40, 43, 44, 45, 255])),
            lambda request: signed_answer(request, 41, self._random.randbytes(16)),
            lambda request: self._random.randbytes(self._random.randrange(0, 600)) + MARK,
            lambda request: bytes([41, request[1]]) + self._random.randbytes(200),
            lambda _request: answer(self._random.choice(earlier).octets, 41),  # stale, or answered before
            lambda request: request,
            lambda request: answer(request, 41)[:-1],
            lambda _request: MARK * 400,  # longer than any packet
        ]

    def datagram(self, number: int) -> tuple[bytes, tuple[str, int]]:
        """Return the next datagram, and where to."""
        heard = self._heard[number % len(self._heard)]
        octets: bytes = self._kinds[number % len(self._kinds)](heard.octets)
        return octets, heard.source


MARK_ATTRIBUTE = bytes((18, 2 + len(MARK))) + MARK


def resident_kibibytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_r31_hostile_answers_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Given requests on their way, when a flood of false answers comes, then each still waits for its right answer."""
    caplog.set_level("DEBUG")
    dictionary: Any = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call]
    pacing = PacingSettings(initial_window=1000, largest_window=1000, burst=1000)
    with FakeNas() as nas:

        async def scenario() -> tuple[DynamicAuthorizationClient, list[Exchange], float]:
            client = DynamicAuthorizationClient(dictionary, ClientSettings(timing=ENDLESS, pacing=pacing))
            destination = Destination(ip_address(nas.host), nas.port, SECRET)
            asked = AuthorizationRequest(Action.DISCONNECT, {"User-Name": "student-1"}, destination)
            await asyncio.gather(*(client.exchange(asked) for _ in range(IN_FLIGHT)))
            earlier = list(nas.heard)
            nas.mood = is_silent
            waiting = [asyncio.create_task(client.exchange(asked)) for _ in range(IN_FLIGHT)]
            await asyncio.to_thread(nas.wait_for, 2 * IN_FLIGHT)
            malice = Malice(nas.heard[IN_FLIGHT:], earlier)
            before = resident_kibibytes()
            seconds = await asyncio.to_thread(_flood, nas, malice, client)
            grown = resident_kibibytes() - before
            assert grown < 20_000, f"memory grew by {grown} KiB"
            assert not any(task.done() for task in waiting)
            for heard in nas.heard[IN_FLIGHT : 2 * IN_FLIGHT]:
                nas.send(acks(heard.octets)[0], heard.source)
            exchanges = await asyncio.wait_for(asyncio.gather(*waiting), 10.0)
            client.close()
            return client, exchanges, seconds

        client, exchanges, seconds = asyncio.run(scenario())
    assert [exchange.outcome for exchange in exchanges] == [Ack()] * IN_FLIGHT
    assert client.ignored.total() == DATAGRAMS
    assert set(client.ignored) >= set(Ignored) - {Ignored.UNKNOWN_SOURCE}
    assert MARK.decode() not in caplog.text
    assert SECRET.decode() not in caplog.text
    print(f"{DATAGRAMS} hostile datagrams in {seconds:.1f} s: {dict(client.ignored)}")  # noqa: T201 - the figure


def _flood(nas: FakeNas, malice: Malice, client: DynamicAuthorizationClient) -> float:
    began = time.monotonic()
    for number in range(DATAGRAMS):
        nas.send(*malice.datagram(number))
        if number % AT_ONCE == AT_ONCE - 1:
            wait_until(lambda: client.ignored.total() > number - AT_ONCE // 2)  # noqa: B023 - called at once
    wait_until(lambda: client.ignored.total() == DATAGRAMS)
    return time.monotonic() - began


@pytest.fixture
def books(database_url: str) -> Iterator[Connection]:
    connection = database.connect(database_url, "test", autocommit=True)
    yield connection
    connection.close()


def test_r31_hostile_answers_reach_neither_the_outbox_nor_the_log(
    books: Connection, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with FakeNas(is_silent) as nas, FakeNas() as stranger, workers(books, database_url, timing=PATIENT):
        add_nas(books, nas)
        requests = [enqueue(books, f"r{number}") for number in range(8)]
        nas.wait_for(8)
        malice = Malice(nas.heard[:8], nas.heard[:8])
        stale = [octets for octets, _ in map(malice.datagram, range(8, 3000)) if octets[:1] != b"\x29"]
        for number, octets in enumerate(stale):
            sender = stranger if number % 3 == 0 else nas
            sender.send(octets, nas.heard[number % 8].source)
        for heard in nas.heard[:8]:
            stranger.send(acks(heard.octets)[0], heard.source)
            nas.send(naks(503)(heard.octets)[0][:-1], heard.source)
        assert {state_of(books, request)[0] for request in requests} == {"sent"}
        assert query(books, "SELECT count(*) FROM radius.coa_attempt") == [(0,)]
        for heard in nas.heard[:8]:
            nas.send(acks(heard.octets)[0], heard.source)
        for request in requests:
            wait_for_state(books, request, "acked")
    warnings = [record for record in caplog.records if record.getMessage() == "Datagrams were ignored."]
    assert len(warnings) <= 1  # once a minute
    logged = "".join(str(record.__dict__) for record in caplog.records)
    assert MARK.decode() not in logged
    assert SECRET.decode() not in logged
