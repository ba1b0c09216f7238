"""Usage, exactly once: whatever is repeated, malformed, killed or late, no octet is lost and none is counted twice."""

import asyncio
import threading
from pathlib import Path

import pytest

from nas_simulator.accounting import NasStatus
from nas_simulator.faults import EVERY_REPLY_LOST_ONCE, TWICE
from nas_simulator.makes import CHILLISPOT, GENERIC, MIKROTIK, WISPR, Make
from nas_simulator.nas import SimulatedNas
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, until
from tests.integration.radclient import ask
from tests.integration.workers import Workers

OPEN_SESSIONS = "SELECT 1 FROM radius.session WHERE stopped_at IS NULL"
ENDED_SESSIONS = "SELECT count(*) FROM radius.session WHERE stopped_at IS NOT NULL"


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


@pytest.mark.parametrize("make", [MIKROTIK, CHILLISPOT, WISPR, GENERIC], ids=lambda make: make.name)
def test_r15_every_make_is_metered_in_the_right_direction_beyond_4_gib(
    radius_server: Freeradius, isp: Isp, workers: Workers, make: Make
) -> None:
    isp.enrol("anna")
    isp.offer("month", quota_octets=100 * GIB)
    isp.sell("month", "anna")
    with isp.radius() as cursor:
        cursor.execute("UPDATE radius.nas SET type = %s WHERE nasname = '127.0.0.1'", (make.name,))
        cursor.execute("SELECT pg_notify('herotill_nas', '')")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server, make)) as nas:
            session = accepted(await nas.login("anna", PASSWORD)).session
            for _ in range(3):
                await session.use(input_octets=GIB + 7, output_octets=3 * GIB + 11, seconds=600)
                await session.interim(TWICE)
            await session.stop(delivery=EVERY_REPLY_LOST_ONCE)
            counted = nas.totals()["anna"]
            await until(lambda: not isp.ask(OPEN_SESSIONS) and bool(isp.ask("SELECT 1 FROM radius.session")))
            told = isp.explain("anna")
            assert (told.input_octets, told.output_octets) == (counted.input_octets, counted.output_octets)
            assert told.seconds == counted.seconds
            assert isp.ask("SELECT acctinputoctets, acctoutputoctets FROM radius.radacct") == [
                (counted.input_octets, counted.output_octets)
            ]

    asyncio.run(story())


def test_a_malformed_packet_is_quarantined_with_its_reason_and_its_neighbours_are_metered(
    radius_server: Freeradius, isp: Isp, workers: Workers, nas_secret: str
) -> None:
    def account(*pairs: str) -> str | None:
        return ask("acct", radius_server.acct_port, pairs, secret=nas_secret).code

    whole = (
        'User-Name = "bob"',
        'Acct-Session-Id = "1"',
        "Acct-Session-Time = 60",
        "Acct-Input-Octets = 100",
    )
    assert account(*whole, "Acct-Status-Type = Interim-Update") == "Accounting-Response"
    assert account('User-Name = "bob"', "Acct-Status-Type = Interim-Update") == "Accounting-Response"
    assert account('Acct-Session-Id = "1"', "Acct-Status-Type = Start") == "Accounting-Response"
    assert account(*whole, "Acct-Status-Type = 77") == "Accounting-Response"
    assert account(*whole, "Acct-Output-Octets = 50", "Acct-Status-Type = Stop") == "Accounting-Response"

    asyncio.run(until(lambda: isp.ask("SELECT count(*) FROM radius.accounting_quarantine") == [(3,)]))
    reasons = [
        row[0] for row in isp.ask("SELECT reason FROM radius.accounting_quarantine ORDER BY segment_offset")
    ]
    assert reasons == [
        "Acct-Session-Id is missing",
        "User-Name is missing",
        "Acct-Status-Type '77' is not metered",
    ]
    asyncio.run(until(lambda: not isp.ask(OPEN_SESSIONS)))
    assert isp.ask("SELECT input_octets, output_octets FROM radius.session") == [(100, 50)]


def test_a_meter_that_dies_at_any_moment_loses_and_doubles_nothing(
    radius_server: Freeradius, isp: Isp, settings: Settings
) -> None:
    isp.enrol("anna")
    isp.offer("month", quota_octets=100 * GIB)
    isp.sell("month", "anna")
    over = threading.Event()

    def restart_meters() -> None:
        while not over.is_set():
            meter = Workers(settings, "meter")
            meter.start()
            over.wait(0.15)
            # The connection is cut under the meter: whatever it had not committed never happened.
            isp.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'herotill meter' AND datname = current_database()"
            )
            meter.stop()

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            killer = asyncio.create_task(asyncio.to_thread(restart_meters))
            sessions = [accepted(await nas.login("anna", PASSWORD, device=f"d{n}")).session for n in range(4)]
            for step in range(60):
                session = sessions[step % 4]
                await session.use(input_octets=1_000_003, output_octets=7_000_001, seconds=60)
                await session.interim(TWICE)
            for session in sessions:
                await session.stop()
            over.set()
            await killer
            last = Workers(settings, "meter")
            last.start()
            counted = nas.totals()["anna"]
            await until(lambda: isp.ask(ENDED_SESSIONS) == [(len(sessions),)])
            last.stop()
            told = isp.explain("anna")
            assert (told.input_octets, told.output_octets) == (counted.input_octets, counted.output_octets)

    asyncio.run(story())


def test_freeradius_killed_and_restarted_loses_no_answered_packet(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.enrol("anna")
    isp.offer("month", quota_octets=100 * GIB)
    isp.sell("month", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            session = accepted(await nas.login("anna", PASSWORD)).session
            for _ in range(5):
                await session.use(output_octets=GIB, seconds=60)
                assert (await session.interim()).answered
                await asyncio.to_thread(radius_server.kill)
                await asyncio.to_thread(radius_server.start)
            await session.stop()
            await until(lambda: not isp.ask(OPEN_SESSIONS))
            assert isp.explain("anna").output_octets == 5 * GIB

    asyncio.run(story())


def test_r32_a_restarted_nas_has_none_of_its_sessions(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.enrol("anna")
    isp.offer("day", {"max_sessions": 1}, quota_octets=GIB)
    isp.sell("day", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            session = accepted(await nas.login("anna", PASSWORD, device="phone")).session
            await session.use(output_octets=1000, seconds=5)
            await session.interim()
            await nas.announce(NasStatus.ON)
            # At once, whether or not the meter has been there yet.
            accepted(await nas.login("anna", PASSWORD, device="laptop"))
            closed = "SELECT terminate_cause FROM radius.session WHERE stopped_at IS NOT NULL"
            await until(lambda: isp.ask(closed) == [("NAS-Reboot",)])
            accepted(await nas.login("anna", PASSWORD, device="laptop"))

    asyncio.run(story())


def test_a_full_disk_means_no_answer_and_the_nas_sends_again(
    radius_server: Freeradius, isp: Isp, workers: Workers, settings: Settings, nas_secret: str
) -> None:
    journal: Path = settings.journal_directory
    pairs = ('User-Name = "bob"', 'Acct-Session-Id = "1"', "Acct-Status-Type = Start")
    hidden = journal.with_name("hidden")
    journal.rename(hidden)
    journal.write_text("not a directory")
    try:
        reply = ask("acct", radius_server.acct_port, pairs, secret=nas_secret, timeout_seconds=0.5)
        assert reply.code is None
    finally:
        journal.unlink()
        hidden.rename(journal)
    assert ask("acct", radius_server.acct_port, pairs, secret=nas_secret).code == "Accounting-Response"
    radius_server.await_log("the journal cannot be written")
