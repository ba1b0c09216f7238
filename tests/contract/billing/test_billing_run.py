"""R24: the monthly profile on a real PostgreSQL: bills on the first day, a cycle that stays, what expires and when."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2.extensions
import pytest

from billing import accounts, billing_run, customers, invoices, ledger, recurring, sales
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from tests.contract.billing import monthly
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.monthly import GIB, PRICE, add_account, add_plan, pay, run

# 2026-11-10 08:00 in Nairobi; cycles begin at 21:00 UTC of the day before.
NOW = datetime(2026, 11, 10, 5, 0, tzinfo=UTC)


def nairobi(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+03:00").astimezone(UTC)


def bills(ask: Ask) -> list[tuple[Any, ...]]:
    rows = ask("""
        SELECT username, began_on::text, amount_minor, due_at, paid_at IS NOT NULL AS paid
        FROM billing.invoice JOIN billing.billing_cycle USING (invoice_id) JOIN billing.account
             ON account.account_id = invoice.account_id ORDER BY username, began_on""")
    return [tuple(row.values()) for row in rows]


def grants(ask: Ask, username: str = "office") -> list[dict[str, Any]]:
    return ask(
        "SELECT * FROM radius.entitlement WHERE username = :username ORDER BY entitlement_id",
        username=username,
    )


@pytest.fixture
def office(books: OpenBooks) -> int:
    """A customer whose cycle runs from the 10th to the 10th, with a week to pay."""
    add_plan(books, NOW)
    return add_account(books, NOW, "office", plan="home", cycle_day=10)


def test_r24_the_first_day_of_a_cycle_brings_its_bill_and_its_grant(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    report = run(books, NOW)

    assert bills(ask) == [("office", "2026-11-10", PRICE, nairobi("2026-11-18"), False)]
    (given,) = grants(ask)
    account = ask("SELECT account_id FROM billing.account")[0]["account_id"]
    assert given["external_key"] == f"cycle:{account}:2026-11-10"
    assert (given["quota_octets"], given["granted_at"]) == (30 * GIB, nairobi("2026-11-10"))
    assert given["expires_at"] == nairobi("2026-11-18"), "until it is paid, it ends on the payment date"
    with books() as session:
        assert ledger.balance(session, office, "KES") == Money(-PRICE, "KES")
    assert ask("SELECT policy ->> 'suspended_pool' AS pool FROM radius.managed_account") == [
        {"pool": "walled-garden"}
    ]
    assert ask("SELECT kind, payload ->> 'user' AS of FROM billing.event WHERE kind LIKE 'invoice%'") == [
        {"kind": "invoice.issued", "of": "office"}
    ]
    assert (report.counts["cycle"], report.counts["billed"], report.billed) == (1, 1, {"KES": PRICE})


def test_r24_a_second_run_changes_nothing(books: OpenBooks, ask: Ask, office: int) -> None:
    run(books, NOW)
    before = _everything(ask)
    report = run(books, NOW)
    assert (report.counts, _everything(ask)) == ({}, before)


@pytest.mark.parametrize("paid_on", ["2026-11-11", "2026-11-17", "2026-11-25", "2026-12-09"])
def test_r24_paying_early_or_late_never_moves_the_cycle(
    books: OpenBooks, ask: Ask, office: int, paid_on: str
) -> None:
    run(books, NOW)
    for day in range(1, 40):
        now = NOW + timedelta(days=day)
        if str(now.date()) == paid_on:
            pay(books, office, PRICE, now)
        run(books, now)
    assert [(began, paid) for _, began, _, _, paid in bills(ask)] == [
        ("2026-11-10", True),
        ("2026-12-10", False),
    ]
    first, second = grants(ask)
    assert first["expires_at"] == second["granted_at"] == nairobi("2026-12-10")


def test_r24_a_balance_pays_the_bill_at_once(books: OpenBooks, ask: Ask, office: int) -> None:
    pay(books, office, PRICE, NOW)
    report = run(books, NOW)
    assert (report.counts["paid"], bills(ask)[0][-1]) == (1, True)
    assert [given["expires_at"] for given in grants(ask)] == [nairobi("2026-12-10")]


def test_r24_bills_are_settled_oldest_first_and_a_part_of_one_pays_none(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    for months in range(3):
        run(books, NOW + timedelta(days=31 * months))
    now = NOW + timedelta(days=65)
    assert [paid for *_, paid in bills(ask)] == [False] * 3
    assert pay(books, office, PRICE - 1, now).paid == ()
    assert len(pay(books, office, PRICE + 1, now + timedelta(hours=1)).paid) == 2
    assert [paid for *_, paid in bills(ask)] == [True, True, False]


def test_r24_without_automatic_bill_there_is_none_and_the_data_comes_all_the_same(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    with books() as session:
        recurring.change(
            session, username="office", changes={"automatic_bill": False}, now=NOW, time_zone="UTC"
        )
    run(books, NOW)
    assert ask("SELECT 1 FROM billing.invoice") == []
    assert [given["expires_at"] for given in grants(ask)] == [nairobi("2026-12-10")]


def test_r24_a_cycle_that_ends_with_the_month_bills_the_remaining_days_first(
    books: OpenBooks, ask: Ask
) -> None:
    add_plan(books, NOW, price=Money(100_01, "KES"))
    add_account(books, NOW, "shop", plan="home", ends_with_month=True)
    run(books, NOW + timedelta(days=25))
    assert [(began, amount) for _, began, amount, *_ in bills(ask)] == [
        ("2026-11-10", 100_01 - 100_01 * 9 // 30),
        ("2026-12-01", 100_01),
    ]
    said = ask("SELECT description FROM billing.invoice ORDER BY invoice_id")
    assert said[0]["description"] == "home, 2026-11-10 to 2026-11-30, 21 of 30 days"
    assert grants(ask, "shop")[0]["granted_at"] == nairobi("2026-12-01"), "November is over: no grant for it"


def test_r24_a_cycle_that_does_not_bills_to_the_next_payment_date(books: OpenBooks, ask: Ask) -> None:
    add_plan(books, NOW)
    add_account(books, NOW, "shop", plan="home", cycle_day=25)
    run(books, NOW)
    assert [(began, amount) for _, began, amount, *_ in bills(ask)] == [
        ("2026-11-10", PRICE - PRICE * 16 // 31)
    ]
    (given,) = grants(ask, "shop")
    assert given["quota_octets"] == 30 * GIB - 30 * GIB * 16 // 31, "and gives the data of these days"


def test_r24_plans_of_30_days(books: OpenBooks, ask: Ask) -> None:
    add_plan(books, NOW)
    add_account(books, NOW, "shop", plan="home", cycle_length="30-days")
    run(books, NOW + timedelta(days=61))
    assert [began for _, began, *_ in bills(ask)] == ["2026-11-10", "2026-12-10", "2027-01-09"]


def test_r13_what_ends_with_the_cycle_ends_with_one_of_30_days_too(books: OpenBooks, ask: Ask) -> None:
    add_plan(books, NOW)
    add_plan(books, NOW, "extra", ends_with_cycle=True)
    add_account(books, NOW, "shop", plan="home", cycle_length="30-days")
    run(books, NOW)
    with books() as session:
        now = NOW + timedelta(days=1)
        sales.sell(session, order=sales.Order("extra", "shop", "k1", "desk"), now=now)
    assert grants(ask, "shop")[-1]["expires_at"] == nairobi("2026-12-10")


def test_r24_cycles_of_the_31st_in_a_zone_with_daylight_saving(books: OpenBooks, ask: Ask) -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    add_plan(books, now)
    add_account(books, now, "shop")
    with books() as session:
        changes = {"plan": "home", "cycle_day": 31}
        recurring.change(session, username="shop", changes=changes, now=now, time_zone="Europe/Berlin")
    run(books, datetime(2026, 12, 31, 12, tzinfo=UTC))
    rows = ask("SELECT began_on, begins_at, ends_at FROM billing.billing_cycle ORDER BY began_on")
    assert [row["began_on"].day for row in rows] == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    assert [row["ends_at"] for row in rows[:-1]] == [row["begins_at"] for row in rows[1:]]
    assert {row["begins_at"].hour for row in rows} == {22, 23}


def test_r12_a_cycle_keeps_the_plan_it_began_with(books: OpenBooks, ask: Ask, office: int) -> None:
    run(books, NOW)
    add_plan(books, NOW, "fast", price=Money(5000_00, "KES"), quota_octets=None)
    with books() as session:
        recurring.change(session, username="office", changes={"plan": "fast"}, now=NOW, time_zone="UTC")
    run(books, NOW + timedelta(days=30))
    assert [amount for _, _, amount, *_ in bills(ask)] == [PRICE, 5000_00]
    assert [given["quota_octets"] for given in grants(ask)] == [30 * GIB, None]


def test_r24_a_plan_that_recurs_no_more_is_not_billed_again(books: OpenBooks, ask: Ask, office: int) -> None:
    run(books, NOW)
    for plan, days in ((None, 1), ("home", 2)):
        with books() as session:
            at = NOW + timedelta(days=days)
            found = recurring.change(
                session, username="office", changes={"plan": plan}, now=at, time_zone="UTC"
            )
            assert found is not None
            assert found.next_cycle_on == (None if plan is None else date(2026, 12, 10)), (
                "what is billed is kept"
            )


def test_r24_nothing_is_billed_of_who_may_not_log_in_and_then_the_rest_of_the_cycle(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    run(books, NOW)
    with books() as session:
        accounts.disable(session, username="office", now=NOW)
    for day in (31, 62, 70):
        run(books, NOW + timedelta(days=day))
    assert len(bills(ask)) == 1
    with books() as session:
        accounts.enable(session, username="office")
    run(books, datetime(2027, 1, 25, 5, tzinfo=UTC))
    assert [(began, amount) for _, began, amount, *_ in bills(ask)][1:] == [
        ("2027-01-25", PRICE - PRICE * 15 // 31)
    ]
    run(books, datetime(2027, 2, 11, tzinfo=UTC))
    assert bills(ask)[-1][1] == "2027-02-10", "the payment date is where it was"


def test_r24_a_run_ahead_of_its_time_is_refused_but_may_be_tried(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    ahead = NOW + timedelta(days=100)
    with pytest.raises(Refused, match="before its day"):
        run(books, NOW, until=ahead)
    report = run(books, NOW, until=ahead, dry_run=True)
    assert (report.counts["cycle"], report.counts["billed"]) == (4, 4)
    assert {line.username for line in report.lines} == {"office"}
    assert ask("SELECT 1 FROM billing.invoice") == ask("SELECT 1 FROM billing.event") == []


def test_r24_a_run_until_a_day_opens_no_cycle_that_begins_with_its_end(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    run(books, NOW + timedelta(days=90), until=nairobi("2026-12-10"))
    assert [began for _, began, *_ in bills(ask)] == ["2026-11-10"]


def test_two_runs_at_once_are_refused(books: OpenBooks, office: int) -> None:
    with books() as session:
        session.execute(billing_run._TRY_LOCK)
        with pytest.raises(Refused, match="under way"):
            run(books, NOW)


def test_r24_a_void_bill_is_taken_back_and_what_it_was_for_stays(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    run(books, NOW)
    with books() as session:
        (found,) = invoices.search(session, reference="office", now=NOW)
        invoices.void(session, invoice_id=found.invoice_id, reason="goodwill", now=NOW, voided_by="desk")
        assert ledger.balance(session, office, "KES") == Money(0, "KES")
    assert [given["expires_at"] for given in grants(ask)] == [nairobi("2026-12-10")]
    with pytest.raises(Refused, match="is void"), books() as session:
        invoices.void(session, invoice_id=found.invoice_id, reason="again", now=NOW, voided_by="desk")
    run(books, NOW + timedelta(days=20))
    assert ask("SELECT status FROM billing.account") == [{"status": "active"}]


def test_r18_r24_what_only_a_monthly_account_has_is_refused_to_others_with_the_reason(
    books: OpenBooks,
) -> None:
    add_plan(books, NOW)
    add_account(books, NOW, "student", AccountKind.PREPAID)
    for changes, rule, word in (
        ({"automatic_topup": True}, "R18", "automatic top-up"),
        ({"plan": "home"}, "R24", "recurring plan"),
        ({"automatic_bill": True}, "R23", "automatic bill"),
        ({"profile": recurring.Profile.MONTHLY}, "R24", "monthly profile"),
    ):
        with pytest.raises(Refused, match=word) as caught, books() as session:
            recurring.change(session, username="student", changes=changes, now=NOW, time_zone="UTC")
        assert caught.value.rule == rule
    with pytest.raises(Refused, match="monthly accounts only") as caught:
        monthly.terms(kinds=tuple(AccountKind), rolls_over=True)
    assert caught.value.rule == "R18"


def test_a_profile_cannot_begin_in_the_past_or_hold_nonsense(books: OpenBooks, office: int) -> None:
    for changes, field in (
        ({"payment_terms_days": 366}, "payment_terms_days"),
        ({"cycle_day": 32}, "cycle_day"),
        ({"plan": "nope"}, "plan"),
        ({"colour": 1}, "colour"),
    ):
        with pytest.raises(InvalidValue) as caught, books() as session:
            recurring.change(session, username="office", changes=changes, now=NOW, time_zone="UTC")
        assert caught.value.field == field
    with pytest.raises(Refused, match="stay where they are"), books() as session:
        recurring.change(
            session, username="office", changes={"begins_on": date(2026, 12, 1)}, now=NOW, time_zone="UTC"
        )


def test_an_unverified_customer_is_billed_from_the_day_of_verification(books: OpenBooks, ask: Ask) -> None:
    add_plan(books, NOW)
    with books() as session:
        owner = customers.add(session, person=customers.Person("New"), now=NOW)
        login = accounts.Login("new", "secret-1", AccountKind.MONTHLY)
        accounts.add(session, login=login, customer=owner, now=NOW)
        recurring.change(session, username="new", changes={"plan": "home"}, now=NOW, time_zone="UTC")
    run(books, NOW + timedelta(hours=1))
    assert bills(ask) == []
    with books() as session:
        customers.verify(session, reference="new", now=NOW)
    run(books, NOW + timedelta(days=2))
    assert [began for _, began, *_ in bills(ask)] == ["2026-11-12"]


def test_the_bill_of_a_new_cycle_tells_packet_time_at_once(
    books: OpenBooks, office: int, listening: psycopg2.extensions.connection
) -> None:
    run(books, NOW)
    listening.poll()
    assert any('"office"' in (each.payload or "") for each in listening.notifies)


def _everything(ask: Ask) -> list[list[dict[str, Any]]]:
    tables = ("invoice", "billing_cycle", "billing_profile", "ledger_transaction", "ledger_posting", "event")
    found = [ask(f"SELECT * FROM billing.{table} ORDER BY 1, 2") for table in tables]
    return [
        *found,
        ask("SELECT * FROM radius.entitlement ORDER BY 1"),
        ask("SELECT * FROM billing.account ORDER BY 1"),
    ]
