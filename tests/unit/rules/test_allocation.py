"""Rule R17: a verified prepaid member's allocation, exactly once a period, whatever the calendar and the logins do."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.allocation import (
    GroupAllocation,
    Period,
    allocation_due,
    allocation_from_row,
    period_at,
)
from herotill.decision import Accept, GrantAllocation, LoginRequest, Prepare, Reject, StartFirstUse, decide
from herotill.grants import Grant
from herotill.policy import ServicePolicy, Sharing
from herotill.reasons import Reason
from herotill.snapshot import AccountKind, AccountSnapshot, AccountStatus
from tests.unit.rules.build import INSTANT, NOW, account, at, grant

TERMS = (date(2026, 9, 1), date(2027, 2, 1), date(2026, 2, 1))


def allocation(period: Period = Period.MONTH, time_zone: str = "UTC", **changes: Any) -> GroupAllocation:
    terms = TERMS if period is Period.TERM else ()
    return GroupAllocation(
        "hostel-a", period, time_zone, ServicePolicy(), **({"term_starts": terms} | changes)
    )


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[misc,arg-type]


NO_KEYS = frozenset[str]()

# -- which period, and when it ends


@pytest.mark.parametrize(
    ("period", "zone", "now", "key", "until"),
    [
        (Period.DAY, "UTC", utc(2026, 11, 22), "2026-11-22", utc(2026, 11, 23)),
        (Period.WEEK, "UTC", utc(2026, 11, 22, 23, 59, 59), "2026-11-16", utc(2026, 11, 23)),
        (Period.WEEK, "UTC", utc(2026, 11, 23), "2026-11-23", utc(2026, 11, 30)),
        (Period.MONTH, "UTC", utc(2026, 11, 30, 23, 59, 59), "2026-11-01", utc(2026, 12, 1)),
        (Period.MONTH, "UTC", utc(2026, 12, 1), "2026-12-01", utc(2027, 1, 1)),
        (Period.MONTH, "UTC", utc(2027, 1, 31), "2027-01-01", utc(2027, 2, 1)),
        (Period.MONTH, "UTC", utc(2027, 2, 28, 23), "2027-02-01", utc(2027, 3, 1)),
        (Period.MONTH, "UTC", utc(2028, 2, 29, 23), "2028-02-01", utc(2028, 3, 1)),
        (Period.TERM, "UTC", utc(2026, 2, 1), "2026-02-01", utc(2026, 9, 1)),
        (Period.TERM, "UTC", utc(2026, 8, 31, 23), "2026-02-01", utc(2026, 9, 1)),
        (Period.TERM, "UTC", utc(2026, 9, 1), "2026-09-01", utc(2027, 2, 1)),
        (Period.TERM, "UTC", utc(2030, 1, 1), "2027-02-01", None),
        (Period.ONCE, "UTC", utc(2026, 11, 22), "once", None),
        # The group's own midnight, not ours.
        (Period.DAY, "Africa/Johannesburg", utc(2026, 11, 22, 22), "2026-11-23", utc(2026, 11, 23, 22)),
        (Period.MONTH, "America/New_York", utc(2026, 11, 1, 3), "2026-10-01", utc(2026, 11, 1, 4)),
        (Period.MONTH, "America/New_York", utc(2026, 11, 1, 4), "2026-11-01", utc(2026, 12, 1, 5)),
        # Days of 23 and of 25 hours.
        (Period.DAY, "Europe/Berlin", utc(2026, 3, 28, 23), "2026-03-29", utc(2026, 3, 29, 22)),
        (Period.DAY, "Europe/Berlin", utc(2026, 10, 24, 22), "2026-10-25", utc(2026, 10, 25, 23)),
        # A midnight that does not exist, and a day that does not.
        (Period.DAY, "Africa/Cairo", utc(2026, 4, 23, 21), "2026-04-23", utc(2026, 4, 23, 22)),
        (Period.DAY, "Pacific/Apia", utc(2011, 12, 30, 9), "2011-12-29", utc(2011, 12, 30, 10)),
        (Period.DAY, "Pacific/Apia", utc(2011, 12, 30, 10), "2011-12-31", utc(2011, 12, 31, 10)),
    ],
)
def test_r17_a_period_is_the_group_s_calendar_s(
    period: Period, zone: str, now: datetime, key: str, until: datetime | None
) -> None:
    due = allocation_due(allocation(period, zone), "student-1", NO_KEYS, now)
    assert due is not None
    assert due.key == f"allocation:hostel-a:student-1:{key}"
    assert due.until == until


def test_r17_before_the_first_term_nothing_is_due() -> None:
    assert allocation_due(allocation(Period.TERM), "student-1", NO_KEYS, utc(2026, 1, 31, 23)) is None


ZONES = ["UTC", "Europe/Berlin", "Africa/Cairo", "Pacific/Apia", "America/Havana", "America/Asuncion"]
ZONES += ["Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Kiritimati"]
moments = st.datetimes(datetime(2005, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
zones = st.sampled_from(ZONES)
repeating = st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH])


@given(repeating, zones, moments)
def test_r17_now_lies_in_its_period_and_the_next_begins_where_it_ends(
    period: Period, zone: str, now: datetime
) -> None:
    given_by = allocation(period, zone)
    due = allocation_due(given_by, "student-1", NO_KEYS, now)
    assert due is not None
    assert due.until is not None
    assert now < due.until
    before = allocation_due(given_by, "student-1", NO_KEYS, due.until - INSTANT)
    assert before == due
    after = allocation_due(given_by, "student-1", NO_KEYS, due.until)
    assert after is not None
    assert after.key > due.key


@given(repeating, zones, st.lists(moments, min_size=2, max_size=6))
def test_r17_later_never_means_an_earlier_period(period: Period, zone: str, when: list[datetime]) -> None:
    spans = [period_at(allocation(period, zone), now) for now in sorted(when)]
    starts = [span.start for span in spans if span is not None]
    assert starts == sorted(starts)


# -- how long it is valid


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        ({}, utc(2026, 12, 1)),
        ({"valid_seconds": 60}, at(60)),
        ({"valid_seconds": 60, "rolls_over": True}, at(60)),
        ({"valid_seconds": 400 * 86400}, utc(2026, 12, 1)),
        ({"valid_seconds": 400 * 86400, "rolls_over": True}, NOW + timedelta(days=400)),
        ({"rolls_over": True}, None),
    ],
)
def test_r17_unused_allocation_ends_with_its_period_unless_it_rolls_over(
    changes: dict[str, Any], until: datetime | None
) -> None:
    due = allocation_due(allocation(**changes), "student-1", NO_KEYS, NOW)
    assert due is not None
    assert due.until == until


# -- who gets it

REQUEST = LoginRequest("student-1", "login-1")


def is_given(snapshot: AccountSnapshot) -> bool:
    decision = decide(REQUEST, snapshot, NOW)
    return isinstance(decision, Prepare) and isinstance(decision.step, GrantAllocation)


@pytest.mark.parametrize("kind", list(AccountKind))
@pytest.mark.parametrize("status", list(AccountStatus))
@pytest.mark.parametrize("has_group", [True, False])
def test_r17_only_a_verified_prepaid_member_gets_it(
    kind: AccountKind, status: AccountStatus, has_group: bool
) -> None:
    snapshot = account(kind=kind, status=status, allocation=allocation() if has_group else None)
    deserving = kind is AccountKind.PREPAID and status is AccountStatus.ACTIVE and has_group
    assert is_given(snapshot) == deserving


def test_r17_it_is_given_once_a_period() -> None:
    key = "allocation:hostel-a:student-1:2026-11-01"
    had = account(allocation=allocation(), allocation_keys=frozenset({key}))
    assert decide(REQUEST, had, NOW) == Reject(Reason.NO_CREDIT)
    last_month = account(
        allocation=allocation(), allocation_keys=frozenset({key.replace("2026-11", "2026-10")})
    )
    assert is_given(last_month)


def test_a_row_of_the_database_and_its_json_read_the_same() -> None:
    row: dict[str, Any] = {
        "group_name": "hostel-a",
        "period": "term",
        "time_zone": "Africa/Johannesburg",
        "policy": {"sharing": "strict"},
        "term_starts": [date(2026, 9, 1)],
        "valid_seconds": 60,
        "rolls_over": True,
    }
    read = allocation_from_row(row)
    assert read == allocation_from_row(row | {"term_starts": ["2026-09-01"]})
    assert read.policy.sharing is Sharing.STRICT
    assert ZoneInfo(read.time_zone)


# -- exactly once under any interleaving


class Books:
    """radius.entitlement with its unique key, as radius.grant_allocation uses it."""

    def __init__(self, members: dict[str, str]) -> None:
        self.group_of = members
        self.granted: dict[str, Grant] = {}

    def snapshot(self, username: str) -> AccountSnapshot:
        mine = {key: one for key, one in self.granted.items() if f":{username}:" in key}
        group = self.group_of.get(username)
        # Only the newest keys are listed, as in radius.account_snapshot.
        return account(
            username=username,
            allocation=allocation(Period.DAY) if group == "hostel-a" else None,
            allocation_keys=frozenset(sorted(mine)[-2:]),
            grants=tuple(mine.values()),
        )

    def grant_allocation(self, username: str, step: GrantAllocation, now: datetime) -> None:
        if self.group_of.get(username) == "hostel-a":
            self.granted.setdefault(
                step.key,
                grant(len(self.granted) + 1, granted_at=now, expires_at=step.until, first_used_at=now),
            )


class Login:
    """One login, taken step by step, so that others come between."""

    def __init__(self, books: Books, username: str, now: datetime) -> None:
        self.books, self.username, self.now = books, username, now
        self.snapshot = books.snapshot(username)
        self.outcome: Accept | Reject | None = None

    def step(self) -> None:
        decision = decide(LoginRequest(self.username, "login"), self.snapshot, self.now)
        if not isinstance(decision, Prepare):
            self.outcome = decision
            return
        assert not isinstance(decision.step, StartFirstUse)
        assert isinstance(decision.step, GrantAllocation)
        self.books.grant_allocation(self.username, decision.step, self.now)
        # The key just granted is known, as rlm_herotill.login sees to: the books list only the newest.
        seen = self.books.snapshot(self.username)
        self.snapshot = replace(seen, allocation_keys=seen.allocation_keys | {decision.step.key})


@given(
    st.lists(st.tuples(st.sampled_from(["anna", "ben", "guest"]), st.integers(0, 3)), max_size=8),
    st.data(),
)
def test_r17_exactly_once_a_period_however_many_logins_decide_on_what_they_saw_before(
    arrivals: list[tuple[str, int]], data: st.DataObject
) -> None:
    books = Books({"anna": "hostel-a", "ben": "hostel-a", "guest": "hostel-b"})
    waiting = [Login(books, who, NOW + timedelta(days=day)) for who, day in arrivals]
    under_way = list(waiting)
    for _ in range(50):
        if not under_way:
            break
        login = under_way[data.draw(st.integers(0, len(under_way) - 1))]
        login.step()
        under_way = [one for one in under_way if one.outcome is None]
    assert under_way == []
    expected = {
        f"allocation:hostel-a:{who}:{(NOW + timedelta(days=day)).date()}"
        for who, day in arrivals
        if who != "guest"
    }
    assert set(books.granted) == expected
    for login in waiting:
        assert isinstance(login.outcome, Reject if login.username == "guest" else Accept)
