"""The main job, end to end: a NAS logs prepaid customers in, is metered to the octet and told to cut off on time."""

import asyncio
from datetime import timedelta

import pytest

from billing import invoices, suspension
from herotill.policy import Sharing
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from nas_simulator.credentials import Method
from nas_simulator.faults import TWICE
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import LoginOutcome, Rejected
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, now, until
from tests.integration.workers import Workers


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


def refused(outcome: LoginOutcome) -> str:
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason


@pytest.mark.parametrize("method", list(Method))
def test_every_password_protocol_lets_the_right_one_in_and_the_wrong_one_out(
    radius_server: Freeradius, isp: Isp, method: Method
) -> None:
    isp.enrol("anna")
    isp.offer("day", quota_octets=GIB)
    isp.sell("day", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            assert "wrong" in refused(await nas.login("anna", "not it", method=method))
            accepted(await nas.login("anna", PASSWORD, method=method))

    asyncio.run(story())
    # The wrong password started nothing.
    assert len(isp.ask("SELECT 1 FROM radius.access_event WHERE kind = 'first_use'")) == 1


def test_r15_r17_a_shared_pool_is_granted_once_metered_to_the_octet_and_cut_while_online(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.found_group("hostel-a", quota_octets=2 * GIB, policy={"max_sessions": 2})
    isp.enrol("student-1", group="hostel-a")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            isp.listen_for_coa_on(nas)
            phone_login, laptop_login = await asyncio.gather(
                nas.login("student-1", PASSWORD, device="phone", delivery=TWICE),
                nas.login("student-1", PASSWORD, device="laptop"),
            )
            phone, laptop = accepted(phone_login).session, accepted(laptop_login).session
            assert phone.limits.total_octets == laptop.limits.total_octets == 2 * GIB
            assert isp.ask("SELECT count(*) FROM radius.entitlement") == [(1,)]
            assert "Too many devices" in refused(await nas.login("student-1", PASSWORD, device="tablet"))

            await phone.use(input_octets=GIB // 4 + 1, output_octets=GIB)
            await phone.interim()
            await laptop.use(input_octets=3, output_octets=GIB)
            await laptop.interim()
            await asyncio.gather(nas.wait_for_disconnect(phone), nas.wait_for_disconnect(laptop))
            await asyncio.gather(phone.wait_until_stopped(), laptop.wait_until_stopped())
            assert "used up" in refused(await nas.login("student-1", PASSWORD, device="phone"))

            counted = nas.totals()["student-1"]
            await until(lambda: not isp.ask("SELECT 1 FROM radius.session WHERE stopped_at IS NULL"))
            told = isp.explain("student-1")
            assert (told.input_octets, told.output_octets) == (counted.input_octets, counted.output_octets)
            assert not told.would_accept

    asyncio.run(story())


def test_r15_a_strict_pool_is_never_overshot_even_without_interims(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.enrol("bob")
    strict = {"sharing": str(Sharing.STRICT), "slice_octets": 400, "max_sessions": 5}
    isp.offer("strict", strict, quota_octets=1000)
    isp.sell("strict", "bob")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            sessions = [
                accepted(await nas.login("bob", PASSWORD, device=f"device {number}")).session
                for number in range(3)
            ]
            assert [session.limits.total_octets for session in sessions] == [400, 400, 200]
            assert "in use by your other devices" in refused(
                await nas.login("bob", PASSWORD, device="fourth")
            )
            for session in sessions[1:]:
                await session.use(output_octets=10_000)
            await sessions[0].use(output_octets=150)
            await sessions[0].stop()
            await until(lambda: isp.explain("bob").grants[0].used_octets == 750)
            # What the first did not use is free again.
            again = accepted(await nas.login("bob", PASSWORD, device="fourth")).session
            assert again.limits.total_octets == 250
            await again.use(output_octets=10_000)
            await until(lambda: isp.explain("bob").grants[0].used_octets == 1000)
            assert "used up" in refused(await nas.login("bob", PASSWORD))

    asyncio.run(story())


def test_r24_a_suspended_monthly_customer_connects_into_the_suspended_pool(
    radius_server: Freeradius, isp: Isp
) -> None:
    isp.enrol("mona", AccountKind.MONTHLY, policy={"suspended_pool": "unpaid"})
    with isp.books() as books:
        yesterday = now() - timedelta(days=1)
        invoices.bill(
            books,
            username="mona",
            amount=Money(1000, "EUR"),
            due_at=yesterday,
            now=yesterday,
            billed_by="test",
        )
        suspension.suspend(books, username="mona", reason="unpaid-bill", now=now())

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            assert accepted(await nas.login("mona", PASSWORD)).session.limits.address_pool == "unpaid"

    asyncio.run(story())
