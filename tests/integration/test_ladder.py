"""Rule R16 end to end: FreeRADIUS, the daemon and a router that obeys; steps and purchases reach who is online."""

import asyncio

import pytest

from herotill.ladder import format_ladder, parse_ladder
from nas_simulator.nas import SimulatedNas
from nas_simulator.session import Session
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, until
from tests.integration.workers import Workers

MEGABIT = 1_000_000
POLICY = {
    "download_bits_per_second": 20 * MEGABIT,
    "upload_bits_per_second": 5 * MEGABIT,
    "ladder": format_ladder(parse_ladder("80%:2M/1M,100%:256k,150%:cut")),
}


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


def rates(session: Session) -> tuple[int | None, int | None]:
    """Download and upload, in kbit/s."""
    limits = session.limits
    return (
        (limits.output_bits_per_second or 0) // 1000,
        (limits.input_bits_per_second or 0) // 1000,
    )


def test_r16_who_was_let_in_slowly_just_before_a_purchase_is_told_of_it_though_the_start_is_metered_later(
    radius_server: Freeradius, isp: Isp, settings: Settings
) -> None:
    isp.enrol("anna")
    isp.offer("ten", POLICY, quota_octets=10 * GIB)
    isp.sell("ten", "anna")
    first = Workers(settings)
    first.start()

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            isp.listen_for_coa_on(nas)
            phone = accepted(await nas.login("anna", PASSWORD, device="phone")).session
            await phone.use(output_octets=8 * GIB)
            await phone.interim()
            await until(lambda: rates(phone) == (2_000, 1_000))
            # The meter is behind: it knows nothing of the laptop when more is bought, and told to whom it knows.
            await asyncio.to_thread(first.stop)
            laptop = accepted(await nas.login("anna", PASSWORD, device="laptop")).session
            assert rates(laptop) == (2_000, 1_000)
            isp.sell("ten", "anna", key="2")
            told = Workers(settings, "live", "coa")
            told.start()
            try:
                await until(lambda: rates(phone) == (20_000, 5_000))
                assert rates(laptop) == (2_000, 1_000)
            finally:
                await asyncio.to_thread(told.stop)
            last = Workers(settings)
            last.start()
            try:
                await until(lambda: rates(laptop) == (20_000, 5_000))
            finally:
                await asyncio.to_thread(last.stop)

    asyncio.run(story())


def test_r16_the_ladder_is_climbed_and_left_while_online(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.enrol("anna")
    isp.offer("ten", POLICY, quota_octets=10 * GIB)
    isp.sell("ten", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            isp.listen_for_coa_on(nas)
            phone = accepted(await nas.login("anna", PASSWORD, device="phone")).session
            assert rates(phone) == (20_000, 5_000)
            await phone.use(output_octets=8 * GIB)
            await phone.interim()
            await until(lambda: rates(phone) == (2_000, 1_000))
            laptop = accepted(await nas.login("anna", PASSWORD, device="laptop")).session
            assert rates(laptop) == (2_000, 1_000)

            isp.sell("ten", "anna", key="2")
            await until(lambda: rates(phone) == rates(laptop) == (20_000, 5_000))

            await phone.use(output_octets=10 * GIB)  # ten of eighteen: the second grant is at 80 %
            await phone.interim()
            await until(lambda: rates(phone) == rates(laptop) == (2_000, 1_000))
            await phone.use(output_octets=3 * GIB)
            await phone.interim()
            await until(lambda: rates(phone) == rates(laptop) == (256, 256))

            isp.sell("ten", "anna", key="3")
            await until(lambda: rates(phone) == rates(laptop) == (20_000, 5_000))
            assert not phone.ended
            assert not laptop.ended

    asyncio.run(story())
    # Nobody was thrown out for paying, and every change was acknowledged at the first attempt.
    kinds = isp.ask("SELECT DISTINCT action, result FROM radius.coa_attempt")
    assert kinds == [("coa", "ack")]
    purposes = isp.ask("SELECT purpose FROM radius.coa_request ORDER BY coa_request_id")
    assert [purpose for (purpose,) in purposes] == [
        *["restrict"]
        * 2,  # the laptop too: it began so soon after the step that its login might not have known of it
        *["restore"] * 2,
        *["restrict"] * 4,
        *["restore"] * 2,
    ]
