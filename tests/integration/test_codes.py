"""Codes at a real FreeRADIUS: a free account has so many logins, and a refilled ticket is let in again."""

import asyncio

import pytest

from billing import printing, refills, voucher_batches
from billing.new_batches import CodeType, FreeTerms, NewBatch, SellWhen
from billing.printing import Card
from billing.refill_attempts import Attempt
from billing.sealed_codes import CodeKeys
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import LoginOutcome, Rejected
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import Isp, accepted, nas_settings, now, until
from tests.integration.workers import Workers

KEYS = CodeKeys.of_secret("ab" * 32)


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


def _make(isp: Isp, kind: CodeType, plan: str, free: FreeTerms | None = None) -> Card:
    wanted = NewBatch(plan=plan, count=1, sell=SellWhen.NOW, created_by="test", type=kind, free=free)
    with isp.books() as books:
        batch_id = voucher_batches.generate(books, wanted=wanted, now=now(), keys=KEYS).batch_id
        (card,) = printing.cards_of_batch(books, batch_id=batch_id, keys=KEYS, now=now(), printed_by="test")
    return card


def _refused(outcome: LoginOutcome) -> str:
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason


def test_r7_a_free_account_is_refused_after_its_logins_and_let_in_after_the_pause(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.offer("free", quota_octets=10_000)
    card = _make(isp, CodeType.FREE, "free", FreeTerms(logins_max=2, pause_seconds=3))

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            assert "wrong" in _refused(await nas.login(card.code, "not it"))
            for device in ("phone", "laptop"):
                accepted(await nas.login(card.code, card.password, device=device))
            status = "SELECT 1 FROM radius.managed_account WHERE username = %s AND status = %s"
            await until(lambda: bool(isp.ask(status, card.code, "suspended")))
            assert "suspended" in _refused(await nas.login(card.code, card.password)).lower()
            # The schedule wakes at the latest after a minute; a notification wakes it at once.
            await until(lambda: isp.ask("SELECT now() > paused_until FROM radius.login_limit") == [(True,)])
            isp.ask("SELECT pg_notify('herotill_event', '')")
            await until(lambda: bool(isp.ask(status, card.code, "active")))
            accepted(await nas.login(card.code, card.password))

    asyncio.run(story())


def test_r9_a_used_up_ticket_is_let_in_again_by_a_refill(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.offer("small", quota_octets=1000)
    ticket, code = _make(isp, CodeType.TICKET, "small"), _make(isp, CodeType.REFILL, "small")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            session = accepted(await nas.login(ticket.code, ticket.code)).session
            await session.use(output_octets=1000)
            await session.wait_until_stopped()
            await until(lambda: bool(isp.ask("SELECT 1 FROM billing.voucher WHERE state = 'used_up'")))
            assert "used up" in _refused(await nas.login(ticket.code, ticket.code))
            _refused(await nas.login(code.code, code.code))  # a refill is no login
            with isp.books() as books:
                attempt = Attempt(code.code, ticket.code, "test")
                assert isinstance(
                    refills.redeem(books, attempt=attempt, keys=KEYS, now=now()), refills.Redeemed
                )
            again = accepted(await nas.login(ticket.code, ticket.code)).session
            assert again.limits.total_octets == 1000

    asyncio.run(story())
