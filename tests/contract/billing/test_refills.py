"""Refills: redeemed once, by one account, whatever happens at the same time; guessing is limited and told nothing."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import access_events, accounts, hotspots, refills, vouchers
from billing.new_batches import CodeType, SellWhen
from billing.refill_attempts import FAILURES_ALLOWED, WINDOW, Attempt
from billing.refills import NOT_VALID, TOO_MANY, NotRedeemed, Redeemed
from billing.voucher_endings import VoucherEnd, end_these
from herotill.errors import Refused
from herotill.policy import Ending, ServicePolicy
from herotill.quantities import Money
from herotill.refilling import RefillExpiry, RefillRates, RefillTerms
from herotill.snapshot import AccountKind
from tests.contract.billing.code_makers import GIB, KEYS, add_plan, begin_use, end_grant, make, make_refills
from tests.contract.billing.conftest import Ask, OpenBooks

LEFT = """SELECT coalesce(sum(quota_octets - used_octets), 0)::bigint AS octets FROM radius.entitlement
          WHERE username = :name AND ended_at IS NULL"""


def _tickets(books: OpenBooks, now: datetime, count: int = 1, **terms: Any) -> list[str]:
    add_plan(books, now, **terms)
    return [card.code for card in make(books, now, CodeType.TICKET, count)[1]]


def _redeem(
    books: OpenBooks, now: datetime, code: str, user: str, actor: str = "desk"
) -> Redeemed | NotRedeemed:
    with books() as session:
        return refills.redeem(session, attempt=Attempt(code, user, actor), keys=KEYS, now=now)


def test_r9_a_refill_adds_its_quota_to_a_ticket(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (ticket,), (code,) = _tickets(books, now), make_refills(books, now)
    outcome = _redeem(books, now, code.lower(), ticket)
    assert isinstance(outcome, Redeemed)
    assert not outcome.repeated
    assert ask(LEFT, name=ticket) == [{"octets": 2 * GIB}]
    assert ask("SELECT state FROM billing.voucher WHERE code IS NULL") == [{"state": "in_use"}]
    assert ask("SELECT kind FROM billing.event WHERE kind LIKE 'refill%'") == [{"kind": "refill.redeemed"}]


def test_r8_one_refill_is_redeemed_once_by_eight_at_once(books: OpenBooks, ask: Ask, now: datetime) -> None:
    tickets, (code,) = _tickets(books, now, 8), make_refills(books, now)
    outcomes: list[object] = []
    together = threading.Barrier(8)

    def redeem(ticket: str, actor: str) -> None:
        together.wait()
        outcomes.append(_redeem(books, now, code, ticket, actor))

    threads = [
        threading.Thread(target=redeem, args=(ticket, f"desk-{n}")) for n, ticket in enumerate(tickets)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(outcome) for outcome in outcomes].count(Redeemed) == 1
    assert [outcome for outcome in outcomes if isinstance(outcome, NotRedeemed)] == [
        NotRedeemed(NOT_VALID)
    ] * 7
    assert len(ask("SELECT 1 FROM billing.refill_redemption")) == 1
    assert len(ask("SELECT 1 FROM radius.entitlement WHERE plan_name = 'refill'")) == 1


def test_r8_the_same_refill_to_the_same_account_eight_times_at_once_is_one(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    (ticket,), (code,) = _tickets(books, now), make_refills(books, now)
    outcomes: list[Redeemed | NotRedeemed] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(_redeem(books, now, code, ticket))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        sorted(outcome.repeated for outcome in outcomes if isinstance(outcome, Redeemed))
        == [False] + [True] * 7
    )
    assert ask(LEFT, name=ticket) == [{"octets": 2 * GIB}]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=3), min_size=8, max_size=8
    )
)
def test_r8_every_refill_is_added_at_most_once_under_any_interleaving(
    books: OpenBooks, ask: Ask, plan: list[list[tuple[int, int]]]
) -> None:
    # Given three refills and four tickets of their own for each example, and eight connections that redeem as they like
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    ask("DELETE FROM billing.refill_failure")
    name = f"refill-{ask('SELECT count(*) FROM billing.plan')[0]['count']}"
    add_plan(books, now, name)
    codes = [card.code for card in make(books, now, CodeType.REFILL, 3, plan=name)[1]]
    tickets = [card.code for card in make(books, now, CodeType.TICKET, 4, plan=name)[1]]
    fresh: list[int] = []

    def work(wishes: list[tuple[int, int]], actor: str) -> None:
        for code, ticket in wishes:
            outcome = _redeem(books, now, codes[code], tickets[ticket], actor)
            if isinstance(outcome, Redeemed) and not outcome.repeated:
                fresh.append(code)

    threads = [threading.Thread(target=work, args=(wishes, f"{name}-{n}")) for n, wishes in enumerate(plan)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then each refill was added once at most, and what was added is all there is
    assert len(fresh) == len(set(fresh))
    assert bool(fresh) == any(plan)
    given_out = ask(
        "SELECT sum(quota_octets)::bigint AS octets FROM radius.entitlement WHERE plan_name = :name",
        name=name,
    )
    assert given_out == [{"octets": (4 + len(fresh)) * GIB}]
    assert ask("SELECT sum(amount_minor)::bigint AS total FROM billing.ledger_posting") == [{"total": 0}]


def test_r10_every_code_that_gives_nothing_gets_the_same_answer(books: OpenBooks, now: datetime) -> None:
    (ticket, other), (used, void) = _tickets(books, now, 2), make_refills(books, now, 2)
    _, (unsold,) = make(books, now, CodeType.REFILL, plan="refill", sell=SellWhen.LATER)
    assert isinstance(_redeem(books, now, used, other), Redeemed)
    with books() as session:
        found = vouchers.get(session, void, keys=KEYS)
        end_these(session, [found], VoucherEnd("void", "desk", "lost"), now)
    answers = {
        _redeem(books, now, code, ticket, "desk") for code in (used, void, unsold.code, "NOSUCHCODE", ticket)
    }
    assert answers == {NotRedeemed(NOT_VALID)}


@pytest.mark.parametrize("party", ["account", "actor", "device", "nas"])
def test_r10_failed_attempts_are_limited_for_each_party(books: OpenBooks, now: datetime, party: str) -> None:
    allowed = FAILURES_ALLOWED[party]
    tickets, (code,) = _tickets(books, now, allowed + 2), make_refills(books, now)

    def attempt(number: int, typed: str, at: datetime) -> Redeemed | NotRedeemed:
        parties = {
            "username": tickets[0 if party == "account" else number],
            "actor": "same" if party == "actor" else f"actor-{number}",
            "device": "same" if party == "device" else f"device-{number}",
            "nas_address": "192.0.2.1" if party == "nas" else f"198.51.100.{number}",
        }
        with books() as session:
            return refills.redeem(session, attempt=Attempt(typed, **parties), keys=KEYS, now=at)

    for number in range(allowed):
        assert attempt(number, "WRONG", now) == NotRedeemed(NOT_VALID)
    # The right code is refused too: the answer tells nothing.
    assert attempt(allowed, code, now) == NotRedeemed(TOO_MANY)
    assert isinstance(attempt(allowed, code, now + WINDOW), Redeemed)


def test_r10_tries_made_at_once_cannot_all_be_the_last_one_allowed(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    (ticket,) = _tickets(books, now)
    threads = [threading.Thread(target=_redeem, args=(books, now, f"WRONG{n}", ticket)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures = ask("SELECT count(*) FROM billing.refill_failure WHERE party = 'account'")
    assert failures == [{"count": FAILURES_ALLOWED["account"]}]


def test_r10_a_stolen_database_sells_no_refills(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (code,) = make_refills(books, now)
    (row,) = ask("SELECT * FROM billing.voucher")
    stored = repr(
        {key: bytes(value) if isinstance(value, memoryview) else value for key, value in row.items()}
    )
    assert code not in stored
    assert row["code"] is None
    assert ask("SELECT 1 FROM radius.radcheck") == ask("SELECT 1 FROM billing.account") == []


def test_r8_a_refill_to_be_sold_on_first_use_is_sold_when_it_is_redeemed(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    (ticket,) = _tickets(books, now, price=Money(0, "KES"))
    add_plan(books, now, "refill")
    _, (card,) = make(books, now, CodeType.REFILL, plan="refill", sell=SellWhen.FIRST_USE)
    assert ask("SELECT 1 FROM billing.ledger_posting") == []
    assert isinstance(_redeem(books, now, card.code, ticket), Redeemed)
    sold = ask(
        "SELECT username, purchase.price_minor FROM billing.purchase JOIN billing.account USING (account_id) ORDER BY 2"
    )
    assert sold == [{"username": ticket, "price_minor": 0}, {"username": ticket, "price_minor": 2000}]
    assert ask("SELECT amount_minor FROM billing.ledger_posting WHERE ledger_account = 'sales'") == [
        {"amount_minor": 2000}
    ]


def test_r9_the_end_of_what_was_left_moves_as_the_plan_says(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    (ticket,) = _tickets(books, now, seconds_after_purchase=86400)
    (code,) = make_refills(
        books, now, refill=RefillTerms(RefillExpiry.EXTEND), seconds_after_purchase=7 * 86400
    )
    _redeem(books, now, code, ticket)
    assert ask("SELECT DISTINCT expires_at FROM radius.entitlement") == [
        {"expires_at": now + timedelta(days=8)}
    ]


def test_r9_rates_of_what_was_left_become_the_refills(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (ticket,) = _tickets(books, now, policy=ServicePolicy(download_bits_per_second=10**6, max_sessions=2))
    fast = ServicePolicy(download_bits_per_second=10**7, max_sessions=2)
    (code,) = make_refills(books, now, refill=RefillTerms(rates=RefillRates.REPLACE), policy=fast)
    _redeem(books, now, code, ticket)
    assert ask("SELECT DISTINCT policy FROM radius.entitlement") == [{"policy": fast.to_mapping()}]


def test_r9_a_soft_capped_users_overuse_is_taken_from_the_refill(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    soft = ServicePolicy(
        at_quota=Ending.THROTTLE,
        throttled_download_bits_per_second=64_000,
        throttled_upload_bits_per_second=64_000,
    )
    (ticket,) = _tickets(books, now, policy=soft)
    (code,) = make_refills(books, now, refill=RefillTerms(counts_overuse=True))
    ask("UPDATE radius.entitlement SET used_output_octets = :used", used=GIB + 1000)
    end_grant(ask, ticket, now)
    _redeem(books, now, code, ticket)
    assert ask(LEFT, name=ticket) == [{"octets": GIB - 1000}]


def test_r9_a_refill_of_another_kind_of_account_is_refused_and_stays_good(
    books: OpenBooks, now: datetime
) -> None:
    (ticket,), (code,) = _tickets(books, now), make_refills(books, now, kinds=(AccountKind.MONTHLY,))
    with pytest.raises(Refused, match="is for monthly accounts"):
        _redeem(books, now, code, ticket)
    with books() as session:
        assert vouchers.get(session, code, keys=KEYS).state == "sold"


def test_r8_an_account_that_cannot_log_in_cannot_be_refilled(books: OpenBooks, now: datetime) -> None:
    (ticket,), (code,) = _tickets(books, now), make_refills(books, now)
    with books() as session:
        accounts.disable(session, username=ticket, now=now)
    with pytest.raises(Refused, match="cannot be refilled"):
        _redeem(books, now, code, ticket)


def test_r1_a_used_up_ticket_that_is_refilled_does_not_go(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (ticket, gone), (code,) = _tickets(books, now, 2), make_refills(books, now)
    for name in (ticket, gone):
        begin_use(books, ask, name, now)
        end_grant(ask, name, now)
    with books() as session:
        assert access_events.settle_ended_vouchers(session) == 2
    _redeem(books, now, code, ticket)
    with books() as session:
        assert hotspots.retire(session, now + timedelta(hours=23)) == 0
        assert hotspots.retire(session, now + timedelta(days=1)) == 1
    assert ask("SELECT username FROM radius.managed_account") == [{"username": ticket}]
