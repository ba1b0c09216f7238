"""Selling to an account: once per key, by the rules, with the ledger and RADIUS in the same transaction."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from billing import accounts, customers, groups, invoices, ledger, plans, sales
from billing.charging import PaidBy
from billing.customers import Person
from billing.ledger import Entry
from billing.sales import Order
from billing.terms import PlanTerms
from herotill.errors import InvalidValue, Refused
from herotill.policy import ServicePolicy
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import Ask, OpenBooks

GIB = 2**30


def _student(books: OpenBooks, now: datetime, **login: Any) -> None:
    with books() as session:
        groups.add(session, name="hostel-a", now=now)
        plans.add(session, name="1g-1m", terms=_terms(), now=now)
        customer = customers.add(session, person=Person("Student One"), group="hostel-a", now=now)
        accounts.add(session, login=accounts.Login("student-1", "secret-1"), customer=customer, now=now)
        customers.verify(session, reference="student-1", now=now)


def _terms(**changes: Any) -> PlanTerms:
    fields: dict[str, Any] = {"price": Money(5000, "KES"), "quota_octets": GIB, "seconds_after_purchase": 60}
    return PlanTerms(**(fields | changes))


def _order(key: str = "k1", **changes: Any) -> Order:
    return Order(**({"plan": "1g-1m", "username": "student-1", "key": key, "sold_by": "desk"} | changes))


def test_a_sale_grants_books_and_says_so(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        sale = sales.sell(session, order=_order(), now=now)
    (grant,) = ask("SELECT * FROM radius.entitlement")
    assert grant["external_key"] == f"purchase:{sale.purchase_id}"
    assert (grant["username"], grant["source"], grant["plan_name"]) == ("student-1", "purchase", "1g-1m")
    assert (grant["quota_octets"], grant["expires_at"]) == (GIB, now + timedelta(seconds=60))
    assert grant["first_used_at"] is None
    postings = ask("SELECT ledger_account, amount_minor FROM billing.ledger_posting ORDER BY posting_id")
    assert [tuple(row.values()) for row in postings] == [
        ("cash", -5000),
        ("customer", 5000),
        ("customer", -5000),
        ("sales", 5000),
    ]


def test_r8_a_key_sells_once(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        first = sales.sell(session, order=_order(), now=now)
    with books() as session:
        second = sales.sell(session, order=_order(), now=now + timedelta(hours=1))
    assert (second.purchase_id, second.repeated, first.repeated) == (first.purchase_id, True, False)
    assert second.purchased_at == now
    assert len(ask("SELECT 1 FROM billing.purchase")) == len(ask("SELECT 1 FROM radius.entitlement")) == 1


def test_r8_a_key_sells_once_under_concurrency(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    outcomes: list[bool] = []
    together = threading.Barrier(8)

    def buy() -> None:
        together.wait()
        with books() as session:
            outcomes.append(sales.sell(session, order=_order(), now=now).repeated)

    threads = [threading.Thread(target=buy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] + [True] * 7
    assert len(ask("SELECT 1 FROM billing.purchase")) == len(ask("SELECT 1 FROM radius.entitlement")) == 1


def test_r8_a_key_does_not_sell_another_thing(books: OpenBooks, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        plans.add(session, name="other", terms=_terms(), now=now)
        sales.sell(session, order=_order(), now=now)
    with pytest.raises(Refused, match="use another key"), books() as session:
        sales.sell(session, order=_order(plan="other"), now=now)


def test_r3_an_unverified_customer_cannot_buy(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        new = customers.add(session, person=Person("New"), now=now)
        accounts.add(session, login=accounts.Login("new-1", "secret-1"), customer=new, now=now)
    with pytest.raises(Refused) as caught, books() as session:
        sales.sell(session, order=_order(username="new-1"), now=now)
    assert caught.value.rule == "R3"
    assert ask("SELECT 1 FROM billing.purchase") == []


def test_r1_a_plan_is_sold_only_to_its_kinds(books: OpenBooks, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        plans.add(session, name="office", terms=_terms(kinds=(AccountKind.MONTHLY,)), now=now)
    with pytest.raises(Refused, match="student-1 is prepaid") as caught, books() as session:
        sales.sell(session, order=_order(plan="office"), now=now)
    assert caught.value.rule == "R1"


def test_a_disabled_account_cannot_buy(books: OpenBooks, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        accounts.disable(session, username="student-1", now=now)
    with pytest.raises(Refused, match="disabled"), books() as session:
        sales.sell(session, order=_order(), now=now)


def test_r12_what_was_sold_does_not_follow_the_plan(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        sales.sell(session, order=_order(), now=now)
        plans.edit(session, name="1g-1m", changes={"quota_octets": 5, "price": Money(1, "KES")})
    (sold,) = ask("SELECT plan_terms, price_minor FROM billing.purchase")
    assert (sold["plan_terms"]["quota_octets"], sold["price_minor"]) == (GIB, 5000)
    assert ask("SELECT quota_octets FROM radius.entitlement") == [{"quota_octets": GIB}]


def test_r25_not_enough_balance_shows_both_figures(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        owner = customers.get(session, "student-1")
        ledger.post_payment(
            session, Entry("pay:1", "cash", now, "desk"), Money(7500, "KES"), owner.customer_id
        )
        sales.sell(session, order=_order("a", paid_by=PaidBy.BALANCE), now=now)
    with pytest.raises(Refused, match=r"balance is 25\.00 KES, 1g-1m costs 50\.00 KES"), books() as session:
        sales.sell(session, order=_order("b", paid_by=PaidBy.BALANCE), now=now)
    assert len(ask("SELECT 1 FROM billing.purchase")) == len(ask("SELECT 1 FROM radius.entitlement")) == 1


def test_r25_two_sales_at_once_cannot_spend_one_balance(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        owner = customers.get(session, "student-1")
        accounts.add(session, login=accounts.Login("student-1b", "secret-1"), customer=owner, now=now)
        ledger.post_payment(
            session, Entry("pay:1", "cash", now, "desk"), Money(5000, "KES"), owner.customer_id
        )
    refused: list[str] = []
    together = threading.Barrier(2)

    def buy(username: str) -> None:
        together.wait()
        try:
            with books() as session:
                order = _order(username, username=username, paid_by=PaidBy.BALANCE)
                sales.sell(session, order=order, now=now)
        except Refused as error:
            refused.append(error.rule)

    threads = [threading.Thread(target=buy, args=[name]) for name in ("student-1", "student-1b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["R25"]
    assert ask(
        "SELECT sum(amount_minor) AS left FROM billing.ledger_posting WHERE ledger_account = 'customer'"
    ) == [{"left": 0}]


def test_a_rolled_back_sale_leaves_nothing(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        sales.sell(session, order=_order(), now=now)
        session.rollback()
    for table in ("billing.purchase", "billing.ledger_transaction", "radius.entitlement"):
        assert ask(f"SELECT 1 FROM {table}") == []


def test_a_plan_past_its_date_is_not_sold(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        plans.add(session, name="fair", terms=_terms(valid_until=now), now=now)
    with pytest.raises(Refused, match="ended on"), books() as session:
        sales.sell(session, order=_order(plan="fair"), now=now)
    assert ask("SELECT 1 FROM billing.purchase") == []


def test_an_unknown_plan_or_user_is_named(books: OpenBooks, now: datetime) -> None:
    _student(books, now)
    for order, field in ((_order(plan="nope"), "plan"), (_order(username="nope"), "user")):
        with pytest.raises(InvalidValue) as caught, books() as session:
            sales.sell(session, order=order, now=now)
        assert caught.value.field == field


def test_a_monthly_plan_ends_with_the_cycle_and_brings_its_policy(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    terms = _terms(
        kinds=(AccountKind.MONTHLY,),
        ends_with_cycle=True,
        quota_octets=None,
        seconds_after_purchase=None,
        policy=ServicePolicy(download_bits_per_second=10_000_000),
    )
    with books() as session:
        plans.add(session, name="1g-1m", terms=terms, now=now)
        office = customers.add(session, person=Person("Office"), now=now)
        login = accounts.Login("student-1", "secret-1", AccountKind.MONTHLY)
        accounts.add(
            session, login=login, customer=office, now=now, cycle_day=10, policy={"suspended_pool": "unpaid"}
        )
        customers.verify(session, reference="student-1", now=now)
        sales.sell(session, order=_order(), now=now)
    assert ask("SELECT expires_at FROM radius.entitlement") == [
        {"expires_at": datetime(2026, 12, 10, tzinfo=now.tzinfo)}
    ]
    assert ask("SELECT policy FROM radius.managed_account") == [
        {"policy": {"download_bits_per_second": 10_000_000, "suspended_pool": "unpaid"}}
    ]


def test_r25_the_database_itself_refuses_what_does_not_sum_to_zero(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    half = """
        WITH new AS (INSERT INTO billing.ledger_transaction (external_key, description, occurred_at, recorded_by)
                     VALUES ('x', 'x', now(), 'x') RETURNING transaction_id)
        INSERT INTO billing.ledger_posting (transaction_id, ledger_account, amount_minor, currency)
        SELECT transaction_id, 'cash', 5, 'KES' FROM new
    """
    with pytest.raises(DBAPIError, match="does not sum to zero"):
        ask(half)
    sideless = """
        INSERT INTO billing.ledger_transaction (external_key, description, occurred_at, recorded_by)
        VALUES ('x', 'x', now(), 'x')
    """
    with pytest.raises(DBAPIError, match="has no sides"):
        ask(sideless)
    assert ask("SELECT 1 FROM billing.ledger_transaction") == []


def test_r25_the_ledger_is_append_only(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _student(books, now)
    with books() as session:
        sales.sell(session, order=_order(), now=now)
    for table in ("ledger_posting", "ledger_transaction"):
        for change in (
            f"DELETE FROM billing.{table}",
            f"UPDATE billing.{table} SET transaction_id = DEFAULT",
        ):
            with pytest.raises(DBAPIError):
                ask(change)


def test_r24_a_bill_lowers_the_balance_and_only_monthly_accounts_get_one(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    _student(books, now)
    with books() as session:
        office = customers.add(session, person=Person("Office"), now=now)
        login = accounts.Login("office-1", "secret-1", AccountKind.MONTHLY)
        accounts.add(session, login=login, customer=office, now=now)
        invoices.bill(
            session, username="office-1", amount=Money(900, "KES"), due_at=now, now=now, billed_by="desk"
        )
        assert ledger.balance(session, office.customer_id, "KES") == Money(-900, "KES")
    with pytest.raises(Refused) as caught, books() as session:
        invoices.bill(
            session, username="student-1", amount=Money(900, "KES"), due_at=now, now=now, billed_by="desk"
        )
    assert caught.value.rule == "R23"
