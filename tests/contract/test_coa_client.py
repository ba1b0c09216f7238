"""The Dynamic Authorization Client against a NAS on a real socket (RFC 5176, RFC 5080)."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest
from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from sync_daemon.coa.client import ClientSettings, DynamicAuthorizationClient
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange
from sync_daemon.coa.pacing import PacingSettings
from sync_daemon.coa.packets import Ack, Action, Ignored, Nak, Timeout, Unsendable
from sync_daemon.coa.timing import RetransmissionTiming
from tests.contract.coa_fake_nas import (
    EVENT_TIMESTAMP,
    MESSAGE_AUTHENTICATOR,
    SECRET,
    FakeNas,
    acks,
    answer,
    attributes_of,
    is_silent,
    naks,
    request_is_valid,
    signed_answer,
)

T = TypeVar("T")
DICTIONARY: Any = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call]
QUICK = RetransmissionTiming(0.05, 0.1, 3, 2.0, 0.1, 0.05)
PATIENT = RetransmissionTiming(5.0, 16.0, 5, 30.0, 0.1)
SESSION = {"User-Name": "student-1", "Acct-Session-Id": "8100001a", "Framed-IP-Address": "10.5.50.2"}


def request_to(nas: FakeNas, action: Action = Action.DISCONNECT, **more: str) -> AuthorizationRequest:
    attributes = {**SESSION, **{name.replace("_", "-"): value for name, value in more.items()}}
    return AuthorizationRequest(action, attributes, Destination(ip_address(nas.host), nas.port, SECRET))


def with_client(
    scenario: Callable[[DynamicAuthorizationClient], Awaitable[T]],
    timing: RetransmissionTiming = QUICK,
    **settings: Any,
) -> T:
    async def main() -> T:
        client = DynamicAuthorizationClient(DICTIONARY, ClientSettings(timing=timing, **settings))
        try:
            return await scenario(client)
        finally:
            client.close()

    return asyncio.run(main())


def exchange_with(nas: FakeNas, timing: RetransmissionTiming = QUICK, **settings: Any) -> Exchange:
    return with_client(lambda client: client.exchange(request_to(nas)), timing, **settings)


def test_a_request_is_valid_signed_dated_and_names_the_session() -> None:
    with FakeNas() as nas:
        before = datetime.now(UTC)
        exchange = exchange_with(nas)
        octets = nas.heard[0].octets
    assert request_is_valid(octets)
    attributes = attributes_of(octets)
    assert octets[0] == 40
    assert attributes[0][0] == MESSAGE_AUTHENTICATOR
    assert attributes[1] == (EVENT_TIMESTAMP, struct.pack("!I", int(before.timestamp())))
    assert attributes[2:] == [(1, b"student-1"), (44, b"8100001a"), (8, bytes((10, 5, 50, 2)))]
    assert exchange.outcome == Ack()
    assert exchange.sent_at is not None
    assert exchange.answered_at is not None
    assert before <= exchange.sent_at <= exchange.answered_at
    assert (exchange.identifier, exchange.transmissions) == (octets[1], 1)
    assert exchange.source_port == nas.heard[0].source[1]


def test_a_change_of_authorization_carries_its_changes_and_is_acknowledged() -> None:
    with FakeNas() as nas:
        request = request_to(nas, Action.COA, Mikrotik_Rate_Limit="1M/2M", Session_Timeout="60")
        exchange = with_client(lambda client: client.exchange(request))
        octets = nas.heard[0].octets
    assert exchange.outcome == Ack()
    assert octets[0] == 43
    assert request_is_valid(octets)
    assert attributes_of(octets)[-2:] == [
        (26, struct.pack("!IBB", 14988, 8, 7) + b"1M/2M"),
        (27, bytes((0, 0, 0, 60))),
    ]


def test_a_nak_carries_its_error_cause() -> None:
    with FakeNas(naks(503)) as nas:
        assert exchange_with(nas).outcome == Nak(503)


def test_a_nak_without_error_cause_is_still_a_nak() -> None:
    with FakeNas(lambda request: [answer(request, 42)]) as nas:
        assert exchange_with(nas).outcome == Nak(None)


def test_silence_is_answered_by_identical_retransmissions_from_the_same_port_then_given_up() -> None:
    with FakeNas(is_silent) as nas:
        exchange = exchange_with(nas)
        heard = list(nas.heard)
    assert exchange.outcome == Timeout()
    assert exchange.transmissions == len(heard) == 3
    assert len({datagram.octets for datagram in heard}) == 1
    assert len({datagram.source for datagram in heard}) == 1
    assert heard[1].at - heard[0].at >= 0.04
    assert heard[2].at - heard[1].at >= 0.08


def test_no_more_is_sent_after_the_maximum_duration() -> None:
    with FakeNas(is_silent) as nas:
        exchange = exchange_with(nas, RetransmissionTiming(0.05, 10.0, 100, 0.12, 0.0))
        assert exchange.outcome == Timeout()
        assert len(nas.heard) == 2


def test_an_answer_to_a_retransmission_counts() -> None:
    with FakeNas() as nas:
        nas.mood = lambda request: acks(request) if len(nas.heard) > 1 else []
        exchange = exchange_with(nas)
    assert exchange.outcome == Ack()
    assert exchange.transmissions == 2


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (lambda request: answer(request, 41, secret=b"wrong"), Ignored.WRONG_AUTHENTICATOR),
        (lambda request: answer(request, 44), Ignored.WRONG_CODE),
        (lambda request: answer(request, 41)[:-1], Ignored.MALFORMED),
        (lambda request: answer(request, 41, b"\x65\x01"), Ignored.MALFORMED),
        (lambda request: answer(request, 41, identifier=request[1] ^ 1), Ignored.UNEXPECTED_IDENTIFIER),
        (lambda request: b"", Ignored.UNEXPECTED_IDENTIFIER),
        (lambda request: signed_answer(request, 41, b"x" * 16), Ignored.WRONG_MESSAGE_AUTHENTICATOR),
        (lambda request: request, Ignored.WRONG_CODE),
    ],
)
def test_what_is_no_answer_is_ignored_counted_and_changes_nothing(
    forge: Callable[[bytes], bytes], reason: Ignored
) -> None:
    """Given a forged datagram before the right one, then the right one is still taken."""
    with FakeNas(lambda request: [forge(request), *acks(request)]) as nas:
        ignored: dict[Ignored, int] = {}

        async def scenario(client: DynamicAuthorizationClient) -> Exchange:
            exchange = await client.exchange(request_to(nas))
            ignored.update(client.ignored)
            return exchange

        assert with_client(scenario, PATIENT).outcome == Ack()
    assert ignored == {reason: 1}


def test_only_forged_answers_end_in_a_timeout() -> None:
    with FakeNas(lambda request: [answer(request, 41, secret=b"wrong")]) as nas:
        assert exchange_with(nas).outcome == Timeout()


def test_an_answer_from_another_source_is_ignored() -> None:
    with FakeNas(is_silent) as stranger, FakeNas() as nas:
        counts: dict[Ignored, int] = {}

        def answer_by_the_stranger(request: bytes) -> list[bytes]:
            if len(nas.heard) == 1:
                stranger.send(answer(request, 41), nas.heard[0].source)
                return []
            return naks(503)(request)

        async def scenario(client: DynamicAuthorizationClient) -> Exchange:
            exchange = await client.exchange(request_to(nas))
            counts.update(client.ignored)
            return exchange

        nas.mood = answer_by_the_stranger
        assert with_client(scenario).outcome == Nak(503)
    assert counts == {Ignored.UNKNOWN_SOURCE: 1}


def test_late_and_duplicate_answers_are_ignored() -> None:
    with FakeNas(lambda request: acks(request) * 2) as nas:

        async def scenario(client: DynamicAuthorizationClient) -> None:
            first = await client.exchange(request_to(nas))
            second = await client.exchange(request_to(nas))  # by now the duplicate of the first was read
            assert first.outcome == second.outcome == Ack()
            nas.mood = is_silent
            third = await client.exchange(request_to(nas))
            assert third.outcome == Timeout()
            nas.send(answer(nas.heard[-1].octets, 41), nas.heard[-1].source)
            nas.mood = acks
            fourth = await client.exchange(request_to(nas))
            assert fourth.outcome == Ack()
            assert client.ignored == {Ignored.UNEXPECTED_IDENTIFIER: 3}

        with_client(scenario)


def test_freeradius_before_3_2_4_signs_its_answers_wrongly_and_is_understood() -> None:
    with FakeNas(lambda request: [signed_answer(request, 41, bytes(16))]) as nas:
        assert exchange_with(nas, PATIENT).outcome == Ack()
    with FakeNas(lambda request: [signed_answer(request, 41, request[4:20])]) as nas:
        assert exchange_with(nas, PATIENT).outcome == Ack()


def test_ipv6() -> None:
    with FakeNas(host="::1") as nas:
        exchange = exchange_with(nas, PATIENT)
        assert exchange.outcome == Ack()
        assert str(request_to(nas).destination) == f"[::1]:{nas.port}"


def test_the_source_address_is_the_configured_one() -> None:
    with FakeNas() as nas, FakeNas(host="::1") as other_family:

        async def scenario(client: DynamicAuthorizationClient) -> None:
            await client.exchange(request_to(nas))
            await client.exchange(request_to(other_family))

        with_client(scenario, PATIENT, source_address="127.0.0.9")
        assert nas.heard[0].source[0] == "127.0.0.9"
        assert other_family.heard[0].source[0] == "::1"


def test_a_source_address_that_is_not_ours_is_said() -> None:
    with FakeNas() as nas:
        outcome = exchange_with(nas, source_address="192.0.2.1").outcome
    assert outcome == Unsendable("no UDP socket could be opened: Cannot assign requested address", True)


def test_a_nas_is_never_given_more_than_its_window() -> None:
    with FakeNas(is_silent) as nas, FakeNas() as other:

        async def scenario(client: DynamicAuthorizationClient) -> None:
            waiting = [asyncio.create_task(client.exchange(request_to(nas))) for _ in range(5)]
            await client.exchange(request_to(other))  # the slow NAS holds nobody up
            await asyncio.to_thread(nas.wait_for, 4)
            assert len({datagram.octets for datagram in nas.heard}) == 4
            nas.mood = acks
            exchanges = await asyncio.gather(*waiting)
            assert [exchange.outcome for exchange in exchanges] == [Ack()] * 5

        with_client(scenario, PATIENT, pacing=PacingSettings(initial_window=2, largest_window=2))


def test_identifiers_are_not_used_twice_towards_one_nas_but_more_ports_are_taken() -> None:
    with FakeNas() as nas, FakeNas() as other:

        async def scenario(client: DynamicAuthorizationClient) -> None:
            for count in (200, 200, 200):
                await asyncio.gather(*(client.exchange(request_to(nas)) for _ in range(count)))
            await client.exchange(request_to(other))

        with_client(scenario, PATIENT)
        used = [(datagram.source[1], datagram.octets[1]) for datagram in nas.heard]
        assert len(used) == len(set(used)) == 600
        ports = {port for port, _ in used}
        assert len(ports) == 3
        assert other.heard[0].source[1] in ports


def test_with_all_identifiers_resting_requests_wait() -> None:
    with FakeNas() as nas:

        async def scenario(client: DynamicAuthorizationClient) -> None:
            await asyncio.gather(*(client.exchange(request_to(nas)) for _ in range(300)))

        with_client(scenario, PATIENT, max_source_ports=1, identifier_rest_seconds=0.3)
        last_use: dict[int, float] = {}
        for datagram in nas.heard:
            earlier = last_use.get(datagram.octets[1])
            assert earlier is None or datagram.at - earlier > 0.25
            last_use[datagram.octets[1]] = datagram.at
        assert len(nas.heard) == 300


def test_an_abandoned_request_is_not_sent_again_and_frees_its_place() -> None:
    with FakeNas(is_silent) as nas:

        async def scenario(client: DynamicAuthorizationClient) -> None:
            abandoned = asyncio.create_task(client.exchange(request_to(nas)))
            await asyncio.to_thread(nas.wait_for, 1)
            abandoned.cancel()
            nas.mood = acks
            exchange = await client.exchange(request_to(nas))
            assert exchange.outcome == Ack()

        with_client(scenario, PATIENT, pacing=PacingSettings(initial_window=1, least_window=1))
        assert len(nas.heard) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("No-Such-Attribute", "1"),
        ("Framed-IP-Address", "300.1.1.1"),
        ("Session-Timeout", "soon"),
        ("User-Name", "x" * 254),
    ],
)
def test_an_attribute_that_cannot_be_encoded_is_named_and_nothing_is_sent(name: str, value: str) -> None:
    with FakeNas() as nas:
        request = AuthorizationRequest(
            Action.COA, {name: value}, Destination(ip_address(nas.host), nas.port, SECRET)
        )
        outcome = with_client(lambda client: client.exchange(request)).outcome
        assert isinstance(outcome, Unsendable)
        assert outcome.reason.startswith(name)
        assert nas.heard == []


def test_what_a_quick_nas_does_not_answer_is_sent_again_before_rfc_5080s_two_seconds() -> None:
    """Given two requests at once, when one is answered quickly, then the other is taken for lost after 0.4 s."""
    timing = RetransmissionTiming()
    with FakeNas() as nas:
        heard: list[bytes] = []

        def forgets_the_first(request: bytes) -> list[bytes]:
            heard.append(request)
            return [] if request == heard[0] and len(heard) == 1 else acks(request)

        async def scenario(client: DynamicAuthorizationClient) -> list[Exchange]:
            return list(await asyncio.gather(*(client.exchange(request_to(nas)) for _ in range(2))))

        nas.mood = forgets_the_first
        exchanges = with_client(scenario, timing)
        again = nas.heard[-1].at - nas.heard[0].at
    assert [exchange.outcome for exchange in exchanges] == [Ack(), Ack()]
    assert 0.4 <= again < 1.5


def test_requests_to_one_nas_keep_its_pace() -> None:
    with FakeNas() as nas:
        pacing = PacingSettings(requests_per_second=100.0, burst=5)

        async def scenario(client: DynamicAuthorizationClient) -> None:
            await asyncio.gather(*(client.exchange(request_to(nas)) for _ in range(30)))

        with_client(scenario, PATIENT, pacing=pacing)
        times = [datagram.at for datagram in nas.heard]
    assert len(times) == 30
    assert times[4] - times[0] < 0.15
    assert times[29] - times[0] >= 0.24


def test_secrets_are_in_no_representation() -> None:
    with FakeNas(is_silent) as nas:
        assert SECRET.decode() not in repr(request_to(nas))
