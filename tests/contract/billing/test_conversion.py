"""R2: prepaid to monthly and back: what stays, what becomes of data, and that live sessions follow."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import accounts, conversion, sales
from billing.conversion import Conversion, Converted, Remainder
from billing.sales import Order
from herotill.errors import InvalidValue, Refused
from herotill.policy import ServicePolicy
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.monthly import GIB, PRICE, ZONE, add_account, add_plan, pay, run

NOW = datetime(2026, 11, 10, 5, 0, tzinfo=UTC)
SLOW = ServicePolicy(download_bits_per_second=1_000_000, upload_bits_per_second=1_000_000)
FAST = ServicePolicy(download_bits_per_second=9_000_000, upload_bits_per_second=9_000_000)


def convert(books: OpenBooks, username: str, to: AccountKind, remainder: Remainder, **more: Any) -> Converted:
    wanted = Conversion(username, to, remainder, "desk", **more)
    with books() as session:
        return conversion.convert(session, conversion=wanted, now=NOW + timedelta(days=3), time_zone=ZONE)


@pytest.fixture
def student(books: OpenBooks) -> int:
    """A prepaid account with half a gigabyte left, and a monthly plan to go to."""
    add_plan(books, NOW, "1gb", kinds=(AccountKind.PREPAID,), quota_octets=GIB, policy=SLOW)
    add_plan(books, NOW, "home", policy=FAST)
    owner = add_account(books, NOW, "student", AccountKind.PREPAID)
    with books() as session:
        sales.sell(session, order=Order("1gb", "student", "k1", "desk"), now=NOW)
        session.execute(text("UPDATE radius.entitlement SET used_input_octets = :half"), {"half": GIB // 2})
    return owner


def go_online(books: OpenBooks, nas_type: str) -> None:
    with books() as session:
        session.execute(
            text(
                "INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES ('192.0.2.0/24', 'n', :type, 's')"
            ),
            {"type": nas_type},
        )
        session.execute(
            text("""
                INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,
                                            calling_station_id, started_at, last_report_at)
                VALUES ('u', 'u', 'student', '192.0.2.1', 's1', '02-00', :now, :now)"""),
            {"now": NOW},
        )


def living(ask: Ask) -> list[str]:
    rows = ask("SELECT plan_name FROM radius.entitlement WHERE ended_at IS NULL ORDER BY entitlement_id")
    return [row["plan_name"] for row in rows]


def requests(ask: Ask) -> list[dict[str, Any]]:
    return ask("SELECT action, reason, changes FROM radius.coa_request ORDER BY coa_request_id")


@pytest.mark.parametrize(
    ("remainder", "left"), [(Remainder.KEEP, ["1gb", "home"]), (Remainder.DROP, ["home"])]
)
def test_r2_prepaid_becomes_monthly_and_data_is_kept_or_dropped_as_said(
    books: OpenBooks, ask: Ask, student: int, remainder: Remainder, left: list[str]
) -> None:
    before = ask("SELECT account_id, username, secret, created_at, customer_id FROM billing.account")
    done = convert(books, "student", AccountKind.MONTHLY, remainder, plan="home")

    assert (done.grants, done.remainder) == (1, remainder)
    assert ask("SELECT account_id, username, secret, created_at, customer_id FROM billing.account") == before
    assert ask("SELECT kind, cycle_day FROM billing.account") == [{"kind": "monthly", "cycle_day": 13}]
    assert ask("SELECT kind, status FROM radius.managed_account") == [{"kind": "monthly", "status": "active"}]
    assert len(ask("SELECT 1 FROM billing.purchase")) == 1, "history stays"
    assert living(ask) == left
    assert ask("SELECT amount_minor FROM billing.invoice") == [{"amount_minor": PRICE}]


@pytest.mark.parametrize(("remainder", "left"), [(Remainder.KEEP, ["home"]), (Remainder.DROP, [])])
def test_r2_monthly_becomes_prepaid_and_is_billed_no_more(
    books: OpenBooks, ask: Ask, student: int, remainder: Remainder, left: list[str]
) -> None:
    convert(books, "student", AccountKind.MONTHLY, Remainder.DROP, plan="home")
    pay(books, student, PRICE, NOW)
    convert(books, "student", AccountKind.PREPAID, remainder)
    assert living(ask) == left
    run(books, NOW + timedelta(days=100))
    assert len(ask("SELECT 1 FROM billing.invoice")) == 1
    assert ask("SELECT kind, cycle_day, plan_policy FROM billing.account") == [
        {"kind": "prepaid", "cycle_day": None, "plan_policy": {}}
    ]
    with books() as session:
        sales.sell(session, order=Order("1gb", "student", "k2", "desk"), now=NOW)


def test_r2_a_session_gets_the_new_rates_by_coa_where_its_router_can(
    books: OpenBooks, ask: Ask, student: int
) -> None:
    go_online(books, "mikrotik")
    done = convert(books, "student", AccountKind.MONTHLY, Remainder.DROP, plan="home")
    assert done.sessions == 1
    assert requests(ask) == [
        {"action": "coa", "reason": "converted", "changes": {"Mikrotik-Rate-Limit": "9000000/9000000"}}
    ]


def test_r2_a_session_reconnects_where_its_router_cannot(books: OpenBooks, ask: Ask, student: int) -> None:
    go_online(books, "other")
    with books() as session:
        accounts.edit_policy(session, username="student", policy={"address_pool": "home"})
    convert(books, "student", AccountKind.MONTHLY, Remainder.DROP)
    assert requests(ask) == [{"action": "disconnect", "reason": "converted", "changes": {}}]


def test_r2_a_session_without_data_left_is_cut(books: OpenBooks, ask: Ask, student: int) -> None:
    convert(books, "student", AccountKind.MONTHLY, Remainder.DROP)
    go_online(books, "mikrotik")
    convert(books, "student", AccountKind.PREPAID, Remainder.DROP)
    assert requests(ask) == [{"action": "disconnect", "reason": "converted", "changes": {}}]


def test_r2_a_session_whose_service_stays_is_left_alone(books: OpenBooks, ask: Ask, student: int) -> None:
    go_online(books, "mikrotik")
    assert convert(books, "student", AccountKind.MONTHLY, Remainder.KEEP).sessions == 0
    assert requests(ask) == []


def test_r2_what_cannot_be_converted_is_refused_and_nothing_changes(
    books: OpenBooks, ask: Ask, student: int
) -> None:
    with books() as session:
        accounts.add(session, login=accounts.Login("guest", "secret-1", AccountKind.HOTSPOT), now=NOW)
    before = ask("SELECT * FROM billing.account ORDER BY account_id")
    for username, to, more, error in (
        ("guest", AccountKind.MONTHLY, {}, Refused),
        ("student", AccountKind.PREPAID, {}, Refused),
        ("student", AccountKind.HOTSPOT, {}, Refused),
        ("student", AccountKind.MONTHLY, {"plan": "1gb"}, Refused),
        ("student", AccountKind.MONTHLY, {"plan": "nope"}, InvalidValue),
        ("student", AccountKind.MONTHLY, {"cycle_day": 32}, InvalidValue),
        ("nobody", AccountKind.MONTHLY, {}, InvalidValue),
    ):
        with pytest.raises(error):
            convert(books, username, to, Remainder.DROP, **more)
    assert ask("SELECT * FROM billing.account ORDER BY account_id") == before
    assert living(ask) == ["1gb"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.tuples(st.sampled_from(Remainder), st.booleans()), min_size=1, max_size=5))
def test_r2_any_history_of_conversions_keeps_or_drops_exactly_as_said(
    books: OpenBooks, engine: Any, history: list[tuple[Remainder, bool]]
) -> None:
    with Session(engine) as session:  # rolled back: every history begins anew
        inside = _within(session)
        add_plan(inside, NOW, "home", policy=FAST)
        add_plan(inside, NOW, "any", kinds=tuple(AccountKind), policy=SLOW)
        add_account(inside, NOW, "student", AccountKind.PREPAID)
        expected, kind = 0, AccountKind.PREPAID
        for number, (remainder, buys) in enumerate(history):
            if buys:
                sales.sell(session, order=Order("any", "student", f"k{number}", "desk"), now=NOW)
                expected += 1
            kind = AccountKind.MONTHLY if kind is AccountKind.PREPAID else AccountKind.PREPAID
            done = conversion.convert(
                session, conversion=Conversion("student", kind, remainder, "desk"), now=NOW, time_zone=ZONE
            )
            assert done.grants == expected
            expected = expected if remainder is Remainder.KEEP else 0
            assert conversion.living_grants(session, "student") == expected
            assert accounts.get(session, "student").secret == "secret-1"


def _within(session: Session) -> OpenBooks:
    @contextmanager
    def open_savepoint() -> Iterator[Session]:
        with session.begin_nested():
            yield session

    return open_savepoint
