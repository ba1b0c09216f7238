"""R29: reports whose numbers were worked out by hand, and what holds of every report."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import (
    accounts,
    corrections,
    customers,
    groups,
    invoices,
    payments,
    plans,
    report_sales,
    report_usage,
    resellers,
    sales,
    suspension,
)
from billing.charging import PaidBy
from billing.confinement import confine
from billing.customers import Person
from billing.new_batches import CodeType, FreeTerms
from billing.report_periods import Interval, spans_of
from billing.report_sales import SalesBy
from billing.report_usage import UsageBy
from billing.reports import Question, check
from billing.sales import Order
from billing.terms import PlanTerms
from herotill.errors import InvalidValue
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from tests.contract.billing.code_makers import make
from tests.contract.billing.conftest import OpenBooks
from tests.contract.billing.money import enter_customer, enter_reseller, kes, paid

ZONE = "Europe/Berlin"
GIB = 2**30
# The clocks go back on 25 October 2026: that day has 25 hours, from 22:00 to 23:00 UTC.
DAY_BEFORE = datetime(2026, 10, 24, 10, tzinfo=UTC)
LONG_DAY = datetime(2026, 10, 24, 22, tzinfo=UTC)
LAST_HOUR = datetime(2026, 10, 25, 22, tzinfo=UTC)
DAY_AFTER = datetime(2026, 10, 25, 23, tzinfo=UTC)


def asked(first: str, last: str, interval: Interval | None = None, **more: Any) -> Question:
    end = date.fromisoformat(last) + timedelta(days=1)
    return Question(spans_of(date.fromisoformat(first), end, ZONE, interval), **more)


def sell(
    session: Session, plan: str, username: str, key: str, at: datetime, paid_by: PaidBy = PaidBy.CASH
) -> None:
    sales.sell(session, order=Order(plan, username, key, "desk", paid_by), now=at)


def enter_plans(session: Session, now: datetime) -> None:
    for name, price in (
        ("day", kes(5000)),
        ("week", kes(25_000)),
        ("dollar", Money(199, "USD")),
        ("gift", kes(0)),
    ):
        plans.add(session, name=name, terms=PlanTerms(price=price, quota_octets=GIB), now=now)


@pytest.fixture
def shop(books: OpenBooks) -> OpenBooks:
    """Ann is in north, Bob in south; what they bought in October 2026 stands in the tests."""
    opened = datetime(2026, 10, 1, tzinfo=UTC)
    with books() as session:
        enter_plans(session, opened)
        groups.add(session, name="north", now=opened)
        groups.add(session, name="south", now=opened)
        enter_customer(session, "ann", opened, "north")
        enter_customer(session, "bob", opened, "south")
        sell(session, "day", "ann", "1", DAY_BEFORE)  # the 24th
        sell(session, "day", "ann", "2", LONG_DAY)  # the 25th, at its midnight
        sell(session, "week", "bob", "3", LAST_HOUR)  # the 25th, 23:00
        sell(session, "dollar", "bob", "4", LAST_HOUR)
        sell(session, "gift", "bob", "5", LAST_HOUR)  # free: not in the report
        sell(session, "day", "bob", "6", DAY_AFTER)  # the 26th, at its midnight
    return books


def shown(rows: list[report_sales.Sales]) -> list[tuple[int, str, int, str]]:
    return [(row.span.first_day.day, row.label, row.items, str(row.amount)) for row in rows]


def test_r29_sales_by_day_and_plan_on_the_day_the_clocks_go_back(shop: OpenBooks) -> None:
    with shop() as session:
        found = report_sales.sales(session, asked("2026-10-24", "2026-10-26", Interval.DAY))

    assert shown(found) == [
        (24, "day", 1, "50.00 KES"),
        (25, "week", 1, "250.00 KES"),
        (25, "day", 1, "50.00 KES"),
        (25, "dollar", 1, "1.99 USD"),
        (26, "day", 1, "50.00 KES"),
    ]
    assert report_sales.totals(found) == [(4, kes(40_000)), (1, Money(199, "USD"))]


def test_r29_sales_by_group_user_and_reseller_and_of_one_plan(shop: OpenBooks) -> None:
    month = asked("2026-10-01", "2026-10-31")
    with shop() as session:
        by_group = report_sales.sales(session, month, SalesBy.GROUP)
        by_reseller = report_sales.sales(session, month, SalesBy.RESELLER)
        of_day = report_sales.sales(session, asked("2026-10-01", "2026-10-31", plan="day"), SalesBy.USER)
        of_ann = report_sales.sales(session, asked("2026-10-01", "2026-10-31", username="ann"))

    assert shown(by_group) == [
        (1, "south", 2, "300.00 KES"),
        (1, "north", 2, "100.00 KES"),
        (1, "south", 1, "1.99 USD"),
    ]
    assert shown(by_reseller) == [(1, "(ourselves)", 4, "400.00 KES"), (1, "(ourselves)", 1, "1.99 USD")]
    assert shown(of_day) == [(1, "ann", 2, "100.00 KES"), (1, "bob", 1, "50.00 KES")]
    assert shown(of_ann) == [(1, "day", 2, "100.00 KES")]


def test_r29_what_is_taken_back_counts_on_its_own_day_and_past_reports_stay(shop: OpenBooks) -> None:
    with shop() as session:
        wrong = session.scalar(text("SELECT transaction_id FROM billing.sale WHERE plan_name = 'week'"))
        corrections.reverse(
            session, transaction_id=wrong, reason="wrong plan", now=DAY_AFTER, reversed_by="desk"
        )
        found = report_sales.sales(session, asked("2026-10-25", "2026-10-26", Interval.DAY, plan="week"))

    assert shown(found) == [(25, "week", 1, "250.00 KES"), (26, "week", -1, "-250.00 KES")]
    assert report_sales.totals(found) == [(0, kes(0))]


def test_r29_a_batch_is_as_many_sales_as_it_has_cards_and_free_accounts_are_none(
    books: OpenBooks, now: datetime
) -> None:
    with books() as session:
        enter_plans(session, now)
    make(books, now, CodeType.TICKET, 7, plan="day")
    make(books, now, CodeType.FREE, 3, plan="day", free=FreeTerms(5, 60))
    with books() as session:
        found = report_sales.sales(session, asked("2026-11-22", "2026-11-22"))

    assert shown(found) == [(22, "day", 7, "350.00 KES")]


def test_r29_bills_are_sales_when_issued_and_voided_ones_are_taken_back(
    books: OpenBooks, now: datetime
) -> None:
    with books() as session:
        office = customers.add(session, person=Person("office"), now=now)
        login = accounts.Login("office", "secret-1", AccountKind.MONTHLY)
        accounts.add(session, login=login, customer=office, now=now)
        customers.verify(session, reference="office", now=now)
        due = now + timedelta(days=7)
        for minor in (3000, 4500):
            bill = invoices.bill(
                session, username="office", amount=kes(minor), due_at=due, now=now, billed_by="desk"
            )
        invoices.void(session, invoice_id=bill.invoice_id, reason="twice", now=now, voided_by="desk")
        suspension.settle(session, office.customer_id, now)
        found = report_sales.sales(session, asked("2026-11-22", "2026-11-22"))

    assert shown(found) == [(22, "(other bills)", 1, "30.00 KES")]


def test_r29_expenditure_is_what_each_customer_spent_and_paid_and_what_is_left(shop: OpenBooks) -> None:
    with shop() as session:
        payments.take(session, payment=paid(7000, "till-1"), now=DAY_AFTER)
        october = report_sales.expenditure(session, asked("2026-10-01", "2026-10-31"))
        november = report_sales.expenditure(session, asked("2026-11-01", "2026-11-30"))
        south = report_sales.expenditure(session, asked("2026-10-01", "2026-10-31", group="south"), limit=1)

    lines = [(row.name, row.items, str(row.spent), str(row.paid), str(row.balance)) for row in october]
    assert lines == [
        ("bob", 2, "300.00 KES", "300.00 KES", "0.00 KES"),
        ("ann", 2, "100.00 KES", "170.00 KES", "70.00 KES"),
        ("bob", 1, "1.99 USD", "1.99 USD", "0.00 USD"),
    ]
    assert november == []
    assert [(row.name, row.group) for row in south] == [("bob", "south")]


# ---------------------------------------------------------------- usage


def use(session: Session, username: str, hour: datetime, down: int, up: int, grant: int = 0) -> None:
    """What the meter keeps of an hour."""
    session.execute(
        text("INSERT INTO radius.usage_interval VALUES (:u, :hour, :grant, :up, :down, 3600)"),
        {"u": username, "hour": hour, "down": down, "up": up, "grant": grant},
    )


def grant_of(session: Session, username: str) -> int:
    query = text("SELECT min(entitlement_id) FROM radius.entitlement WHERE username = :u")
    return int(session.execute(query, {"u": username}).scalar_one())


def test_r29_usage_by_day_in_the_operators_zone(shop: OpenBooks) -> None:
    with shop() as session:
        for hour in range(25):  # the whole long day
            use(session, "ann", LONG_DAY + timedelta(hours=hour), 100, 10, grant_of(session, "ann"))
        use(session, "bob", LAST_HOUR, 7, 3)
        use(session, "ann", LONG_DAY - timedelta(hours=1), 1, 1)
        use(session, "ann", DAY_AFTER, 2, 2)
        days = asked("2026-10-24", "2026-10-26", Interval.DAY)
        found = report_usage.usage(session, days)
        by_plan = report_usage.usage(session, days, UsageBy.PLAN)
        by_group = report_usage.usage(session, asked("2026-10-25", "2026-10-25"), UsageBy.GROUP)

    assert [
        (row.span.first_day.day, row.download_octets, row.upload_octets, row.seconds, row.users)
        for row in found
    ] == [(24, 1, 1, 3600, 1), (25, 2507, 253, 26 * 3600, 2), (26, 2, 2, 3600, 1)]
    assert [(row.span.first_day.day, row.label, row.download_octets) for row in by_plan] == [
        (24, "(no grant)", 1),
        (25, "day", 2500),
        (25, "(no grant)", 7),
        (26, "(no grant)", 2),
    ]
    assert [(row.label, row.download_octets) for row in by_group] == [("north", 2500), ("south", 7)]


def test_r29_a_user_name_given_again_keeps_each_owners_use_apart(books: OpenBooks) -> None:
    first, second = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 10, 9, 30, tzinfo=UTC)
    with books() as session:
        for name, at in (("north", first), ("south", second)):
            groups.add(session, name=name, now=at)
            enter_customer(session, "room-1", at, name)
            use(session, "room-1", at.replace(minute=0) + timedelta(hours=1), 5 if name == "north" else 8, 0)
            if name == "north":
                customers.remove(session, reference="room-1", now=at + timedelta(days=8))
        found = report_usage.usage(session, asked("2026-10-01", "2026-10-31"), UsageBy.GROUP)

    assert [(row.label, row.download_octets) for row in found] == [("south", 8), ("north", 5)]


USED = st.lists(
    st.tuples(st.sampled_from(["ann", "bob"]), st.integers(0, 24 * 62 - 1), st.integers(0, 2**40)),
    unique_by=lambda each: each[:2],
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    USED,
    st.sampled_from(list(Interval)),
    st.integers(1, 60),
    st.sampled_from(["UTC", ZONE, "America/Havana"]),
)
def test_r29_the_parts_of_any_split_of_the_period_sum_to_the_whole(
    shop: OpenBooks, used: list[tuple[str, int, int]], interval: Interval, cut: int, zone: str
) -> None:
    first, last = date(2026, 10, 1), date(2026, 11, 30)
    middle = first + timedelta(days=cut)
    with shop() as session:
        for username, hour, octets in used:
            use(session, username, datetime(2026, 10, 1, tzinfo=UTC) + timedelta(hours=hour), octets, 1)
        whole = Question(spans_of(first, last, zone))
        divided = Question(spans_of(first, last, zone, interval))
        halves = (
            [Question(spans_of(first, middle, zone)), Question(spans_of(middle, last, zone))]
            if middle < last
            else [whole]
        )
        for by in UsageBy:
            total = _octets(report_usage.usage(session, whole))
            assert _octets(report_usage.usage(session, divided, by)) == total
            assert sum(_octets(report_usage.usage(session, half, by)) for half in halves) == total
        money = report_sales.totals(report_sales.sales(session, whole))
        for kind in SalesBy:
            assert report_sales.totals(report_sales.sales(session, divided, kind)) == money
        parts = [row for half in halves for row in report_sales.sales(session, half)]
        assert report_sales.totals(parts) == money
        session.rollback()


def _octets(rows: list[report_usage.Usage]) -> int:
    return sum(row.download_octets + row.upload_octets for row in rows)


def test_r29_sales_are_what_moved_in_the_ledger_account_of_sales(shop: OpenBooks) -> None:
    ledger = text("""SELECT currency, sum(amount_minor) FROM billing.ledger_posting
                     WHERE ledger_account = 'sales' GROUP BY currency ORDER BY currency""")
    with shop() as session:
        moved = [Money(int(minor), currency) for currency, minor in session.execute(ledger)]
        found = report_sales.totals(report_sales.sales(session, asked("2026-01-01", "2026-12-31")))

    assert [amount for _, amount in found] == moved


# ---------------------------------------------------------------- sessions and cuts


def start(session: Session, username: str, began: datetime, ended: datetime | None = None) -> None:
    session.execute(
        text("""
            INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                        last_report_at, stopped_at, output_octets, input_octets, session_seconds)
            VALUES (:key, :key, :u, '192.0.2.1', :key, :began, :began, :ended, 20, 10, 60)"""),
        {"key": f"{username}-{began:%d%H%M}", "u": username, "began": began, "ended": ended},
    )


def cut(session: Session, username: str, at: datetime, reason: str, purpose: str = "end") -> None:
    session.execute(
        text("""
            INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address,
                                            session_attributes, created_at, purpose, state)
            VALUES (:key, 'disconnect', :reason, :u, 'x', '192.0.2.1', '{}', :at, :purpose, 'confirmed')"""),
        {"key": f"{username}{at}{reason}", "u": username, "at": at, "reason": reason, "purpose": purpose},
    )


def test_r29_who_is_online_and_how_many_were(shop: OpenBooks) -> None:
    hour = timedelta(hours=1)
    with shop() as session:
        start(session, "ann", LONG_DAY - hour / 2, LONG_DAY + 2 * hour)
        start(session, "ann", LONG_DAY + hour / 2)
        start(session, "bob", LONG_DAY + hour / 2, LONG_DAY + hour)
        day = asked("2026-10-25", "2026-10-25")
        now_online = report_usage.online(session, day)
        counts = report_usage.online_at(session, day, [LONG_DAY + hour * number / 4 for number in range(10)])

    assert [(row.username, row.customer, row.group, row.download_octets) for row in now_online] == [
        ("ann", "ann", "north", 20)
    ]
    assert counts == [1, 1, 1, 3, 3, 2, 2, 2, 2, 1]


def test_r29_what_was_cut_and_why_by_day(shop: OpenBooks) -> None:
    with shop() as session:
        cut(session, "ann", LONG_DAY, "quota")
        cut(session, "bob", LAST_HOUR, "quota")
        cut(session, "bob", LAST_HOUR, "expiry", "restrict")
        cut(session, "bob", LAST_HOUR, "quota-returned", "restore")  # cuts nobody
        cut(session, "bob", DAY_AFTER, "suspended")
        days = asked("2026-10-25", "2026-10-26", Interval.DAY)
        listed = report_usage.cuts(session, days)
        counted = report_usage.cut_counts(session, days)

    assert [(row.username, row.reason) for row in listed[:1]] == [("bob", "suspended")]
    assert len(listed) == 4
    assert [(row.span.first_day.day, row.reason, row.cuts, row.done) for row in counted] == [
        (25, "quota", 2, 2),
        (25, "expiry", 1, 1),
        (26, "suspended", 1, 1),
    ]


# ---------------------------------------------------------------- for whom


@pytest.fixture(params=[True, False], ids=["confined", "by the queries alone"])
def kiosk(shop: OpenBooks, request: pytest.FixtureRequest) -> Iterator[tuple[Session, resellers.Seller]]:
    """The reseller kiosk has north, where Ann is; everybody was online, used, was cut."""
    with shop() as session:
        enter_reseller(session, "kiosk", DAY_BEFORE)
        resellers.assign_group(session, name="kiosk", group="north", now=DAY_BEFORE)
        enter_reseller(session, "rival", DAY_BEFORE)
        for username in ("ann", "bob", "nobody"):
            use(session, username, LONG_DAY, 10, 1)
            start(session, username, LONG_DAY)
            cut(session, username, LONG_DAY, "quota")
        session.flush()
        seller = resellers.sign_in(session, "kiosk")
        if request.param:
            confine(session, seller)
        yield session, seller


def test_r28_r29_a_reseller_sees_its_own_groups_in_every_report(
    kiosk: tuple[Session, resellers.Seller],
) -> None:
    session, seller = kiosk
    question = Question(asked("2026-10-01", "2026-10-31").spans, seller=seller)

    for kind in SalesBy:
        assert report_sales.totals(report_sales.sales(session, question, kind)) == [(2, kes(10_000))]
    for by in UsageBy:
        assert [row.download_octets for row in report_usage.usage(session, question, by)] == [10]
    assert [row.name for row in report_sales.expenditure(session, question)] == ["ann"]
    assert [row.username for row in report_usage.online(session, question)] == ["ann"]
    assert report_usage.online_at(session, question, [LONG_DAY + timedelta(hours=1)]) == [1]
    assert [row.username for row in report_usage.cuts(session, question)] == ["ann"]
    assert [row.cuts for row in report_usage.cut_counts(session, question)] == [1]


def test_r28_r29_others_are_unknown_to_a_reseller(kiosk: tuple[Session, resellers.Seller]) -> None:
    session, seller = kiosk

    with pytest.raises(InvalidValue, match="no account has"):
        check(session, Question(asked("2026-10-01", "2026-10-01").spans, username="bob", seller=seller))
    check(session, Question(asked("2026-10-01", "2026-10-01").spans, username="ann", seller=seller))
    south = Question(asked("2026-10-01", "2026-10-01").spans, group="south", seller=seller)
    with pytest.raises(InvalidValue, match="group"):
        check(session, south)


@pytest.mark.parametrize("words", [{"group": "nowhere"}, {"plan": "nothing"}, {"username": "nobody"}])
def test_r29_a_name_nobody_has_is_no_empty_report(shop: OpenBooks, words: dict[str, str]) -> None:
    with shop() as session, pytest.raises(InvalidValue, match=next(iter(words.values()))):
        check(session, asked("2026-10-01", "2026-10-01", None, **words))
