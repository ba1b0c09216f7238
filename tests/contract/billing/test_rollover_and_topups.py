"""R18: what a cycle leaves is usable in the next one, and a cycle tops itself up as far as the balance allows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing import credit, customers, plans, recurring
from herotill.credit import CreditLine
from herotill.errors import InvalidValue
from herotill.quantities import Money
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.monthly import GIB, PRICE, add_account, add_plan, pay, run, use

NOW = datetime(2026, 11, 10, 5, 0, tzinfo=UTC)
NEXT = NOW + timedelta(days=30)
TOPUP = 500_00


def grants(ask: Ask) -> list[tuple[Any, ...]]:
    rows = ask("""SELECT external_key, plan_name, quota_octets, expires_at FROM radius.entitlement
                  ORDER BY entitlement_id""")
    return [tuple(row.values()) for row in rows]


def key(ask: Ask, began_on: str, word: str = "cycle") -> str:
    (row,) = ask("SELECT account_id FROM billing.account")
    return f"{word}:{row['account_id']}:{began_on}"


def test_r18_unused_data_rolls_over_once_and_burns_first(books: OpenBooks, ask: Ask) -> None:
    add_plan(books, NOW, rolls_over=True)
    owner = add_account(books, NOW, "office", plan="home")
    pay(books, owner, 3 * PRICE, NOW)
    run(books, NOW)
    use(books, key(ask, "2026-11-10"), 12 * GIB)

    assert run(books, NEXT).counts["rolled over"] == 1

    end = datetime(2027, 1, 9, 21, tzinfo=UTC)
    assert grants(ask)[1:] == [
        (key(ask, "2026-12-10", "rollover"), "home (rolled over)", 18 * GIB, end),
        (key(ask, "2026-12-10"), "home", 30 * GIB, end),
    ]
    run(books, NEXT + timedelta(days=31))
    assert [quota for _, _, quota, _ in grants(ask)[3:]] == [30 * GIB, 30 * GIB], (
        "what rolled over does not again"
    )


def test_r18_nothing_rolls_over_where_the_plan_does_not_say_so_or_nothing_is_left(
    books: OpenBooks, ask: Ask
) -> None:
    add_plan(books, NOW)
    add_plan(books, NOW, "rolling", rolls_over=True)
    add_account(books, NOW, "office", plan="home")
    run(books, NOW)
    with books() as session:
        recurring.change(session, username="office", changes={"plan": "rolling"}, now=NOW, time_zone="UTC")
    assert run(books, NEXT).counts["rolled over"] == 0
    use(books, key(ask, "2026-12-10"), 30 * GIB, NEXT)
    assert run(books, NEXT + timedelta(days=31)).counts["rolled over"] == 0


def test_r18_an_unlimited_plan_leaves_nothing_to_roll_over(books: OpenBooks) -> None:
    add_plan(books, NOW, rolls_over=True, quota_octets=None)
    add_account(books, NOW, "office", plan="home")
    run(books, NOW)
    assert run(books, NEXT).counts["rolled over"] == 0


def test_r18_time_rolls_over_too(books: OpenBooks, ask: Ask) -> None:
    add_plan(books, NOW, rolls_over=True, quota_octets=None, quota_seconds=3600)
    add_account(books, NOW, "office", plan="home")
    run(books, NOW)
    run(books, NEXT)
    rolled = ask(
        "SELECT quota_octets, quota_seconds FROM radius.entitlement WHERE external_key LIKE 'rollover%'"
    )
    assert rolled == [{"quota_octets": None, "quota_seconds": 3600}]


@pytest.fixture
def office(books: OpenBooks) -> int:
    """A customer with a paid cycle whose plan tops itself up twice at most."""
    add_plan(books, NOW, "5gb", price=Money(TOPUP, "KES"), quota_octets=5 * GIB, ends_with_cycle=True)
    add_plan(books, NOW, topup_plan="5gb", topups_max=2, rolls_over=True)
    owner = add_account(books, NOW, "office", plan="home")
    pay(books, owner, PRICE, NOW)
    run(books, NOW)
    return owner


def test_r18_a_top_up_is_sold_when_the_data_is_used_up_and_the_balance_allows(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    pay(books, office, TOPUP, NOW)
    assert run(books, NOW).counts == {}
    use(books, key(ask, "2026-11-10"), 30 * GIB, NOW)

    report = run(books, NOW)

    assert report.counts == {"topped up": 1}
    assert grants(ask)[-1][1:] == ("5gb", 5 * GIB, datetime(2026, 12, 9, 21, tzinfo=UTC))
    assert run(books, NOW).counts == {}, "once"
    assert ask("SELECT plan_policy ->> 'suspended_pool' AS pool FROM billing.account") == [
        {"pool": "walled-garden"}
    ]


def test_r18_a_top_up_the_balance_does_not_allow_waits_for_a_payment(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    use(books, key(ask, "2026-11-10"), 30 * GIB, NOW)
    assert run(books, NOW).counts == {"top-up refused": 1}
    assert run(books, NOW).counts == {}
    (told,) = ask("SELECT payload FROM billing.event WHERE kind = 'topup.refused'")
    assert "0.00 KES" in told["payload"]["reason"]
    assert "500.00 KES" in told["payload"]["reason"]
    pay(books, office, TOPUP, NOW)
    assert run(books, NOW).counts == {"topped up": 1}


def test_r18_credit_allows_a_top_up(books: OpenBooks, ask: Ask, office: int) -> None:
    with books() as session:
        owner = customers.get(session, "office")
        line = CreditLine(Money(TOPUP, "KES"), 86_400)
        credit.grant(session, customer=owner, line=line, now=NOW, granted_by="desk")
    use(books, key(ask, "2026-11-10"), 30 * GIB, NOW)
    assert run(books, NOW).counts == {"topped up": 1}


def test_r18_no_more_top_ups_than_the_plan_says_and_what_they_leave_rolls_over(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    pay(books, office, 6 * TOPUP + PRICE, NOW)
    for used in ("2026-11-10", None):
        last = grants(ask)[-1]
        use(books, key(ask, used) if used else last[0], last[2], NOW)
        assert run(books, NOW).counts == {"topped up": 1}
    use(books, grants(ask)[-1][0], GIB)
    run(books, NEXT)
    assert [(name, quota) for _, name, quota, _ in grants(ask)[3:]] == [
        ("5gb (rolled over)", 4 * GIB),
        ("home", 30 * GIB),
    ]
    for _ in range(3):
        with books() as session:
            session.connection().exec_driver_sql(
                "UPDATE radius.entitlement SET ended_at = now(), ended_reason = 'quota' WHERE ended_at IS NULL"
            )
        run(books, NEXT)
    assert ask("SELECT count(*) FROM billing.cycle_topup WHERE began_on = '2026-12-10'") == [{"count": 2}]


def test_r18_an_account_may_do_without(books: OpenBooks, ask: Ask, office: int) -> None:
    pay(books, office, TOPUP, NOW)
    with books() as session:
        recurring.change(
            session, username="office", changes={"automatic_topup": False}, now=NOW, time_zone="UTC"
        )
    use(books, key(ask, "2026-11-10"), 30 * GIB, NOW)
    assert run(books, NOW).counts == {}


def test_r18_a_top_up_plan_must_be_one_that_monthly_accounts_may_buy(books: OpenBooks) -> None:
    with pytest.raises(InvalidValue) as caught:
        add_plan(books, NOW, topup_plan="nope")
    assert caught.value.field == "plan"
    add_plan(books, NOW, "5gb")
    with books() as session:
        assert plans.get(session, "5gb").topup_plan is None
