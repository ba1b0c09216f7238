"""A code's life: generated, printed, sold once, in use, used up, expired or void; every step recorded."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from billing import access_events, plans, printing, voucher_batches, voucher_endings, vouchers
from billing.new_batches import NewBatch, SellWhen
from billing.terms import PlanTerms
from billing.voucher_endings import VoucherEnd
from billing.vouchers import Wanted
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import Ask, OpenBooks

STATES = "SELECT code, state FROM billing.voucher ORDER BY voucher_id"


def _batch(books: OpenBooks, now: datetime, sell: SellWhen, count: int = 1, **more: Any) -> list[str]:
    terms = PlanTerms(price=Money(2000, "KES"), quota_octets=2**30, seconds_after_first_use=3600)
    with books() as session:
        if not plans.listing(session):
            plans.add(session, name="1h", terms=terms, now=now)
        wanted = NewBatch(plan="1h", count=count, sell=sell, created_by="desk", **more)
        batch = voucher_batches.generate(session, wanted=wanted, now=now)
        found = vouchers.listing(session, Wanted(batch_id=batch.batch_id))
        return [vouchers.name_of(voucher) for voucher in found]


def _use(ask: Ask, code: str, at: datetime) -> None:
    started = ask(
        """SELECT radius.start_first_use(username, entitlement_id, :at) AS started
           FROM radius.entitlement WHERE username = :code""",
        code=code,
        at=at,
    )
    assert started == [{"started": True}]


def _book(books: OpenBooks, now: datetime) -> int:
    with books() as session:
        return access_events.book_access_events(session, now)


def test_r7_a_ticket_sold_on_first_use_can_log_in_and_its_clock_waits(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    (code,) = _batch(books, now, SellWhen.FIRST_USE)
    assert ask("SELECT username, value FROM radius.radcheck") == [{"username": code, "value": code}]
    assert ask("SELECT kind, status FROM radius.managed_account") == [{"kind": "hotspot", "status": "active"}]
    (grant,) = ask("SELECT * FROM radius.entitlement")
    assert (grant["source"], grant["seconds_after_first_use"]) == ("voucher", 3600)
    assert (grant["first_used_at"], grant["expires_at"]) == (None, None)
    assert ask("SELECT 1 FROM billing.purchase") == []


def test_r8_the_first_use_sells_the_ticket_once(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (code,) = _batch(books, now, SellWhen.FIRST_USE)
    _use(ask, code, now)
    assert [_book(books, now), _book(books, now)] == [1, 0]
    assert ask(STATES) == [{"code": code, "state": "in_use"}]
    steps = ask("SELECT from_state, to_state, actor FROM billing.voucher_event ORDER BY voucher_event_id")
    assert [tuple(step.values()) for step in steps] == [
        (None, "generated", "desk"),
        ("generated", "sold", "radius"),
        ("sold", "in_use", "radius"),
    ]
    ledger = ask("SELECT ledger_account, amount_minor FROM billing.ledger_posting ORDER BY posting_id")
    assert [tuple(row.values()) for row in ledger] == [("cash", -2000), ("sales", 2000)]
    assert ask("SELECT purchased_at FROM billing.purchase") == [{"purchased_at": now}]


def test_r8_events_are_booked_once_by_daemons_racing_each_other(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    codes = _batch(books, now, SellWhen.FIRST_USE, count=20)
    for code in codes:
        _use(ask, code, now)
    booked: list[int] = []
    threads = [threading.Thread(target=lambda: booked.append(_book(books, now))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(booked) + _book(books, now) == 20
    assert len(ask("SELECT 1 FROM billing.purchase")) == 20
    assert {row["state"] for row in ask(STATES)} == {"in_use"}


def test_r8_one_voucher_is_sold_once_by_eight_sellers(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (code,) = _batch(books, now, SellWhen.LATER)
    outcomes: list[str] = []
    together = threading.Barrier(8)

    def sell() -> None:
        together.wait()
        try:
            with books() as session:
                vouchers.sell(session, code=code, now=now, sold_by="desk")
            outcomes.append("sold")
        except Refused as error:
            outcomes.append(error.rule)

    threads = [threading.Thread(target=sell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["R8"] * 7 + ["sold"]
    for table in ("billing.purchase", "billing.ledger_transaction", "radius.entitlement"):
        assert len(ask(f"SELECT 1 FROM {table}")) == 1


def test_r8_nobody_logs_in_with_a_code_before_it_is_sold(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (code,) = _batch(books, now, SellWhen.LATER)
    assert ask("SELECT 1 FROM radius.managed_account") == ask("SELECT 1 FROM radius.radcheck") == []
    with books() as session:
        vouchers.sell(session, code=code, now=now, sold_by="desk")
    assert ask("SELECT username FROM radius.managed_account") == [{"username": code}]


def test_r8_sell_now_is_one_entry_for_the_batch(books: OpenBooks, ask: Ask, now: datetime) -> None:
    codes = _batch(books, now, SellWhen.NOW, count=50)
    assert {row["state"] for row in ask(STATES)} == {"sold"}
    assert ask("SELECT amount_minor FROM billing.ledger_posting WHERE ledger_account = 'sales'") == [
        {"amount_minor": 100_000}
    ]
    with pytest.raises(Refused, match="it is sold"), books() as session:
        vouchers.sell(session, code=codes[0], now=now, sold_by="desk")


def test_r8_the_database_refuses_a_leap_in_a_codes_life(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _batch(books, now, SellWhen.LATER)
    with pytest.raises(DBAPIError, match="cannot go from generated to in_use"):
        ask("UPDATE billing.voucher SET state = 'in_use'")
    with pytest.raises(DBAPIError, match="append-only"):
        ask("DELETE FROM billing.voucher_event")


def test_a_void_voucher_is_dead_and_cut(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (code,) = _batch(books, now, SellWhen.NOW)
    with books() as session:
        voucher_endings.end_these(
            session, [vouchers.get(session, code)], VoucherEnd("void", "desk", "lost"), now
        )
    assert ask("SELECT 1 FROM radius.managed_account") == ask("SELECT 1 FROM radius.radcheck") == []
    assert ask("SELECT ended_reason FROM radius.entitlement") == [{"ended_reason": "void"}]
    with pytest.raises(Refused, match="void already"), books() as session:
        voucher_endings.end_these(
            session, [vouchers.get(session, code)], VoucherEnd("void", "desk", "again"), now
        )


def test_r8_an_ended_grant_ends_its_voucher(books: OpenBooks, ask: Ask, now: datetime) -> None:
    used_up, expired = _batch(books, now, SellWhen.NOW, count=2)
    for code, reason in ((used_up, "quota"), (expired, "expiry")):
        ask(
            "UPDATE radius.entitlement SET ended_at = :now, ended_reason = :reason WHERE username = :code",
            now=now,
            reason=reason,
            code=code,
        )
    with books() as session:
        assert access_events.settle_ended_vouchers(session) == 2
        assert access_events.settle_ended_vouchers(session) == 0
    assert ask(STATES) == [{"code": used_up, "state": "used_up"}, {"code": expired, "state": "expired"}]


def test_r12_a_batch_keeps_the_plan_it_was_made_of(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (code,) = _batch(books, now, SellWhen.LATER)
    with books() as session:
        plans.edit(session, name="1h", changes={"price": Money(1, "KES"), "quota_octets": 5})
        vouchers.sell(session, code=code, now=now, sold_by="desk")
    assert ask("SELECT quota_octets FROM radius.entitlement") == [{"quota_octets": 2**30}]
    assert ask("SELECT price_minor FROM billing.purchase") == [{"price_minor": 2000}]


def test_the_clock_after_purchase_of_a_ticket_sold_on_first_use_starts_then(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    with books() as session:
        terms = PlanTerms(price=Money(0, "KES"), seconds_after_purchase=60)
        plans.add(session, name="minute", terms=terms, now=now)
        wanted = NewBatch(plan="minute", count=1, sell=SellWhen.FIRST_USE, created_by="desk")
        voucher_batches.generate(session, wanted=wanted, now=now)
    (grant,) = ask("SELECT username FROM radius.entitlement")
    later = now + timedelta(days=1)
    _use(ask, grant["username"], later)
    assert ask("SELECT expires_at FROM radius.entitlement") == [{"expires_at": later + timedelta(seconds=60)}]


def test_printing_is_recorded_once(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _batch(books, now, SellWhen.LATER, count=3)
    for _ in range(2):
        with books() as session:
            cards = printing.cards_of_batch(session, batch_id=1, keys=None, now=now, printed_by="desk")
            assert len(cards) == 3
    assert len(ask("SELECT 1 FROM billing.voucher_event WHERE to_state = 'printed'")) == 3
    assert ask("SELECT DISTINCT print_count FROM billing.voucher") == [{"print_count": 2}]


def test_a_password_other_than_the_code(books: OpenBooks, ask: Ask, now: datetime) -> None:
    (code,) = _batch(books, now, SellWhen.NOW, password_length=6)
    (row,) = ask("SELECT value FROM radius.radcheck WHERE username = :code", code=code)
    assert (len(row["value"]), row["value"] != code) == (6, True)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"count": 0}, "count"), ({"length": 4}, "length"), ({"length": 5, "count": 100_000}, "length")],
)
def test_an_impossible_batch_writes_nothing(
    books: OpenBooks, ask: Ask, now: datetime, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        _batch(books, now, SellWhen.NOW, **changes)
    assert caught.value.field == field
    assert ask("SELECT 1 FROM billing.voucher_batch") == ask("SELECT 1 FROM billing.account") == []


def test_r1_tickets_need_a_plan_for_hotspot_accounts(books: OpenBooks, now: datetime) -> None:
    with books() as session:
        terms = PlanTerms(price=Money(0, "KES"), kinds=(AccountKind.PREPAID,))
        plans.add(session, name="home", terms=terms, now=now)
    wanted = NewBatch(plan="home", count=1, sell=SellWhen.NOW, created_by="desk")
    with pytest.raises(Refused) as caught, books() as session:
        voucher_batches.generate(session, wanted=wanted, now=now)
    assert caught.value.rule == "R1"


def test_r7_ten_thousand_tickets_at_once(books: OpenBooks, ask: Ask) -> None:
    codes = _batch(books, datetime(2026, 1, 1, tzinfo=UTC), SellWhen.FIRST_USE, count=10_000)
    assert len(codes) == 100  # a listing is bounded
    for table in ("billing.voucher", "billing.voucher_event", "radius.managed_account", "radius.entitlement"):
        assert ask(f"SELECT count(*) FROM {table}") == [{"count": 10_000}]
