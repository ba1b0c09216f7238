"""Rule R6 end to end: a device that logs in again loses its old session at the other router, and keeps the new one."""

import asyncio

import pytest

from nas_simulator.nas import SimulatedNas
from sync_daemon.settings import Settings
from tests.integration.conftest import NAS_SECRET
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, until
from tests.integration.workers import Workers

THERE = "127.0.0.2"
ADD_NAS = "INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES (%s, 'there', 'mikrotik', %s)"


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


def test_r6_a_device_that_roams_is_on_once_and_the_session_it_left_is_disconnected(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.enrol("anna")
    isp.offer("one-device", {"max_sessions": 1}, quota_octets=10 * GIB)
    isp.sell("one-device", "anna")
    with isp.radius() as cursor:
        cursor.execute(ADD_NAS, (THERE, NAS_SECRET))
        cursor.execute("SELECT pg_notify('herotill_nas', '')")

    async def story() -> None:
        elsewhere = nas_settings(radius_server, source_address=THERE)
        async with SimulatedNas(nas_settings(radius_server)) as here, SimulatedNas(elsewhere) as there:
            isp.listen_for_coa_on(here)
            isp.listen_for_coa_on(there)
            old = accepted(await here.login("anna", PASSWORD, device="phone")).session
            new = accepted(await there.login("anna", PASSWORD, device="phone")).session
            await until(lambda: old.ended)
            again = accepted(await there.login("anna", PASSWORD, device="phone")).session
            await until(lambda: new.ended)
            await again.interim()
            assert not again.ended

    asyncio.run(story())
    cuts = isp.ask(
        "SELECT reason, session_attributes ->> 'Acct-Session-Id' IS NOT NULL FROM radius.coa_request"
    )
    assert cuts == [("replaced", True)] * 2
    words = [event.detail for event in isp.explain("anna").history if event.event == "disconnect"]
    assert all("its device has logged in again, rule R6" in said for said in words), words
