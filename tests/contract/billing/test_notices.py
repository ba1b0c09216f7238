"""Notices as events: marks of use, ends that come near, balances that run low (rule R21)."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing import accounts, customers, ledger, notices
from billing.access_events import book_access_events
from billing.customers import Person
from billing.ledger import Entry
from herotill.errors import InvalidValue
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import Ask, OpenBooks

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
GIVE = """
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, policy, granted_at, expires_at, quota_octets)
    VALUES (:key, 'student-1', :source, '1g', '{}', :granted_at, :expires_at, 1000) RETURNING entitlement_id
"""
PASS_MARK = """
    INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at, details)
    VALUES ('notice:1:80', 'usage_notice', 'student-1', 1, :now,
            '{"percent": 80, "superseded_by": null, "plan_name": "1g", "remaining_octets": 204, "remaining_seconds": 60}')
"""
EVENTS = "SELECT kind, event_key, customer_id, payload FROM billing.event ORDER BY event_id"


@pytest.fixture
def customer_id(books: OpenBooks, ask: Ask, now: datetime) -> int:
    """A verified customer with the account student-1; reminders have looked at everything up to now."""
    ask("UPDATE billing.expiry_reminder SET reminded_until = :now", now=now)
    with books() as session:
        customer = customers.add(session, person=Person("Student One"), now=now)
        accounts.add(session, login=accounts.Login("student-1", "secret-1"), customer=customer, now=now)
        customers.verify(session, reference="student-1", now=now)
        return customer.customer_id


def _give(ask: Ask, now: datetime, lasts: timedelta, key: str = "g1", source: str = "purchase") -> int:
    (row,) = ask(GIVE, key=key, source=source, granted_at=now, expires_at=now + lasts)
    return int(row["entitlement_id"])


def _remind(books: OpenBooks, at: datetime) -> int:
    with books() as session:
        return notices.remind_of_ends(session, at)


def _told(ask: Ask) -> list[tuple[Any, ...]]:
    return [(row["kind"], row["payload"]["lead_seconds"]) for row in ask(EVENTS)]


# -- use


def test_r21_a_mark_the_meter_saw_becomes_an_event_once(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int
) -> None:
    ask(PASS_MARK, now=now)
    for _ in range(2):
        with books() as session:
            book_access_events(session, now)
    (event,) = ask(EVENTS)
    assert (event["kind"], event["event_key"], event["customer_id"]) == (
        "notice.usage",
        "notice:1:80",
        customer_id,
    )
    assert event["payload"]["percent"] == 80
    assert event["payload"]["remaining"] == "204 B and 1m"


# -- ends


def test_r21_who_has_a_day_left_is_reminded_once(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int
) -> None:
    grant_id = _give(ask, now, 3 * DAY)
    assert _remind(books, now + 2 * DAY - HOUR) == 0
    assert _remind(books, now + 2 * DAY) == 1
    assert _remind(books, now + 2 * DAY + HOUR) == 0
    assert _remind(books, now + 4 * DAY) == 0
    (event,) = ask(EVENTS)
    assert event["event_key"].startswith(f"expiry:{grant_id}:86400:")
    assert (event["kind"], event["customer_id"]) == ("notice.expiry", customer_id)
    assert event["payload"]["remaining"] == "1000 B"


def test_r21_what_lasts_no_longer_than_the_reminder_is_not_reminded(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int
) -> None:
    _give(ask, now, HOUR)
    _give(ask, now, DAY, key="g2")
    assert _remind(books, now + HOUR / 2) == 0
    assert _remind(books, now + DAY - HOUR) == 0


def test_r21_an_end_that_is_moved_is_reminded_of_again(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int
) -> None:
    _give(ask, now, 3 * DAY)
    assert _remind(books, now + 2 * DAY) == 1
    ask("UPDATE radius.entitlement SET expires_at = :later", later=now + 9 * DAY)
    assert _remind(books, now + 3 * DAY) == 0
    assert _remind(books, now + 8 * DAY) == 1


def test_r21_after_a_pause_the_nearest_reminder_alone_is_given(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int
) -> None:
    with books() as session:
        notices.set_leads(session, [86_400, 3 * 86_400], now)
    _give(ask, now, 10 * DAY)
    _give(ask, now, 12 * DAY, key="g2")
    assert _remind(books, now + 9 * DAY + HOUR) == 2
    assert _told(ask) == [("notice.expiry", 86_400), ("notice.expiry", 3 * 86_400)]


@pytest.mark.parametrize("spoil", ["ended", "allocation", "monthly", "disabled reminders"])
def test_r21_who_needs_no_reminder_gets_none(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int, spoil: str
) -> None:
    _give(ask, now, 3 * DAY, source="allocation" if spoil == "allocation" else "purchase")
    if spoil == "ended":
        ask("UPDATE radius.entitlement SET ended_at = :now, ended_reason = 'quota'", now=now)
    if spoil == "monthly":
        ask("UPDATE billing.account SET kind = :kind, cycle_day = 1", kind=str(AccountKind.MONTHLY))
    if spoil == "disabled reminders":
        with books() as session:
            notices.set_leads(session, [], now)
    assert _remind(books, now + 2 * DAY) == 0


def test_r21_two_daemons_remind_once(books: OpenBooks, ask: Ask, now: datetime, customer_id: int) -> None:
    _give(ask, now, 3 * DAY)
    together = threading.Barrier(4)

    def run() -> None:
        together.wait()
        _remind(books, now + 2 * DAY)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ask(EVENTS)) == 1


# -- balances


def _post(books: OpenBooks, now: datetime, customer_id: int, minor: int, key: str) -> None:
    with books() as session:
        entry, amount = Entry(key, "test", now, "desk"), Money(abs(minor), "KES")
        if minor > 0:
            ledger.post_payment(session, entry, amount, customer_id)
        else:
            ledger.post_sale(session, entry, amount, customer_id)


def _look(books: OpenBooks, now: datetime) -> int:
    with books() as session:
        return notices.remind_of_low_balances(session, now)


def test_r21_a_balance_that_falls_below_its_mark_is_told_of_once_until_it_rises(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int
) -> None:
    with books() as session:
        notices.set_low_balance(session, Money(5000, "KES"))
    steps = [(9000, 0), (-4000, 0), (-1, 1), (-1000, 1), (+1001, 1), (-500, 2), (-500, 2)]
    for number, (minor, told) in enumerate(steps):
        _post(books, now, customer_id, minor, f"k{number}")
        assert _look(books, now + timedelta(seconds=number)) == 1
        assert len(ask(EVENTS)) == told, steps[: number + 1]
    first = ask(EVENTS)[0]
    assert (first["kind"], first["customer_id"]) == ("notice.low_balance", customer_id)
    assert first["payload"] == {"currency": "KES", "balance_minor": 4999, "mark_minor": 5000}
    assert ask("SELECT 1 FROM billing.balance_change") == []


def test_r21_without_a_mark_nobody_looks_at_balances(
    books: OpenBooks, ask: Ask, now: datetime, customer_id: int
) -> None:
    with books() as session:
        notices.set_low_balance(session, Money(5000, "USD"))
    _post(books, now, customer_id, -4000, "k1")
    assert ask("SELECT 1 FROM billing.balance_change") == []
    with books() as session:
        notices.set_low_balance(session, Money(0, "USD"))
        assert notices.settings(session).low_balances == ()


@pytest.mark.parametrize("seconds", [0, -5, 59])
def test_r21_an_impossible_lead_is_refused(books: OpenBooks, now: datetime, seconds: int) -> None:
    with pytest.raises(InvalidValue, match="before-expiry"), books() as session:
        notices.set_leads(session, [seconds], now)
