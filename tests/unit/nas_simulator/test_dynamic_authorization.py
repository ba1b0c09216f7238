"""The NAS answers Disconnect and CoA as RFC 5176 says, or in the mood it was put in."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from herotill.errors import InvalidValue
from nas_simulator import (
    GENERIC,
    MIKROTIK,
    Accepted,
    Ack,
    AckButStay,
    Duplicate,
    DynamicAuthorizationSettings,
    Forged,
    Late,
    Mood,
    Nak,
    Session,
    Silent,
    SimulatedNas,
    Verdict,
    parse_mood,
    wire,
)
from nas_simulator.wire import Received, Request, Value
from tests.unit.nas_simulator.responder import SECRET, Responder, accept, responding


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


class Client(asyncio.DatagramProtocol):
    """Sends what it is given and keeps what comes back."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answers.put_nowait(data)

    def send(self, request: Request) -> None:
        self.transport.sendto(request.octets)

    async def answer(self, timeout_seconds: float = 5.0) -> Received:
        return wire.decode(await asyncio.wait_for(self.answers.get(), timeout_seconds))


@asynccontextmanager
async def scene(**settings: object) -> AsyncIterator[tuple[SimulatedNas, Session, Client, Responder]]:
    """A NAS with student-1 on, and a client of its dynamic authorization."""
    async with responding(accept()) as server, SimulatedNas(server.settings(**settings)) as nas:
        outcome = await nas.login("student-1", "secret", device="phone")
        assert isinstance(outcome, Accepted)
        _, client = await asyncio.get_running_loop().create_datagram_endpoint(
            Client, remote_addr=(nas.address, nas.dynamic_authorization_port)
        )
        yield nas, outcome.session, client, server
        client.transport.close()
        await client.closed.wait()


def disconnect(*pairs: tuple[str, Value], identifier: int = 7, secret: bytes = SECRET) -> Request:
    now = ("Event-Timestamp", int(time.time()))
    return wire.dynamic_request(wire.DISCONNECT_REQUEST, identifier, secret, [*pairs, now])


STUDENT = ("User-Name", "student-1")


def test_a_disconnect_is_acked_then_stopped_and_timed() -> None:
    async def test() -> None:
        async with scene() as (nas, session, client, server):
            request = disconnect(STUDENT)
            before = time.monotonic()
            client.send(request)
            answer = await client.answer()
            seen = await nas.wait_for_disconnect(session)
            await session.wait_until_stopped()
            assert answer.code == wire.DISCONNECT_ACK
            assert request.accepts(answer)
            assert before <= seen.received_monotonic <= time.monotonic()
            assert server.statuses() == ["Start", "Stop"]
            assert server.accounting[-1].value("Acct-Terminate-Cause") == "Admin-Reset"

    run(test())


@pytest.mark.parametrize(
    ("pairs", "error_cause"),
    [
        ([("User-Name", "nobody")], "Session-Context-Not-Found"),
        ([STUDENT, ("Acct-Session-Id", "other")], "Session-Context-Not-Found"),
        ([STUDENT, ("NAS-IP-Address", "192.0.2.1")], "NAS-Identification-Mismatch"),
        ([], "Missing-Attribute"),
    ],
)
def test_what_is_not_ours_is_naked_with_its_cause(pairs: list[tuple[str, Value]], error_cause: str) -> None:
    async def test() -> None:
        async with scene() as (_, session, client, _server):
            client.send(disconnect(*pairs))
            answer = await client.answer()
            assert (answer.code, answer.value("Error-Cause")) == (wire.DISCONNECT_NAK, error_cause)
            assert not session.ended

    run(test())


def test_a_mikrotik_wants_the_address_besides_the_user() -> None:
    async def test() -> None:
        async with scene(make=MIKROTIK) as (_, session, client, _server):
            client.send(disconnect(STUDENT))
            assert (await client.answer()).value("Error-Cause") == "Missing-Attribute"
            client.send(disconnect(STUDENT, ("Framed-IP-Address", session.identity.framed_ip_address)))
            assert (await client.answer()).code == wire.DISCONNECT_ACK

    run(test())


def test_a_retransmission_is_answered_alike_and_done_once() -> None:
    async def test() -> None:
        async with scene() as (nas, session, client, server):
            request = disconnect(STUDENT)
            client.send(request)
            client.send(request)
            first, second = await client.answer(), await client.answer()
            await session.wait_until_stopped()
            assert first.octets == second.octets
            assert [seen.verdict for seen in nas.requests] == [Verdict.ACKED, Verdict.DUPLICATE]
            assert server.statuses() == ["Start", "Stop"]

    run(test())


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (disconnect(STUDENT, secret=b"wrong"), "request authenticator"),
        (
            wire.dynamic_request(40, 1, SECRET, [STUDENT, ("Event-Timestamp", 1_000_000_000)]),
            "Event-Timestamp",
        ),
        (
            wire.dynamic_request(40, 1, SECRET, [STUDENT, ("Event-Timestamp", 1)], signed=False),
            "Message-Auth",
        ),
        (wire.dynamic_request(40, 1, SECRET, [STUDENT]), "no Event-Timestamp"),
        (wire.accounting_request(1, SECRET, [STUDENT]), "does not belong here"),
    ],
)
def test_what_is_not_to_be_believed_is_discarded(request_: Request, reason: str) -> None:
    strict = DynamicAuthorizationSettings(require_message_authenticator=True, require_event_timestamp=True)

    async def test() -> None:
        async with scene(dynamic_authorization=strict) as (nas, session, client, _server):
            client.send(request_)
            client.transport.sendto(b"garbage")
            first, second = await nas.wait_for_requests(2)
            assert first.verdict is Verdict.DISCARDED
            assert reason in first.reason
            assert second.kind == "garbage"
            assert client.answers.empty()
            assert not session.ended

    run(test())


def test_a_forged_message_authenticator_is_noticed() -> None:
    async def test() -> None:
        async with scene() as (nas, _session, client, _server):
            forged = wire.dynamic_request(
                40, 1, SECRET, [("Message-Authenticator", bytes(16)), STUDENT], signed=False
            )
            client.send(forged)
            (seen,) = await nas.wait_for_requests(1)
            assert seen.reason == "the Message-Authenticator is wrong"

    run(test())


def test_moods_are_taken_in_turn_and_the_last_stays() -> None:
    async def test() -> None:
        async with scene() as (nas, session, client, _server):
            nas.set_moods(Silent(), Nak(404), Ack())
            request = disconnect(STUDENT)
            client.send(request)
            await nas.wait_for_requests(1)
            client.send(request)
            assert (await client.answer()).value("Error-Cause") == "Invalid-Request"
            client.send(disconnect(STUDENT, identifier=8))
            assert (await client.answer()).code == wire.DISCONNECT_ACK
            await session.wait_until_stopped()

    run(test())


def test_late_is_late_and_a_retransmission_meanwhile_is_not_done_twice() -> None:
    async def test() -> None:
        async with scene() as (nas, session, client, server):
            nas.set_moods(Late(0.3))
            request, before = disconnect(STUDENT), time.monotonic()
            client.send(request)
            client.send(request)
            assert (await client.answer()).code == wire.DISCONNECT_ACK
            assert time.monotonic() - before >= 0.29
            await session.wait_until_stopped()
            assert server.statuses() == ["Start", "Stop"]

    run(test())


def test_duplicate_answers_twice() -> None:
    async def test() -> None:
        async with scene() as (nas, _session, client, _server):
            nas.set_moods(Duplicate())
            client.send(disconnect(STUDENT))
            assert (await client.answer()).octets == (await client.answer()).octets

    run(test())


def test_a_forged_answer_is_not_to_be_believed() -> None:
    async def test() -> None:
        async with scene() as (nas, session, client, _server):
            nas.set_moods(Forged())
            request = disconnect(STUDENT)
            client.send(request)
            assert not request.accepts(await client.answer())
            assert not session.ended

    run(test())


def test_ack_but_stay_lies() -> None:
    async def test() -> None:
        async with scene() as (nas, session, client, server):
            nas.set_moods(AckButStay())
            client.send(disconnect(STUDENT))
            assert (await client.answer()).code == wire.DISCONNECT_ACK
            await session.interim()
            assert not session.ended
            assert server.statuses() == ["Start", "Interim-Update"]

    run(test())


def test_coa_changes_the_limits_of_the_live_session() -> None:
    async def test() -> None:
        async with scene(make=MIKROTIK) as (nas, session, client, server):
            await session.use(output_octets=500)
            who = ("Acct-Session-Id", session.identity.acct_session_id)
            rate = ("Mikrotik-Rate-Limit", "64k/64k")
            client.send(wire.dynamic_request(wire.COA_REQUEST, 1, SECRET, [who, rate]))
            assert (await client.answer()).code == wire.COA_ACK
            await asyncio.sleep(0)
            assert session.limits.output_bits_per_second == 64_000
            client.send(
                wire.dynamic_request(wire.COA_REQUEST, 2, SECRET, [who, ("Mikrotik-Total-Limit", 500)])
            )
            assert (await client.answer()).code == wire.COA_ACK
            await session.wait_until_stopped()
            assert [request.kind for request in nas.requests] == ["coa", "coa"]
            assert server.accounting[-1].value("Acct-Terminate-Cause") == "Session-Timeout"

    run(test())


def test_a_coa_that_makes_no_sense_is_naked() -> None:
    async def test() -> None:
        async with scene(make=MIKROTIK) as (_, session, client, _server):
            who = ("Acct-Session-Id", session.identity.acct_session_id)
            client.send(
                wire.dynamic_request(wire.COA_REQUEST, 1, SECRET, [who, ("Mikrotik-Rate-Limit", "fast")])
            )
            assert (await client.answer()).value("Error-Cause") == "Invalid-Attribute-Value"

    run(test())


def test_proxy_state_comes_back() -> None:
    async def test() -> None:
        async with scene() as (_, _session, client, _server):
            client.send(disconnect(STUDENT, ("Proxy-State", b"there"), ("Proxy-State", b"and back")))
            assert (await client.answer()).values("Proxy-State") == (b"there", b"and back")

    run(test())


def test_closing_forgets_what_was_to_be_answered_late() -> None:
    async def test() -> None:
        async with scene(make=GENERIC) as (nas, _session, client, _server):
            nas.set_moods(Late(3600))
            client.send(disconnect(STUDENT))
            client.transport.sendto(b"garbage")
            await nas.wait_for_requests(1)

    run(test())


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("ack", Ack()),
        ("nak:503", Nak(503)),
        ("nak:Session-Context-Not-Removable", Nak(504)),
        ("late:2.5", Late(2.5)),
        ("stay", AckButStay()),
    ],
)
def test_moods_are_read(text: str, mood: Mood) -> None:
    assert parse_mood(text) == mood


@pytest.mark.parametrize("text", ["", "sleepy", "late", "late:-1", "nak:maybe", "ack:1", "late:nan"])
def test_a_mood_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="mood"):
        parse_mood(text)
