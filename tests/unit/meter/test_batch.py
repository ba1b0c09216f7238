"""Batches of reports (DESIGN.md §4): wherever the journal is cut the same comes out, and all sums agree."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.accounting import Report
from herotill.class_token import ClassToken
from herotill.grants import Grant, GrantEnd, burn_order
from herotill.metering import Counter
from herotill.multiplier import PER_MILLE
from herotill.overlay import lay_over, with_pending_logins, without_lost_sessions
from herotill.policy import Counting, ServicePolicy, Sharing
from herotill.sessions import Session
from herotill.snapshot import RESERVATION_SECONDS, AccountKind, AccountSnapshot, Reservation
from herotill.usage import Usage
from sync_daemon.meter.batch import Account, BoundReport, Changes, apply_reports, has_ended
from tests.unit.rules.build import (
    LAPTOP,
    NOW,
    PHONE,
    account,
    at,
    begun,
    grant,
    interim,
    session,
    start,
    stop,
    total,
)

STRICT = ServicePolicy(sharing=Sharing.STRICT)
DEVICES = {PHONE: "login-phone", LAPTOP: "login-laptop", "tv": None}


def bound(one: Report, login_id: str | None = None) -> BoundReport:
    return BoundReport(one, None if login_id is None else ClassToken(login_id, "student-1"))


class Database:
    """What the meter keeps between two transactions."""

    def __init__(self, grants: Sequence[Grant] = (), reservations: Sequence[Reservation] = ()) -> None:
        self.grants = {one.grant_id: one for one in grants}
        self.reservations = {one.login_id: one for one in reservations}
        self.sessions: dict[str, Session] = {}
        self.intervals: dict[Any, Usage] = {}
        self.begun: list[int] = []

    def loaded(self) -> Account:
        """As statements.load_accounts does: every living grant and the one that ended last."""
        living = {n: one for n, one in self.grants.items() if one.ended_at is None}
        ended = [one for one in self.grants.values() if one.ended_at is not None]
        last = max(ended, key=lambda one: (one.ended_at, one.grant_id), default=None)
        if last is not None:
            living[last.grant_id] = last
        return Account("student-1", AccountKind.PREPAID, living, dict(self.reservations))

    def apply(self, reports: Sequence[BoundReport]) -> Changes:
        accounts = {"student-1": self.loaded()}
        changes = apply_reports(reports, accounts, list(self.sessions.values()))
        self.sessions |= changes.sessions
        self.grants |= changes.grants
        self.reservations |= changes.reservations
        for login_id in changes.released:
            self.reservations.pop(login_id, None)
        for key, usage in changes.intervals.items():
            self.intervals[key] = self.intervals.get(key, Usage()) + usage
        self.begun += changes.begun_grants
        return changes


amounts = st.integers(0, 400)
grants_given = st.lists(
    st.builds(
        grant,
        counting=st.sampled_from(Counting),
        priority=st.integers(1, 3),
        policy=st.sampled_from([ServicePolicy(), STRICT]),
        quota_octets=st.none() | st.integers(0, 600),
        quota_seconds=st.none() | st.integers(0, 900),
        expires_at=st.none() | st.integers(0, 1200).map(at),
        seconds_after_first_use=st.none() | st.integers(1, 600),
        seconds_after_last_use=st.none() | st.integers(100, 600),
    ),
    max_size=4,
).map(lambda grants: [replace(one, grant_id=n) for n, one in enumerate(grants, 1)])
slices = st.lists(
    st.builds(
        Reservation,
        st.sampled_from(["login-phone", "login-laptop", "another"]),
        st.integers(1, 4),
        st.integers(0, 300),
        st.just(0),
        st.integers(0, 900).map(at),
    ),
    max_size=2,
    unique_by=lambda one: one.login_id,
)


@st.composite
def streams(draw: st.DrawFn) -> list[BoundReport]:
    """Reports of three devices, two of them with our Class, out of order and repeated, as one node received them."""
    said: list[tuple[Report, str | None]] = []
    for device, login_id in DEVICES.items():
        octets = draw(amounts)
        for minute in range(1, draw(st.integers(0, 4)) + 1):
            octets += draw(amounts)
            counters = {"input": Counter(octets, 0), "output": Counter(octets // 3, 0)}
            make = draw(st.sampled_from([interim, stop] if minute == 4 else [start, interim]))
            seconds = () if make is start else (60 * minute,)
            event = at(0) if make is start else at(60 * minute)
            said.append((replace(make(event, *seconds, calling_station_id=device), **counters), login_id))
    shuffled = draw(st.permutations(said))
    repeated = draw(st.lists(st.sampled_from(said), max_size=3)) if said else []
    return [
        bound(replace(one, received_at=at(240 + n)), login_id)
        for n, (one, login_id) in enumerate([*shuffled, *repeated])
    ]


def state(database: Database) -> Any:
    return database.sessions, database.grants, database.reservations, database.intervals, database.begun


@given(grants_given, slices, streams(), st.lists(st.integers(0, 15), max_size=3))
def test_r15_wherever_the_stream_is_cut_into_batches_the_same_comes_out(
    grants: list[Grant], reservations: list[Reservation], stream: list[BoundReport], cuts: list[int]
) -> None:
    at_once, bit_by_bit = Database(grants, reservations), Database(grants, reservations)
    at_once.apply(stream)
    edges = [0, *sorted(cuts), len(stream)]
    for left, right in pairwise(edges):
        bit_by_bit.apply(stream[left:right])
    assert state(bit_by_bit) == state(at_once)


@given(grants_given, slices, streams())
def test_r14_sessions_grants_and_intervals_sum_to_the_same(
    grants: list[Grant], reservations: list[Reservation], stream: list[BoundReport]
) -> None:
    database = Database(grants, reservations)
    database.apply(stream)
    counted = total([one.meter.total for one in database.sessions.values()])
    assert total(list(database.intervals.values())) == counted
    by_grant = {n: Usage() for n in [0, *database.grants]}
    for (_, _, grant_id), usage in database.intervals.items():
        by_grant[grant_id] += usage
    assert {n: one.used for n, one in database.grants.items()} == {
        n: usage for n, usage in by_grant.items() if n
    }
    assert not by_grant[0] or not grants


@given(grants_given, slices, streams())
def test_r15_replaying_a_stream_counts_nothing_again(
    grants: list[Grant], reservations: list[Reservation], stream: list[BoundReport]
) -> None:
    database = Database(grants, reservations)
    database.apply(stream)
    before = (dict(database.intervals), {n: one.used for n, one in database.grants.items()})
    database.apply(stream)
    assert (database.intervals, {n: one.used for n, one in database.grants.items()}) == before


@given(grants_given, slices, streams(), st.integers(0, 15), st.sampled_from([PER_MILLE, 0, 1500]))
def test_what_is_laid_over_a_snapshot_is_what_the_meter_will_make_of_it(
    grants: list[Grant],
    reservations: list[Reservation],
    stream: list[BoundReport],
    applied: int,
    per_mille: int,
) -> None:
    """Given a meter that has applied so many reports, when the rest is laid over, then a login sees the same."""
    stream = [replace(one, per_mille=per_mille) for one in stream]
    behind, ahead = Database(grants, reservations), Database(grants, reservations)
    behind.apply(stream[:applied])
    ahead.apply(stream)
    rest = stream[applied:]
    stopped = {one.session_key for one in behind.sessions.values() if one.stopped_at is not None}
    if stopped & {one.report.session_key for one in rest}:
        return  # a snapshot does not hold sessions that are over, nor their late reports
    seen = lay_over(snapshot_of(behind), [(one.report, one.login_id, one.per_mille) for one in rest])
    wanted = snapshot_of(ahead)
    now = max((one.report.received_at for one in stream), default=NOW)
    assert by_name(seen.sessions) == by_name(wanted.sessions)
    assert {one.login_id for one in seen.reservations} == {one.login_id for one in wanted.reservations}
    assert withheld(seen, now) == withheld(wanted, now)
    assert burn_order(seen.grants, now) == burn_order(wanted.grants, now)


def snapshot_of(database: Database) -> AccountSnapshot:
    return account(
        grants=tuple(one for one in database.grants.values() if one.ended_at is None),
        sessions=tuple(one for one in database.sessions.values() if one.stopped_at is None),
        reservations=tuple(database.reservations.values()),
    )


def withheld(snapshot: AccountSnapshot, now: datetime) -> set[Reservation]:
    """The slices of living grants: over-use of one that has ended settles its slice too, which nobody reads again."""
    living = {one.grant_id for one in burn_order(snapshot.grants, now)}
    return {one for one in snapshot.reservations if one.grant_id in living}


def by_name(sessions: Sequence[Session]) -> dict[str, Session]:
    return {one.acct_unique_id: one for one in sessions}


# -- the ends of grants, and slices


def test_r15_the_report_that_uses_the_last_octet_ends_the_grant_and_the_account() -> None:
    database = Database([begun(quota_octets=1000)])
    database.apply([bound(interim(at(60), 60, 999))])
    assert not has_ended(database.loaded(), at(61))
    changes = database.apply([bound(interim(at(120), 120, 1000, received_at=at(121)))])
    assert changes.grants[1].ended_at == at(121)
    assert changes.grants[1].ended_reason is GrantEnd.QUOTA
    assert changes.received_at == {"student-1": at(121)}
    assert has_ended(database.loaded(), at(121))


def test_r15_two_sessions_share_one_pool_to_the_octet() -> None:
    database = Database([begun(quota_octets=1000)])
    database.apply(
        [bound(interim(at(60), 60, 600)), bound(interim(at(60), 60, 399, calling_station_id=LAPTOP))]
    )
    assert database.grants[1].remaining_octets == 1
    database.apply([bound(interim(at(70), 70, 400, calling_station_id=LAPTOP))])
    assert database.grants[1].ended_reason is GrantEnd.QUOTA


def test_an_account_nobody_manages_is_metered_and_never_cut() -> None:
    accounts: dict[str, Account] = {}
    changes = apply_reports([bound(interim(at(60), 60, 7))], accounts, [])
    assert list(changes.intervals.items()) == [(("student-1", NOW, 0), Usage(0, 7, 60))]
    assert not has_ended(accounts["student-1"], NOW)


def test_r13_a_first_use_in_the_middle_of_a_session_is_told_once() -> None:
    fresh = grant(2, priority=200, seconds_after_first_use=3600)
    database = Database([begun(1, quota_octets=10), fresh])
    database.apply([bound(interim(at(60), 60, 15)), bound(interim(at(90), 90, 20))])
    assert database.begun == [2]
    assert database.grants[2].first_used_at == at(60)
    assert database.grants[2].expires_at == at(3660)


def test_r13_over_use_of_a_grant_that_was_never_used_is_no_first_use() -> None:
    database = Database([grant(expires_at=at(0))])
    database.apply([bound(interim(at(60), 60, 15))])
    assert database.grants[1].used == Usage(0, 15, 60)
    assert database.begun == []


def test_r15_a_session_s_slice_is_used_held_while_it_reports_and_released_at_its_stop() -> None:
    promised = Reservation("login-1", 1, 500, 0, at(300))
    database = Database([begun(quota_octets=1000, policy=STRICT)], [promised])
    database.apply([bound(interim(at(60), 60, 200), "login-1")])
    held = database.reservations["login-1"]
    assert (held.used_octets, held.expires_at) == (200, at(60 + RESERVATION_SECONDS))
    changes = database.apply([bound(stop(at(90), 90, 300), "login-1")])
    assert changes.reservations["login-1"].used_octets == 300
    assert changes.released == {"login-1": at(90)}


def test_a_class_meters_to_the_account_it_names_whatever_the_user_name_says() -> None:
    token = ClassToken("login-1", "student-1")
    accounts: dict[str, Account] = {}
    begun = apply_reports([BoundReport(start(at(0), username="STUDENT-1@isp"), token)], accounts, [])
    lost = BoundReport(interim(at(60), 60, 7, username="STUDENT-1@isp"), None)
    changes = apply_reports([lost], accounts, list(begun.sessions.values()))
    assert {key[0] for key in changes.intervals} == {"student-1"}


@pytest.mark.parametrize(
    ("event_at", "hour"), [(at(3599.999999), NOW), (at(3600), at(3600)), (at(-0.000001), at(-3600))]
)
def test_usage_belongs_to_the_hour_of_its_report(event_at: datetime, hour: datetime) -> None:
    changes = apply_reports([bound(interim(event_at, 60, 7))], {}, [])
    assert [key[1] for key in changes.intervals] == [hour]


# -- what packet time knows before the database


def test_a_login_after_a_stop_sees_the_stop_and_its_released_slice() -> None:
    database = Database(
        [begun(quota_octets=1000, policy=STRICT)], [Reservation("login-1", 1, 1000, 0, at(300))]
    )
    database.apply([bound(start(at(0)), "login-1")])
    seen = lay_over(snapshot_of(database), [(stop(at(60), 60, 400), "login-1", PER_MILLE)])
    assert (seen.sessions, seen.reservations) == ((), ())
    assert seen.grants[0].remaining_octets == 600


def test_a_pending_login_counts_until_its_session_or_device_is_known() -> None:
    same_login, same_device = session("p", "tv", login_id="x"), session("q", PHONE, login_id="y")
    known = account(sessions=(session("a", PHONE, login_id="z"), session("b", LAPTOP, login_id="x")))
    assert with_pending_logins(known, [same_login, same_device]) is known
    other = session("r", "pc", login_id="w")
    assert with_pending_logins(known, [same_login, other]).sessions == (*known.sessions, other)


@pytest.mark.parametrize(
    ("started", "reported", "is_kept"), [(-1, -1, False), (0, 0, True), (-1, 1, True), (1, 1, True)]
)
def test_a_nas_that_restarted_lost_what_began_before(started: int, reported: int, is_kept: bool) -> None:
    online = session(started_at=at(started), last_report_at=at(reported))
    seen = without_lost_sessions(account(sessions=(online,)), {online.nas_address: NOW})
    assert bool(seen.sessions) == is_kept
    elsewhere = without_lost_sessions(account(sessions=(online,)), {"192.0.2.99": NOW})
    assert elsewhere.sessions == (online,)
