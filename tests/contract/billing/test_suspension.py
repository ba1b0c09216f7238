"""R24 and R23: who is suspended, who is not, and how a payment or a purchase ends it."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import text

from billing import accounts, invoices, recurring, sales, suspension
from billing.recurring import Profile
from billing.sales import Order
from herotill.decision import Accept, LoginRequest, Reject, decide
from herotill.errors import Refused
from herotill.policy import Ending, ServicePolicy
from herotill.quantities import Money
from herotill.reasons import Reason
from herotill.snapshot import AccountKind, snapshot_from_json
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.monthly import GIB, PRICE, add_account, add_plan, pay, run

NOW = datetime(2026, 11, 10, 5, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=8)  # the payment date of a cycle that begins today has passed
SIXTEEN = list(product((False, True), repeat=4))


def login(ask: Ask, username: str, now: datetime) -> Accept | Reject | object:
    (row,) = ask("SELECT radius.account_snapshot(:username) AS snapshot", username=username)
    return decide(LoginRequest(username, login_id="1"), snapshot_from_json(row["snapshot"]), now)


def statuses(ask: Ask) -> dict[str, tuple[str, str | None]]:
    rows = ask("SELECT username, status, suspended_reason FROM billing.account")
    return {row["username"]: (row["status"], row["suspended_reason"]) for row in rows}


def go_online(books: OpenBooks, username: str) -> None:
    with books() as session:
        session.execute(
            text("""
                INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,
                                            calling_station_id, started_at, last_report_at)
                VALUES (:name, :name, :name, '192.0.2.1', :name, '02-00', :now, :now)"""),
            {"name": username, "now": NOW},
        )


def cuts(ask: Ask) -> list[tuple[str, str, str]]:
    rows = ask("SELECT username, action, reason FROM radius.coa_request ORDER BY coa_request_id")
    return [(row["username"], row["action"], row["reason"]) for row in rows]


@pytest.mark.parametrize("order", [SIXTEEN, SIXTEEN[::-1]], ids=["forwards", "backwards"])
def test_r24_of_all_sixteen_combinations_one_is_suspended(
    books: OpenBooks, ask: Ask, order: list[tuple[bool, ...]]
) -> None:
    for number, (expired, has_bill, passed, automatic) in enumerate(order):
        name = f"u{number}"
        add_account(books, NOW, name, automatic_suspend=automatic)
        with books() as session:
            if not expired:
                session.execute(
                    text("""INSERT INTO radius.entitlement (external_key, username, source, plan_name, policy, granted_at,
                            expires_at) VALUES (:name, :name, 'topup', 'x', '{}', :now, :end)"""),
                    {"name": name, "now": NOW, "end": LATER + timedelta(days=1)},
                )
            due_at = LATER - timedelta(days=1) if passed else LATER + timedelta(days=1)
            made = invoices.bill(
                session, username=name, amount=Money(1, "KES"), due_at=due_at, now=NOW, billed_by="desk"
            )
            made.paid_at = None if has_bill else NOW  # a bill that is paid is none
    report = run(books, LATER)
    suspended = [name for name, (status, _) in statuses(ask).items() if status == "suspended"]
    assert suspended == [f"u{number}" for number, facts in enumerate(order) if all(facts)]
    assert report.counts["suspended"] == 1
    with books() as session:
        for number, facts in enumerate(order):
            account = accounts.get(session, f"u{number}")
            arrears = suspension.arrears_of(session, account, LATER)
            expected = (facts[0], facts[1], facts[1] and facts[2], facts[3])
            assert expected == (
                arrears.has_expired,
                arrears.has_open_bill,
                arrears.payment_date_has_passed,
                arrears.automatic_suspend,
            )


@pytest.fixture
def office(books: OpenBooks) -> int:
    add_plan(books, NOW)
    return add_account(books, NOW, "office", plan="home")


def test_r24_the_unpaid_are_suspended_on_the_payment_date_connect_and_get_the_suspended_pool(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    run(books, NOW)
    go_online(books, "office")
    run(books, LATER - timedelta(hours=8, seconds=1))
    assert statuses(ask)["office"] == ("active", None)

    run(books, LATER)

    assert statuses(ask)["office"] == ("suspended", "unpaid-bill")
    answer = login(ask, "office", LATER)
    assert isinstance(answer, Accept)
    assert (answer.reason, answer.reply.address_pool) == (Reason.SUSPENDED_POOL, "walled-garden")
    assert cuts(ask) == [("office", "disconnect", "suspended")]
    assert ask("SELECT payload FROM billing.event WHERE kind = 'account.suspended'") == [
        {"payload": {"user": "office", "reason": "unpaid-bill"}}
    ]


def test_r24_a_payment_ends_the_suspension_at_once_and_the_cycle_stays(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    run(books, NOW)
    run(books, LATER)
    go_online(books, "office")
    settled = pay(books, office, PRICE, LATER + timedelta(days=2))

    assert (len(settled.paid), settled.resumed) == (1, ("office",))
    assert statuses(ask)["office"] == ("active", None)
    (given,) = ask("SELECT expires_at, ended_at FROM radius.entitlement")
    assert (given["expires_at"], given["ended_at"]) == (datetime(2026, 12, 9, 21, tzinfo=UTC), None)
    assert cuts(ask) == [("office", "disconnect", "resumed")]
    assert run(books, LATER + timedelta(days=3)).counts == {}


def test_r24_what_ended_on_the_payment_date_lives_again_with_what_is_left_of_it(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    run(books, NOW)
    with books() as session:
        session.execute(
            text("""UPDATE radius.entitlement SET used_input_octets = :used, ended_at = expires_at,
                    ended_reason = 'expiry'"""),
            {"used": GIB},
        )
    pay(books, office, PRICE, LATER)
    (given,) = ask("SELECT used_octets, ended_at, ended_reason FROM radius.entitlement")
    assert tuple(given.values()) == (GIB, None, None)


def test_r24_too_little_money_ends_nothing(books: OpenBooks, ask: Ask, office: int) -> None:
    run(books, NOW)
    run(books, LATER)
    assert pay(books, office, PRICE - 1, LATER).resumed == ()
    assert statuses(ask)["office"][0] == "suspended"


def test_r24_a_new_payment_date_keeps_from_suspension(books: OpenBooks, ask: Ask, office: int) -> None:
    run(books, NOW)
    with books() as session:
        (found,) = invoices.search(session, reference="office", now=NOW)
        invoices.postpone(session, invoice_id=found.invoice_id, due_at=LATER + timedelta(days=5), now=NOW)
    run(books, LATER)
    assert statuses(ask)["office"] == ("active", None)
    run(books, LATER + timedelta(days=6))
    assert statuses(ask)["office"] == ("suspended", "unpaid-bill")


def test_r24_without_automatic_suspend_the_cycle_is_given_to_its_end(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    with books() as session:
        recurring.change(
            session, username="office", changes={"automatic_suspend": False}, now=NOW, time_zone="UTC"
        )
    run(books, NOW)
    run(books, LATER)
    assert statuses(ask)["office"] == ("active", None)
    assert ask("SELECT expires_at FROM radius.entitlement") == [
        {"expires_at": datetime(2026, 12, 9, 21, tzinfo=UTC)}
    ]


def test_r24_a_suspension_for_another_reason_is_not_ended_by_money(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    with books() as session:
        suspension.suspend(session, username="office", reason="moved away", now=NOW)
    pay(books, office, PRICE, NOW)
    run(books, LATER)
    assert statuses(ask)["office"] == ("suspended", "moved away")


# ---------------------------------------------------------------- the daily profile


@pytest.fixture
def daily(books: OpenBooks) -> None:
    """A prepaid account with the daily profile, and a plan of an hour from the first use."""
    policy = ServicePolicy(at_expiry=Ending.POOL, restricted_pool="slow", suspended_pool="walled-garden")
    add_plan(books, NOW, "hour", kinds=(AccountKind.PREPAID,), seconds_after_first_use=3600, policy=policy)
    add_plan(books, NOW, "day", kinds=(AccountKind.PREPAID,), seconds_after_purchase=86_400, policy=policy)
    add_account(books, NOW, "dora", AccountKind.PREPAID, profile=Profile.DAILY)


def buy(books: OpenBooks, plan: str, now: datetime) -> None:
    with books() as session:
        sales.sell(session, order=Order(plan, "dora", f"{plan}-{now}", "desk"), now=now)


def test_r23_a_daily_account_counts_minutes_from_the_purchase_and_gets_no_bill(
    books: OpenBooks, ask: Ask, daily: None
) -> None:
    buy(books, "hour", NOW)
    (given,) = ask("SELECT expires_at, seconds_after_first_use FROM radius.entitlement")
    assert tuple(given.values()) == (NOW + timedelta(hours=1), None)
    run(books, NOW + timedelta(minutes=59))
    assert statuses(ask)["dora"] == ("active", None)
    assert ask("SELECT 1 FROM billing.invoice") == []


def test_r23_at_the_end_it_is_suspended_and_cannot_connect_until_it_buys(
    books: OpenBooks, ask: Ask, daily: None
) -> None:
    buy(books, "hour", NOW)
    end = NOW + timedelta(hours=1)
    assert login(ask, "dora", end) == Reject(Reason.EXPIRED), "to the second, whatever the plan says"
    run(books, end)
    assert statuses(ask)["dora"] == ("suspended", "expired")
    assert login(ask, "dora", end) == Reject(Reason.SUSPENDED)

    buy(books, "day", end + timedelta(days=3))

    assert statuses(ask)["dora"] == ("active", None)
    assert not isinstance(login(ask, "dora", end + timedelta(days=3)), Reject)
    run(books, end + timedelta(days=3, hours=1))
    assert statuses(ask)["dora"] == ("active", None)


def test_r23_it_may_change_its_plan_online(books: OpenBooks, ask: Ask, daily: None) -> None:
    buy(books, "hour", NOW)
    buy(books, "day", NOW + timedelta(minutes=1))
    run(books, NOW + timedelta(hours=2))
    assert statuses(ask)["dora"] == ("active", None)
    run(books, NOW + timedelta(hours=25))
    assert statuses(ask)["dora"] == ("suspended", "expired")


def test_r23_who_has_bought_nothing_yet_is_not_suspended(books: OpenBooks, ask: Ask, daily: None) -> None:
    run(books, NOW)
    assert statuses(ask)["dora"] == ("active", None)


def test_r23_the_daily_profile_is_for_prepaid_accounts(books: OpenBooks, office: int) -> None:
    changes: dict[str, Any] = {"profile": Profile.DAILY}
    with pytest.raises(Refused, match="account convert") as caught, books() as session:
        recurring.change(session, username="office", changes=changes, now=NOW, time_zone="UTC")
    assert caught.value.rule == "R23"
