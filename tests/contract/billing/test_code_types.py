"""Every kind of code: user accounts, tickets, refills, usage-based and free accounts; and what becomes of them."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from billing import (
    access_events,
    code_schedule,
    customers,
    free_accounts,
    printing,
    usage_bills,
    voucher_endings,
    vouchers,
)
from billing.customers import Person
from billing.discounts import Discount
from billing.new_batches import CodeType, FreeTerms, NewBatch, SellWhen, UsageTerms, UsageUnit
from billing.sealed_codes import CodeKeys
from billing.voucher_batches import generate
from billing.voucher_endings import VoucherEnd
from billing.vouchers import Sold
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.usage_intervals import UsageInterval
from tests.contract.billing.code_makers import GIB, KEYS, add_plan, begin_use, end_grant, log_in, make
from tests.contract.billing.conftest import Ask, OpenBooks

STATES = "SELECT state, count(*) FROM billing.voucher GROUP BY state ORDER BY state"
SALES = "SELECT coalesce(sum(amount_minor), 0)::bigint AS minor FROM billing.ledger_posting WHERE ledger_account = 'sales'"
STATUS = "SELECT status FROM radius.managed_account WHERE username = :name"
MIB = 2**20


def _usage(**more: Any) -> UsageTerms:
    said: dict[str, Any] = {
        "unit": UsageUnit.OCTETS,
        "unit_size": MIB,
        "interval": UsageInterval.MONTH,
    } | more
    return UsageTerms(unit_price=Money(500, "KES"), **said)


def _use(ask: Ask, name: str, octets: int) -> None:
    ask("UPDATE radius.entitlement SET used_output_octets = :n WHERE username = :name", n=octets, name=name)


# ---------------------------------------------------------------- user accounts


def test_r7_user_accounts_are_numbered_from_where_the_operator_says(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    add_plan(books, now)
    _, cards = make(books, now, CodeType.USER, 3, prefix="USER", start=11, password_length=8)
    assert [card.code for card in cards] == ["USER11", "USER12", "USER13"]
    assert {len(card.password) for card in cards} == {8}
    assert len({card.password for card in cards}) == 3
    stored = ask("SELECT username, value FROM radius.radcheck ORDER BY username")
    assert stored == [{"username": card.code, "value": card.password} for card in cards]


def test_r7_running_numbers_go_on_and_are_never_given_twice(books: OpenBooks, now: datetime) -> None:
    add_plan(books, now)
    batch_id, _ = make(books, now, CodeType.USER, 3)
    with books() as session:
        ids = voucher_endings.living_ids(session, batch_id)
        voucher_endings.end_vouchers(session, ids, VoucherEnd("void", "desk", "lost"), now)
    assert [card.code for card in make(books, now, CodeType.USER, 2)[1]] == ["USER4", "USER5"]
    with pytest.raises(InvalidValue, match="USER2 is in use already; 6 and all after it"):
        make(books, now, CodeType.USER, 3, start=2)


def test_r7_a_discount_lowers_the_price_and_keeps_the_plans(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    add_plan(books, now)
    make(books, now, CodeType.USER, 10, discount=Discount(share=1000))
    assert ask(SALES) == [{"minor": 18_000}]
    assert ask("SELECT price_minor, list_price_minor FROM billing.voucher_batch") == [
        {"price_minor": 1800, "list_price_minor": 2000}
    ]


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        (CodeType.TICKET, {"prefix": "A"}, "prefix"),
        (CodeType.USER, {"length": 10}, "length"),
        (CodeType.USER, {"password_length": 4}, "password_length"),
        (CodeType.USER, {"prefix": "a b"}, "user"),
        (CodeType.REFILL, {"password_length": 10}, "password_length"),
        (CodeType.FREE, {}, "free_logins"),
        (CodeType.FREE, {"free": FreeTerms(0, 60)}, "free_logins"),
        (CodeType.FREE, {"free": FreeTerms(1, 60), "discount": Discount(share=1)}, "discount"),
        (CodeType.USAGE, {}, "unit_price"),
        (CodeType.TICKET, {"free": FreeTerms(1, 60)}, "free_logins"),
        (CodeType.TICKET, {"count": 1_000_001}, "count"),
    ],
)
def test_an_option_that_means_nothing_to_a_kind_is_refused_by_name(
    books: OpenBooks, ask: Ask, now: datetime, kind: CodeType, changes: dict[str, Any], field: str
) -> None:
    add_plan(books, now)
    with pytest.raises(InvalidValue) as caught:
        make(books, now, kind, **({"count": 1} | changes))
    assert caught.value.field == field
    assert ask("SELECT 1 FROM billing.voucher_batch") == []


def test_r10_refills_need_a_secret_of_the_installation(books: OpenBooks, now: datetime) -> None:
    add_plan(books, now)
    wanted = NewBatch(plan="1h", count=1, sell=SellWhen.NOW, created_by="desk", type=CodeType.REFILL)
    with pytest.raises(Refused, match="voucher_secret"), books() as session:
        generate(session, wanted=wanted, now=now)


# ---------------------------------------------------------------- sold, void, expired, printed as a batch


def test_r8_a_batch_is_sold_later_in_one_go_and_then_lets_in(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    add_plan(books, now)
    batch_id, _ = make(books, now, CodeType.USER, 20, sell=SellWhen.LATER)
    assert ask("SELECT 1 FROM radius.managed_account") == []
    with books() as session:
        one = vouchers.sell(session, code="USER7", now=now, sold_by="desk")
        assert one.state == "sold"
        again = vouchers.get_batch(session, batch_id)
        assert len(vouchers.sell_batch(session, again, Sold(now, "desk", "sold"))) == 19
        assert vouchers.sell_batch(session, again, Sold(now, "desk", "sold")) == []
    assert (
        len(ask("SELECT 1 FROM radius.managed_account")) == len(ask("SELECT 1 FROM radius.entitlement")) == 20
    )
    assert ask(SALES) == [{"minor": 40_000}]


def test_r8_a_void_batch_is_dead_altogether(books: OpenBooks, ask: Ask, now: datetime) -> None:
    add_plan(books, now)
    batch_id, _ = make(books, now, CodeType.TICKET, 20)
    with books() as session:
        ids = voucher_endings.living_ids(session, batch_id)
        ended = voucher_endings.end_vouchers(session, ids, VoucherEnd("void", "desk", "stolen"), now)
    assert (ended.vouchers, ended.sessions) == (20, 0)
    assert ask(STATES) == [{"state": "void", "count": 20}]
    assert ask("SELECT 1 FROM radius.managed_account") == ask("SELECT 1 FROM radius.radcheck") == []
    assert len(ask("SELECT 1 FROM radius.entitlement WHERE ended_reason = 'void'")) == 20
    assert ask(SALES) == [{"minor": 40_000}]


def test_r25_a_code_nobody_used_in_time_expires_and_the_books_do_not_move(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    add_plan(books, now)
    _, cards = make(books, now, CodeType.TICKET, 3, codes_expire_at=now + timedelta(days=1))
    begin_use(books, ask, cards[0].code, now)
    with books() as session:
        code_schedule.tick(session, now + timedelta(hours=23))
    assert ask(STATES) == [{"state": "in_use", "count": 1}, {"state": "sold", "count": 2}]
    with books() as session:
        code_schedule.tick(session, now + timedelta(days=1))
    assert ask(STATES) == [{"state": "expired", "count": 2}, {"state": "in_use", "count": 1}]
    assert ask("SELECT username FROM radius.managed_account") == [{"username": cards[0].code}]
    assert ask(SALES) == [{"minor": 6000}]


def test_r11_a_refill_is_printed_again_as_it_was_and_only_with_the_secret(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    add_plan(books, now)
    batch_id, (card,) = make(books, now, CodeType.REFILL)
    with books() as session:
        found = vouchers.get(session, card.serial)
        (again,) = printing.cards_of(session, [found], KEYS, now, "desk")
    assert again.code == card.code
    assert ask("SELECT print_count FROM billing.voucher") == [{"print_count": 2}]
    other = CodeKeys.of_secret("cd" * 32)
    with pytest.raises(Refused, match="another voucher_secret"), books() as session:
        printing.cards_of_batch(session, batch_id=batch_id, keys=other, now=now, printed_by="desk")


# ---------------------------------------------------------------- hotspot accounts


def test_r1_a_hotspot_account_is_gone_a_day_after_it_was_used_up(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    add_plan(books, now)
    _, (card,) = make(books, now, CodeType.TICKET)
    begin_use(books, ask, card.code, now)
    end_grant(ask, card.code, now)
    with books() as session:
        assert access_events.settle_ended_vouchers(session) == 1
        assert access_events.settle_ended_vouchers(session) == 0
        code_schedule.tick(session, now + timedelta(hours=23))
    assert ask(STATUS, name=card.code) == [{"status": "active"}]
    with books() as session:
        code_schedule.tick(session, now + timedelta(days=1))
    assert ask(STATUS, name=card.code) == ask("SELECT 1 FROM radius.radcheck") == []


# ---------------------------------------------------------------- free accounts


def _free(books: OpenBooks, now: datetime, logins: int = 2, **terms: Any) -> str:
    add_plan(books, now, **terms)
    _, (card,) = make(books, now, CodeType.FREE, free=FreeTerms(logins, 3600))
    return card.code


def _tick(books: OpenBooks, at: datetime) -> free_accounts.FreeTick:
    with books() as session:
        access_events.settle_ended_vouchers(session)
        return free_accounts.tick(session, at)


def test_r7_a_free_account_costs_nothing_and_is_in_no_sale(books: OpenBooks, ask: Ask, now: datetime) -> None:
    name = _free(books, now)
    begin_use(books, ask, name, now)
    assert ask("SELECT state FROM billing.voucher") == [{"state": "in_use"}]
    assert ask("SELECT 1 FROM billing.purchase") == ask("SELECT 1 FROM billing.ledger_transaction") == []
    with pytest.raises(Refused, match="is free"), books() as session:
        vouchers.sell(session, code=name, now=now, sold_by="desk")


def test_r7_a_free_account_pauses_after_its_logins_and_comes_back_whole(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    name = _free(books, now)
    log_in(ask, name, now)
    log_in(ask, name, now, accepted=False)
    assert _tick(books, now).paused == 0
    _use(ask, name, 1000)
    log_in(ask, name, now + timedelta(minutes=5))
    assert _tick(books, now + timedelta(minutes=5)).paused == 1
    assert ask(STATUS, name=name) == [{"status": "suspended"}]
    assert _tick(books, now + timedelta(minutes=64)).resumed == 0
    assert _tick(books, now + timedelta(minutes=65)) == free_accounts.FreeTick(0, 1)
    assert ask(STATUS, name=name) == [{"status": "active"}]
    living = ask("SELECT used_octets, external_key FROM radius.entitlement WHERE ended_at IS NULL")
    assert [grant["used_octets"] for grant in living] == [0]
    assert ask("SELECT logins, turn FROM radius.login_limit") == [{"logins": 0, "turn": 2}]


def test_r7_a_login_whose_password_was_wrong_does_not_count(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    name = _free(books, now, logins=1)
    log_in(ask, name, now)
    assert _tick(books, now).paused == 1
    ask("UPDATE radius.login_outcome SET accepted = false, reason = 'bad_credentials'")
    _tick(books, now)
    assert ask(STATUS, name=name) == [{"status": "active"}]
    assert ask("SELECT logins FROM radius.login_limit") == [{"logins": 0}]


def test_r7_a_free_account_used_up_before_its_logins_waits_the_pause_too(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    name = _free(books, now)
    begin_use(books, ask, name, now)
    end_grant(ask, name, now)
    assert _tick(books, now + timedelta(minutes=59)).resumed == 0
    assert _tick(books, now + timedelta(minutes=60)).resumed == 1
    assert ask("SELECT quota_octets FROM radius.entitlement WHERE ended_at IS NULL") == [
        {"quota_octets": GIB}
    ]


def test_r7_an_operators_suspension_outlasts_the_pause(books: OpenBooks, ask: Ask, now: datetime) -> None:
    name = _free(books, now, logins=1)
    ask("UPDATE billing.account SET status = 'suspended', suspended_reason = 'nuisance'")
    log_in(ask, name, now)
    _tick(books, now)
    assert _tick(books, now + timedelta(days=1)).resumed == 0
    assert ask("SELECT suspended_reason FROM billing.account") == [{"suspended_reason": "nuisance"}]


# ---------------------------------------------------------------- usage-based accounts


def _metered(books: OpenBooks, now: datetime, **usage: Any) -> str:
    add_plan(books, now, quota_octets=None, price=Money(0, "KES"))
    _, (card,) = make(books, now, CodeType.USAGE, usage=_usage(**usage))
    return card.code


def _bill(books: OpenBooks, at: datetime) -> list[int]:
    with books() as session:
        return [each.amount.minor for each in usage_bills.bill_usage(session, now=at, billed_by="schedule")]


def test_r7_usage_counts_up_and_is_billed_at_its_interval_once(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    name = _metered(books, now)
    assert _bill(books, now + timedelta(days=99)) == []  # nobody has used it
    begin_use(books, ask, name, now)
    _use(ask, name, 3 * MIB + 1)
    month = now.replace(month=12)
    assert _bill(books, month - timedelta(seconds=1)) == []
    assert [_bill(books, month), _bill(books, month)] == [[2000], []]  # the fourth unit has begun
    _use(ask, name, 4 * MIB)
    assert _bill(books, now.replace(year=2027, month=1)) == [0]
    _use(ask, name, 6 * MIB)
    assert _bill(books, now.replace(year=2027, month=4)) == [1000]
    bills = ask("SELECT units, began_at, ended_at FROM billing.usage_bill ORDER BY usage_bill_id")
    assert bills[0] == {"units": 4, "began_at": now, "ended_at": month}
    assert bills[1]["ended_at"] == now.replace(year=2027, month=4)


def test_r7_an_ended_account_gets_its_last_bill_at_once(books: OpenBooks, ask: Ask, now: datetime) -> None:
    name = _metered(books, now)
    begin_use(books, ask, name, now)
    _use(ask, name, MIB)
    end_grant(ask, name, now + timedelta(days=2), "expiry")
    with books() as session:
        access_events.settle_ended_vouchers(session)
        (due,) = usage_bills.due(session, now + timedelta(days=3))
    assert (due.amount, due.ended_at, due.next_bill_at) == (Money(500, "KES"), now + timedelta(days=2), None)
    assert _bill(books, now + timedelta(days=3)) == [500]
    assert _bill(books, now + timedelta(days=300)) == []


def test_r7_a_usage_bill_without_a_customer_is_paid_at_the_desk(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    name = _metered(books, now, interval=UsageInterval.DAY)
    begin_use(books, ask, name, now)
    _use(ask, name, 2 * MIB)
    _bill(books, now + timedelta(days=1))
    assert ask(SALES) == [{"minor": 0}]
    with books() as session:
        assert usage_bills.receive(session, username=name, now=now, received_by="desk") == Money(1000, "KES")
    assert ask(SALES) == [{"minor": 1000}]
    with pytest.raises(Refused, match="no unpaid"), books() as session:
        usage_bills.receive(session, username=name, now=now, received_by="desk")


def test_r7_a_usage_bill_lowers_the_customers_balance(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        customer = customers.add(session, person=Person("Hotel"), now=now)
        customers.verify(session, reference=customer.account_number, now=now)
        number = customer.account_number
    name = _metered(books, now, customer=number, unit=UsageUnit.SECONDS, unit_size=3600)
    begin_use(books, ask, name, now)
    ask("UPDATE radius.entitlement SET used_seconds = 3601")
    assert _bill(books, now.replace(month=12)) == [1000]
    assert ask("SELECT ledger_account, amount_minor FROM billing.ledger_posting ORDER BY amount_minor") == [
        {"ledger_account": "customer", "amount_minor": -1000},
        {"ledger_account": "sales", "amount_minor": 1000},
    ]


def test_r7_a_usage_based_account_has_no_quota(books: OpenBooks, now: datetime) -> None:
    add_plan(books, now)
    with pytest.raises(Refused, match="counts up"):
        make(books, now, CodeType.USAGE, usage=_usage())
