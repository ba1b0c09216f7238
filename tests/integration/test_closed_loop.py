"""Rules R16 and R31 end to end: a router that obeys limits it is told while online, and one that refuses at first."""

import asyncio
import json

import pytest

from nas_simulator.makes import CHILLISPOT
from nas_simulator.moods import Duplicate, Nak
from nas_simulator.nas import SimulatedNas
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, until
from tests.integration.workers import Workers

MISSING_ATTRIBUTE, INVALID_REQUEST, RESOURCES_UNAVAILABLE = 402, 404, 506


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


def become(isp: Isp, nas_type: str) -> None:
    with isp.radius() as cursor:
        cursor.execute("UPDATE radius.nas SET type = %s WHERE nasname = '127.0.0.1'", (nas_type,))
        cursor.execute("SELECT pg_notify('herotill_nas', '')")


def states(isp: Isp) -> list[str]:
    return [row[0] for row in isp.ask("SELECT state FROM radius.coa_request ORDER BY coa_request_id")]


def test_r16_who_pays_while_online_goes_on_beyond_the_old_limit(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    """Given a router that ends sessions at their limit, when the customer buys, then the session passes it and stays."""
    become(isp, "coovachilli")
    isp.enrol("anna")
    isp.offer("one", quota_octets=GIB)
    isp.sell("one", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server, CHILLISPOT)) as nas:
            isp.listen_for_coa_on(nas)
            session = accepted(await nas.login("anna", PASSWORD)).session
            assert session.limits.total_octets == GIB
            await session.use(output_octets=GIB - 1000)
            await session.interim()
            # What is bought before the meter has heard of a session is not told to it.
            metered = "SELECT (input_octets + output_octets)::bigint FROM radius.session"
            await until(lambda: isp.ask(metered) == [(GIB - 1000,)])

            isp.sell("one", "anna", key="2")
            await until(lambda: session.limits.total_octets == 2 * GIB)
            await session.use(output_octets=GIB // 2)
            await session.interim()
            assert not session.ended
            await until(lambda: states(isp) == ["confirmed"])  # by the interim

            await session.use(output_octets=GIB)
            await until(lambda: session.ended)
            await until(lambda: not isp.explain("anna").would_accept)

    asyncio.run(story())
    raised = isp.ask(
        "SELECT request.action, result FROM radius.coa_request AS request JOIN radius.coa_attempt USING (coa_request_id)"
        " WHERE purpose = 'raise'"
    )
    assert raised == [("coa", "ack")]


def test_r31_a_router_that_refuses_is_asked_otherwise_until_the_accounting_shows_the_end(
    radius_server: Freeradius, isp: Isp, workers: Workers, run_herotill: RunHerotill
) -> None:
    isp.enrol("anna")
    isp.offer("one", {"max_sessions": 1}, quota_octets=GIB)
    isp.sell("one", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            isp.listen_for_coa_on(nas)
            session = accepted(await nas.login("anna", PASSWORD)).session
            nas.set_moods(
                Nak(MISSING_ATTRIBUTE), Nak(RESOURCES_UNAVAILABLE), Nak(INVALID_REQUEST), Duplicate()
            )
            await until(lambda: isp.ask("SELECT count(*) FROM radius.session") == [(1,)])
            disabled = await asyncio.to_thread(run_herotill, "account", "disable", "anna", "--yes")
            assert disabled.exit_code == 0, disabled.output
            await until(lambda: session.ended)
            await until(lambda: states(isp) == ["confirmed"])

    asyncio.run(story())
    rows = reversed(json.loads(run_herotill("coa", "log", "--user", "anna", "--json").stdout))
    attempts = [(row["result"], row["error_cause"], row["transmissions"], row["named_by"]) for row in rows]
    # Other names after 402 and 404, the same after 506; whatever a duplicate of the last answer adds is nothing.
    assert attempts == [
        ("nak", MISSING_ATTRIBUTE, 1, "mikrotik"),
        ("nak", RESOURCES_UNAVAILABLE, 1, "user-session"),
        ("nak", INVALID_REQUEST, 1, "user-session"),
        ("ack", None, 1, "user-address"),
    ]
