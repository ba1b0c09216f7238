"""The simulated NAS logs in, obeys, counts, retransmits and tells what it saw."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from herotill.errors import InvalidValue
from nas_simulator import (
    CHILLISPOT,
    EVERY_REPLY_LOST_ONCE,
    MIKROTIK,
    TWICE,
    Accepted,
    Delivery,
    Loss,
    ManualClock,
    Method,
    NasSettings,
    NasStatus,
    NoAnswer,
    Rejected,
    Retransmission,
    SimulatedNas,
    Usage,
    mac_address,
    mschap,
    wire,
)
from nas_simulator.wire import Received, Value
from tests.unit.nas_simulator.responder import SECRET, Reply, Responder, accept, responding

GIB = 2**30


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


async def logged_in(nas: SimulatedNas, user: str = "student-1") -> Accepted:
    outcome = await nas.login(user, "secret", device="phone")
    assert isinstance(outcome, Accepted)
    return outcome


def test_an_access_request_is_signed_first_and_says_who_asks() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings(make=MIKROTIK)) as nas:
            await logged_in(nas)
            request = server.access[0]
            assert request.message_authenticator_first
            assert request.value("User-Name") == "student-1"
            assert request.value("NAS-IP-Address") == "127.0.0.1"
            assert request.value("NAS-Identifier") == "simulated-nas"
            assert request.value("Calling-Station-Id") == mac_address("phone")
            assert request.value("Acct-Session-Id") == server.accounting[0].value("Acct-Session-Id")

    run(test())


def test_a_nas_of_old_does_not_sign_its_access_requests() -> None:
    async def test() -> None:
        async with (
            responding(accept()) as server,
            SimulatedNas(server.settings(signs_access_requests=False)) as nas,
        ):
            await logged_in(nas)
            assert not server.access[0].has_message_authenticator

    run(test())


def test_pap_hides_the_password_as_rfc_2865_says() -> None:
    hidden = wire.hidden_password(
        "arctangent", b"xyzzy5461", bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
    )
    # RFC 2865 §7.1
    assert hidden.hex() == "0dbe708d93d413ce3196e43f782a0aee"[:32]


def chap_is_right(request: Received) -> bool:
    import hashlib  # noqa: PLC0415 - the judge's own arithmetic

    password, challenge = request.value("CHAP-Password"), request.value("CHAP-Challenge")
    assert isinstance(password, bytes)
    assert isinstance(challenge, bytes)
    return password[1:] == hashlib.md5(password[:1] + b"secret" + challenge).digest()


def test_chap_proves_the_password() -> None:
    def judge(request: Received) -> Reply:
        return (wire.ACCESS_ACCEPT if chap_is_right(request) else wire.ACCESS_REJECT), []

    async def test() -> None:
        async with responding(judge) as server, SimulatedNas(server.settings()) as nas:
            assert isinstance(await nas.login("a", "secret", method=Method.CHAP), Accepted)
            assert isinstance(await nas.login("a", "wrong", method=Method.CHAP), Rejected)

    run(test())


def mschap_success(password: str) -> Any:
    def judge(request: Received) -> Reply:
        challenge, response = request.value("MS-CHAP-Challenge"), request.value("MS-CHAP2-Response")
        assert isinstance(challenge, bytes)
        assert isinstance(response, bytes)
        hashed = mschap.challenge_hash(response[2:18], challenge, str(request.value("User-Name")))
        proof = mschap.authenticator_response(password, response[26:50], hashed)
        return wire.ACCESS_ACCEPT, [("MS-CHAP2-Success", response[:1] + proof.encode())]

    return judge


def test_mschapv2_believes_only_a_server_that_knows_the_password() -> None:
    async def test() -> None:
        async with (
            responding(mschap_success("secret")) as server,
            SimulatedNas(server.settings()) as nas,
        ):
            assert isinstance(await nas.login("a", "secret", method=Method.MSCHAPV2), Accepted)
            outcome = await nas.login("a", "other", method=Method.MSCHAPV2)
            assert isinstance(outcome, Rejected)
            assert outcome.by_peer

    run(test())


def test_a_reject_gives_its_reason() -> None:
    async def test() -> None:
        no = (wire.ACCESS_REJECT, [("Reply-Message", "used up"), ("Reply-Message", "buy more")])
        async with responding(lambda _: no) as server, SimulatedNas(server.settings()) as nas:
            outcome = await nas.login("a", "secret")
            assert isinstance(outcome, Rejected)
            assert outcome.reason == "used up; buy more"
            assert nas.sessions == []
            assert [(entry.outcome, entry.reason) for entry in nas.log] == [
                ("Access-Reject", "used up; buy more")
            ]

    run(test())


def test_whether_message_authenticator_came_first_is_noted() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings()) as nas:
            assert (await logged_in(nas)).reply.message_authenticator_first
            server.signed = False
            outcome = await logged_in(nas)
            assert not outcome.reply.has_message_authenticator

    run(test())


def test_a_reply_signed_with_another_secret_is_no_answer() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings()) as nas:
            server.secret = b"other"
            outcome = await nas.login("a", "secret", delivery=Delivery(attempts=1, timeout_seconds=0.1))
            assert isinstance(outcome, NoAnswer)
            assert outcome.discarded == ("its authenticators are wrong or missing",)

    run(test())


def test_an_unsigned_reply_can_be_refused() -> None:
    async def test() -> None:
        async with (
            responding(accept()) as server,
            SimulatedNas(server.settings(require_message_authenticator=True)) as nas,
        ):
            server.signed = False
            once = Delivery(attempts=1, timeout_seconds=0.1)
            assert isinstance(await nas.login("a", "secret", delivery=once), NoAnswer)

    run(test())


def test_a_retransmission_is_the_same_octets() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings()) as nas:
            outcome = await nas.login("a", "secret", delivery=EVERY_REPLY_LOST_ONCE)
            assert outcome.answer.attempts == 2
            assert server.access[0].octets == server.access[1].octets

    run(test())


def test_a_duplicate_goes_out_at_once() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings()) as nas:
            outcome = await nas.login("a", "secret", delivery=TWICE)
            assert outcome.answer.attempts == 1
            while len(server.access) < 2:
                await asyncio.sleep(0.01)
            assert len({request.octets for request in server.access}) == 1

    run(test())


def test_an_accounting_retransmission_may_tell_its_delay_under_a_new_identifier() -> None:
    async def test() -> None:
        async with (
            responding(accept()) as server,
            SimulatedNas(server.settings(new_identifier_per_accounting_attempt=True)) as nas,
        ):
            session = (await logged_in(nas)).session
            server.deaf_to_accounting = 1
            report = await session.interim(Delivery(timeout_seconds=1.1))
            first, second = server.accounting[-2:]
            assert report.answered
            assert report.answer.attempts == 2
            assert first.identifier != second.identifier
            assert (first.value("Acct-Delay-Time"), second.value("Acct-Delay-Time")) == (0, 1)

    run(test())


def test_counters_are_split_in_octets_and_gigawords() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings()) as nas:
            session = (await logged_in(nas)).session
            await session.use(input_octets=5 * GIB, output_octets=2**32 - 1, seconds=90)
            await session.interim()
            told = server.accounting[-1]
            assert (told.value("Acct-Input-Gigawords"), told.value("Acct-Input-Octets")) == (1, GIB)
            assert (told.value("Acct-Output-Gigawords"), told.value("Acct-Output-Octets")) == (0, 2**32 - 1)
            assert told.value("Acct-Session-Time") == 90

    run(test())


def test_coovachilli_reports_downloads_as_input() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings(make=CHILLISPOT)) as nas:
            session = (await logged_in(nas)).session
            await session.use(input_octets=1, output_octets=2)
            await session.stop()
            told = server.accounting[-1]
            assert (told.value("Acct-Input-Octets"), told.value("Acct-Output-Octets")) == (2, 1)
            assert nas.totals() == {"student-1": Usage(1, 2, 0)}

    run(test())


def test_class_and_user_name_of_the_accept_are_accounted() -> None:
    async def test() -> None:
        answer = accept(("Class", b"0x6869"), ("Class", b"two"), ("User-Name", "Student-1"))
        async with responding(answer) as server, SimulatedNas(server.settings()) as nas:
            await logged_in(nas)
            start = server.accounting[0]
            assert start.values("Class") == (b"0x6869", b"two")
            assert start.value("User-Name") == "Student-1"
            assert list(nas.totals()) == ["student-1"]

    run(test())


def test_a_session_stops_itself_at_its_limit() -> None:
    async def test() -> None:
        answer = accept(("Mikrotik-Total-Limit", 1000), ("Session-Timeout", 3600))
        async with responding(answer) as server, SimulatedNas(server.settings(make=MIKROTIK)) as nas:
            session = (await logged_in(nas)).session
            cut = await session.use(input_octets=600, output_octets=900, seconds=60)
            assert (cut.used.total_octets, cut.cause) == (1000, "Session-Timeout")
            assert session.ended
            assert (await session.use(input_octets=1)).used == Usage()
            stop = server.accounting[-1]
            assert server.statuses() == ["Start", "Stop"]
            assert stop.value("Acct-Terminate-Cause") == "Session-Timeout"
            assert (
                int(str(stop.value("Acct-Input-Octets"))) + int(str(stop.value("Acct-Output-Octets"))) == 1000
            )

    run(test())


def test_interims_fall_where_the_interval_says() -> None:
    async def test() -> None:
        async with (
            responding(accept(("Acct-Interim-Interval", 600))) as server,
            SimulatedNas(server.settings()) as nas,
        ):
            session = (await logged_in(nas)).session
            await session.use(input_octets=1500, seconds=1500, interims=True)
            interims = server.accounting[1:]
            assert [told.value("Acct-Session-Time") for told in interims] == [600, 1200]
            assert [told.value("Acct-Input-Octets") for told in interims] == [600, 1200]

    run(test())


def test_a_paced_session_sends_interims_and_times_out_by_itself() -> None:
    async def test() -> None:
        answer = accept(("Session-Timeout", 150), ("Acct-Interim-Interval", 60))
        async with responding(answer) as server, SimulatedNas(server.settings(pace=300.0)) as nas:
            session = (await logged_in(nas)).session
            report = await session.wait_until_stopped(10)
            assert report.answered
            assert session.used.seconds == 150
            assert server.statuses() == ["Start", "Interim-Update", "Interim-Update", "Stop"]
            assert server.accounting[-1].value("Acct-Terminate-Cause") == "Session-Timeout"

    run(test())


def test_stop_is_sent_once() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings()) as nas:
            session = (await logged_in(nas)).session
            await asyncio.gather(session.stop(), session.stop(), session.stop("Lost-Carrier"))
            assert server.statuses() == ["Start", "Stop"]
            assert server.accounting[-1].value("Acct-Terminate-Cause") == "User-Request"

    run(test())


def test_a_reboot_loses_the_sessions_and_says_accounting_on() -> None:
    async def test() -> None:
        async with responding(accept()) as server, SimulatedNas(server.settings()) as nas:
            await logged_in(nas)
            await nas.announce(NasStatus.ON)
            assert nas.live_sessions == []
            assert server.statuses() == ["Start", "Accounting-On"]

    run(test())


def test_lost_packets_are_sent_again() -> None:
    async def test() -> None:
        async with (
            responding(accept()) as server,
            SimulatedNas(server.settings(loss=Loss(out={1}, inward={1}))) as nas,
        ):
            outcome = await logged_in(nas)
            assert outcome.answer.attempts == 3
            assert len(server.access) == 2

    run(test())


def test_chance_can_be_replayed() -> None:
    from nas_simulator.faults import Direction  # noqa: PLC0415

    def draws() -> list[bool]:
        loss = Loss(probability=0.5, seed=7)
        return [loss.loses(Direction.OUT) for _ in range(50)]

    assert draws() == draws()
    assert 5 < sum(draws()) < 45


def test_the_clock_is_the_tests_own() -> None:
    async def test() -> None:
        clock = ManualClock(datetime(2030, 1, 31, tzinfo=UTC))
        async with responding(accept()) as server, SimulatedNas(server.settings(clock=clock)) as nas:
            session = (await logged_in(nas)).session
            clock.advance(60)
            await session.interim()
            stamps = [int(str(told.value("Event-Timestamp"))) for told in server.accounting]
            assert stamps == [int(datetime(2030, 1, 31, tzinfo=UTC).timestamp()) + late for late in (0, 60)]

    run(test())


def test_it_speaks_ipv6_and_from_another_address() -> None:
    async def test() -> None:
        async with responding(accept(), "::1") as server, SimulatedNas(server.settings(server="::1")) as nas:
            await logged_in(nas)
            assert server.access[0].value("NAS-IPv6-Address") == "::1"
        async with (
            responding(accept()) as server,
            SimulatedNas(server.settings(source_address="127.0.0.2")) as nas,
        ):
            await logged_in(nas)
            assert server.access[0].value("NAS-IP-Address") == "127.0.0.2"

    run(test())


def test_nobody_there_is_no_answer_and_soon() -> None:
    async def test() -> None:
        settings = Responder(accept(), 9, 9).settings()
        async with SimulatedNas(settings) as nas:
            started = time.monotonic()
            outcome = await nas.login("a", "secret", delivery=Delivery(attempts=2, timeout_seconds=0.05))
            assert isinstance(outcome, NoAnswer)
            assert time.monotonic() - started < 2

    run(test())


def test_more_than_256_logins_at_once_wait_for_an_identifier() -> None:
    async def test() -> None:
        patient = {"retransmission": Retransmission()}
        async with responding(accept()) as server, SimulatedNas(server.settings(**patient)) as nas:
            outcomes = await asyncio.gather(*(nas.login(f"user-{n}", "secret") for n in range(300)))
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            assert len(nas.live_sessions) == 300

    run(test())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"secret": b""}, "secret"),
        ({"authentication_port": 0}, "authentication_port"),
        ({"pace": -1.0}, "pace"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Value | float], field: str) -> None:
    with pytest.raises(InvalidValue, match=field):
        NasSettings(**{"secret": SECRET, **changes})  # type: ignore[arg-type]
