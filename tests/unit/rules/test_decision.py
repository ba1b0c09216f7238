"""Every answer to a login, at the very boundary where it becomes another one."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.decision import (
    RESERVATION_CLAIM_SECONDS,
    Accept,
    Decision,
    LoginRequest,
    Prepare,
    Reject,
    ReserveSlice,
    StartFirstUse,
    decide,
)
from herotill.grants import Grant, GrantEnd
from herotill.outage import decide_in_outage
from herotill.policy import Counting, Ending, Outage, ServicePolicy, Sharing
from herotill.reasons import REPLY_MESSAGES, Reason
from herotill.reply import Reply, spread_interim_interval
from herotill.snapshot import AccountKind, AccountSnapshot, AccountStatus, Reservation
from herotill.standing import standing_accept
from herotill.usage import Usage
from tests.unit.rules.build import (
    INSTANT,
    LAPTOP,
    NOW,
    PHONE,
    account,
    at,
    begun,
    grant,
    session,
)

REQUEST = LoginRequest("student-1", "login-1", PHONE, "192.0.2.1")
THROTTLE: dict[str, Any] = {
    "throttled_download_bits_per_second": 64_000,
    "throttled_upload_bits_per_second": 32_000,
    "download_bits_per_second": 9_000_000,
}


def decided(*grants: Grant, now: datetime = NOW, **changes: Any) -> Decision:
    return decide(REQUEST, account(grants=grants, **changes), now)


def reply_to(*grants: Grant, now: datetime = NOW, **changes: Any) -> Reply:
    decision = decided(*grants, now=now, **changes)
    assert isinstance(decision, Accept), decision
    return decision.reply


def reason(decision: Decision) -> Reason:
    assert not isinstance(decision, Prepare)
    return decision.reason


# -- the account as a whole


@pytest.mark.parametrize("kind", list(AccountKind))
@pytest.mark.parametrize(
    ("status", "expected"),
    [(AccountStatus.DISABLED, Reason.DISABLED), (AccountStatus.UNVERIFIED, Reason.UNVERIFIED)],
)
def test_r3_nothing_helps_an_account_that_is_disabled_or_unverified(
    kind: AccountKind, status: AccountStatus, expected: Reason
) -> None:
    pools = ServicePolicy(suspended_pool="suspended", restricted_pool="restricted")
    assert decided(begun(), kind=kind, status=status, policy=pools) == Reject(expected)


@pytest.mark.parametrize("kind", list(AccountKind))
@pytest.mark.parametrize("pool", ["suspended", None])
def test_r24_only_a_suspended_monthly_account_connects_and_gets_the_suspended_pool(
    kind: AccountKind, pool: str | None
) -> None:
    policy = ServicePolicy(suspended_pool=pool, interim_interval_seconds=300)
    decision = decided(begun(), kind=kind, status=AccountStatus.SUSPENDED, policy=policy)
    if kind is AccountKind.MONTHLY and pool:
        wanted = Reply(interim_interval_seconds=300, address_pool="suspended")
        assert decision == Accept(wanted, Reason.SUSPENDED_POOL)
    else:
        assert decision == Reject(Reason.SUSPENDED)


def test_r24_an_active_monthly_account_without_a_grant_connects_on_its_own_policy() -> None:
    policy = ServicePolicy(download_bits_per_second=5_000_000, address_pool="homes", max_sessions=1)
    assert reply_to(kind=AccountKind.MONTHLY, policy=policy) == Reply(
        interim_interval_seconds=600, download_bits_per_second=5_000_000, address_pool="homes"
    )
    twice = decided(kind=AccountKind.MONTHLY, policy=policy, sessions=(session(device=LAPTOP),))
    assert twice == Reject(Reason.TOO_MANY_SESSIONS)


def test_r24_a_monthly_account_whose_grant_expired_is_not_suspended_and_connects_on_its_own_policy() -> None:
    policy = ServicePolicy(download_bits_per_second=5_000_000)
    for nobody_wrote_it in (True, False):
        grant = begun(expires_at=at(-1))
        written = replace(grant, ended_at=at(-1), ended_reason=GrantEnd.EXPIRY)
        known = {"grants": (grant,)} if nobody_wrote_it else {"last_ended": written}
        decision = decide(REQUEST, account(kind=AccountKind.MONTHLY, policy=policy, **known), NOW)
        assert decision == Accept(Reply(interim_interval_seconds=600, download_bits_per_second=5_000_000))


def test_a_monthly_account_that_used_its_quota_up_is_refused() -> None:
    last = begun(ended_at=at(-1), ended_reason=GrantEnd.QUOTA)
    assert decided(kind=AccountKind.MONTHLY, last_ended=last) == Reject(Reason.QUOTA_USED_UP)


@pytest.mark.parametrize("kind", [AccountKind.PREPAID, AccountKind.HOTSPOT])
def test_without_a_grant_nobody_else_connects(kind: AccountKind) -> None:
    assert decided(kind=kind) == Reject(Reason.NO_CREDIT)


def test_every_refusal_has_a_sentence_that_fits_reply_message() -> None:
    silent = {Reason.ACCEPTED, Reason.RESTRICTED, Reason.THROTTLED, Reason.SUSPENDED_POOL, Reason.OUTAGE}
    assert set(REPLY_MESSAGES) == set(Reason) - silent
    assert all(1 <= len(sentence.encode()) <= 253 for sentence in REPLY_MESSAGES.values())


# -- the end, to the octet, the second and the instant

QUOTA = begun(quota_octets=1000, counting=Counting.SUM)


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (Usage(999), Reason.ACCEPTED),
        (Usage(500, 500), Reason.QUOTA_USED_UP),
        (Usage(600, 500), Reason.QUOTA_USED_UP),
    ],
)
def test_r15_the_last_octet_lets_in_and_none_does_not(used: Usage, expected: Reason) -> None:
    assert reason(decided(replace(QUOTA, used=used))) is expected


@pytest.mark.parametrize(("seconds", "expected"), [(59, Reason.ACCEPTED), (60, Reason.TIME_USED_UP)])
def test_r14_the_last_second_lets_in_and_none_does_not(seconds: int, expected: Reason) -> None:
    assert reason(decided(begun(quota_seconds=60, used=Usage(0, 0, seconds)))) is expected


def test_r13_an_instant_before_its_end_a_grant_lets_in_and_at_its_end_it_does_not() -> None:
    ending = begun(expires_at=at(60))
    assert reason(decided(ending, now=at(60) - INSTANT)) is Reason.ACCEPTED
    assert decided(ending, now=at(60)) == Reject(Reason.EXPIRED)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (GrantEnd.QUOTA, Reason.QUOTA_USED_UP),
        (GrantEnd.TIME, Reason.TIME_USED_UP),
        (GrantEnd.EXPIRY, Reason.EXPIRED),
        (GrantEnd.VOID, Reason.NO_CREDIT),
    ],
)
def test_the_grant_that_ended_last_says_why(written: GrantEnd, expected: Reason) -> None:
    last = begun(ended_at=at(-5), ended_reason=written)
    assert decided(last_ended=last) == Reject(expected)


def test_an_end_nobody_has_written_yet_counts_before_the_last_written_one() -> None:
    last = begun(2, ended_at=at(-5), ended_reason=GrantEnd.QUOTA)
    assert decided(begun(expires_at=at(-1)), last_ended=last) == Reject(Reason.EXPIRED)


ENDS = [
    (GrantEnd.QUOTA, {"at_quota": Ending.THROTTLE}, Reason.THROTTLED),
    (GrantEnd.TIME, {"at_quota": Ending.THROTTLE}, Reason.THROTTLED),
    (GrantEnd.EXPIRY, {"at_quota": Ending.THROTTLE}, Reason.EXPIRED),
    (GrantEnd.EXPIRY, {"at_expiry": Ending.THROTTLE}, Reason.THROTTLED),
    (GrantEnd.QUOTA, {"at_expiry": Ending.THROTTLE}, Reason.QUOTA_USED_UP),
    (GrantEnd.QUOTA, {"at_quota": Ending.POOL}, Reason.RESTRICTED),
    (GrantEnd.EXPIRY, {"at_expiry": Ending.POOL}, Reason.RESTRICTED),
    (GrantEnd.VOID, {"at_quota": Ending.POOL}, Reason.NO_CREDIT),
]


@pytest.mark.parametrize(("end", "endings", "expected"), ENDS)
def test_r16_at_the_end_the_plan_cuts_off_throttles_or_moves_to_the_restricted_pool(
    end: GrantEnd, endings: dict[str, Any], expected: Reason
) -> None:
    policy = ServicePolicy(restricted_pool="walled", address_pool="homes", **THROTTLE, **endings)
    decision = decided(last_ended=begun(policy=policy, ended_at=at(-5), ended_reason=end))
    assert reason(decision) is expected
    if expected is Reason.RESTRICTED:
        assert isinstance(decision, Accept)
        assert decision.reply == Reply(interim_interval_seconds=600, address_pool="walled")
    if expected is Reason.THROTTLED:
        assert isinstance(decision, Accept)
        assert decision.reply == Reply(
            interim_interval_seconds=600,
            address_pool="homes",
            download_bits_per_second=64_000,
            upload_bits_per_second=32_000,
        )


def test_r16_paying_lets_in_again_on_the_plan_s_rates() -> None:
    policy = ServicePolicy(at_quota=Ending.THROTTLE, **THROTTLE)
    ended = begun(policy=policy, ended_at=at(-5), ended_reason=GrantEnd.QUOTA)
    assert reply_to(begun(2, policy=policy), last_ended=ended).download_bits_per_second == 9_000_000


# -- R6: devices

TWO = ServicePolicy(max_sessions=2)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([], Reason.ACCEPTED),
        ([LAPTOP], Reason.ACCEPTED),
        ([LAPTOP, "tv"], Reason.TOO_MANY_SESSIONS),
        ([LAPTOP, PHONE], Reason.ACCEPTED),
        ([PHONE, PHONE, PHONE], Reason.ACCEPTED),
        ([LAPTOP, "tv", PHONE], Reason.TOO_MANY_SESSIONS),
        ([LAPTOP, ""], Reason.TOO_MANY_SESSIONS),
    ],
)
@pytest.mark.parametrize("is_throttled", [False, True])
def test_r6_so_many_devices_at_once_and_the_same_one_again(
    devices: list[str], expected: Reason, is_throttled: bool
) -> None:
    sessions = tuple(session(str(n), device) for n, device in enumerate(devices))
    if is_throttled:
        policy = replace(
            TWO,
            at_quota=Ending.THROTTLE,
            throttled_download_bits_per_second=1,
            throttled_upload_bits_per_second=1,
        )
        ended = begun(policy=policy, ended_at=at(-5), ended_reason=GrantEnd.QUOTA)
        decision = decided(last_ended=ended, sessions=sessions)
        assert reason(decision) is (Reason.THROTTLED if expected is Reason.ACCEPTED else expected)
    else:
        assert reason(decided(begun(policy=TWO), sessions=sessions)) is expected


def test_r6_a_device_without_a_name_is_never_the_same() -> None:
    nameless = REQUEST._replace(calling_station_id="")
    snapshot = account(grants=(begun(policy=TWO),), sessions=(session("a", ""), session("b", "")))
    assert decide(nameless, snapshot, NOW) == Reject(Reason.TOO_MANY_SESSIONS)


def test_r6_an_account_with_bound_devices_serves_no_other_however_its_address_is_written() -> None:
    bound = ServicePolicy(bound_devices="02:00:00:00:00:01,02-00-00-00-00-09")
    snapshot = account(grants=(begun(),), policy=bound)
    answers = {
        device: decide(REQUEST._replace(calling_station_id=device), snapshot, NOW)
        for device in (PHONE, "0200.0000.0001", LAPTOP, "", "nonsense")
    }
    accepted = [device for device, answer in answers.items() if isinstance(answer, Accept)]
    assert accepted == [PHONE, "0200.0000.0001"]
    assert answers[LAPTOP] == Reject(Reason.OTHER_DEVICE)
    assert standing_accept(snapshot, NOW) is None
    assert decide_in_outage(
        REQUEST._replace(calling_station_id=LAPTOP),
        account(policy=replace(bound, outage=Outage.OPEN)),
        NOW,
        60,
    ) == Reject(Reason.OTHER_DEVICE)


def test_r3_who_is_not_verified_gets_the_pool_for_it_where_there_is_one() -> None:
    for policy in (ServicePolicy(), ServicePolicy(unverified_pool="welcome")):
        decision = decide(
            REQUEST, account(grants=(begun(),), status=AccountStatus.UNVERIFIED, policy=policy), NOW
        )
        if policy.unverified_pool is None:
            assert decision == Reject(Reason.UNVERIFIED)
        else:
            assert isinstance(decision, Accept)
            assert (decision.reply.address_pool, decision.reason) == ("welcome", Reason.RESTRICTED)


def test_r6_a_plan_without_a_limit_has_none() -> None:
    sessions = tuple(session(str(n), str(n)) for n in range(100))
    assert reason(decided(begun(), sessions=sessions)) is Reason.ACCEPTED


# -- what has to be committed first


def test_r13_the_first_use_is_started_and_only_of_the_grant_that_burns_first() -> None:
    assert decided(grant(2, priority=5), grant(1)) == Prepare(StartFirstUse(2))
    assert reason(decided(begun(2, priority=5), grant(1))) is Reason.ACCEPTED


def test_r6_a_login_that_is_refused_starts_no_clock() -> None:
    full = (session("a", LAPTOP),)
    one = replace(TWO, max_sessions=1)
    assert decided(grant(policy=one), sessions=full) == Reject(Reason.TOO_MANY_SESSIONS)


# -- limits


@pytest.mark.parametrize(
    ("counting", "limits"),
    [
        (Counting.SUM, (900, None, None)),
        (Counting.LARGER, (None, 940, 960)),
        (Counting.DOWNLOAD, (None, None, 960)),
        (Counting.UPLOAD, (None, 940, None)),
    ],
)
def test_r14_the_remainder_is_said_in_the_directions_that_count(
    counting: Counting, limits: tuple[int | None, ...]
) -> None:
    reply = reply_to(begun(quota_octets=1000, counting=counting, used=Usage(60, 40)))
    assert (reply.limit_total_octets, reply.limit_input_octets, reply.limit_output_octets) == limits


def test_r15_grants_of_one_kind_are_used_in_one_session_and_a_different_service_is_not() -> None:
    slow = ServicePolicy(download_bits_per_second=1)
    alike = (begun(1, quota_octets=100), begun(2, quota_octets=50, used=Usage(20)))
    assert reply_to(*alike).limit_total_octets == 130
    assert reply_to(*alike, begun(3, quota_octets=7, policy=slow)).limit_total_octets == 130
    assert reply_to(*alike, begun(3, quota_octets=7, counting=Counting.UPLOAD)).limit_total_octets == 130
    assert reply_to(*alike, begun(3)).limit_total_octets is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**62), st.integers(0, 2**62), st.integers(0, 2**62), st.sampled_from(Counting)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_r15_a_limit_is_never_zero_and_never_more_than_all_grants_leave(
    given_grants: list[tuple[int, int, int, Counting]],
) -> None:
    """Zero is `unlimited` to many a NAS."""
    grants = [
        begun(n, quota_octets=quota, used=Usage(up, down), counting=counting)
        for n, (quota, up, down, counting) in enumerate(given_grants)
    ]
    decision = decided(*grants)
    if isinstance(decision, Reject):
        assert all(one.remaining_octets == 0 for one in grants)
        return
    assert isinstance(decision, Accept)
    reply = decision.reply
    limits = [reply.limit_total_octets, reply.limit_input_octets, reply.limit_output_octets]
    assert any(limits)
    assert all(limit is None or limit > 0 for limit in limits)
    if reply.limit_total_octets:
        assert reply.limit_total_octets <= sum(one.remaining_octets or 0 for one in grants)


# -- Session-Timeout


@pytest.mark.parametrize(
    ("clocks", "timeout"),
    [
        ({}, None),
        ({"expires_at": at(60)}, 60),
        ({"expires_at": at(60) + INSTANT}, 61),
        ({"expires_at": at(60) - INSTANT}, 60),
        ({"expires_at": NOW + INSTANT}, 1),
        ({"quota_seconds": 100, "used": Usage(0, 0, 60)}, 40),
        ({"quota_seconds": 100, "used": Usage(0, 0, 99), "expires_at": at(60)}, 1),
        ({"quota_seconds": 100, "expires_at": at(60)}, 60),
        ({"seconds_after_first_use": 86400, "first_used_at": at(-86399)}, 1),
        ({"seconds_after_last_use": 600, "last_used_at": at(-500)}, 100),
    ],
)
def test_r13_the_session_ends_when_the_grant_does_and_never_before_what_was_paid_for(
    clocks: dict[str, Any], timeout: int | None
) -> None:
    assert reply_to(begun(**clocks)).session_timeout_seconds == timeout


@pytest.mark.parametrize(
    ("first", "second", "timeout"),
    [
        ({"expires_at": at(60)}, {"expires_at": at(100)}, 100),
        ({"expires_at": at(60)}, {}, None),
        ({"quota_seconds": 60}, {"quota_seconds": 40}, 100),
        ({"quota_seconds": 60}, {"quota_seconds": 40, "expires_at": at(30)}, 100),
        ({"quota_seconds": 60, "expires_at": at(50)}, {"quota_seconds": 40, "expires_at": at(30)}, 50),
        ({"quota_seconds": 60}, {}, None),
    ],
)
def test_r13_grants_of_one_kind_last_one_after_the_other(
    first: dict[str, Any], second: dict[str, Any], timeout: int | None
) -> None:
    assert reply_to(begun(1, **first), begun(2, **second)).session_timeout_seconds == timeout


@given(st.integers(60, 86_400), st.text(max_size=20))
def test_interim_intervals_are_spread_by_a_tenth_and_stay_at_least_a_minute(
    interval: int, login_id: str
) -> None:
    reply = spread_interim_interval(Reply(interim_interval_seconds=interval), login_id)
    spread = reply.interim_interval_seconds
    assert spread is not None
    assert max(60, interval * 0.9) <= spread <= interval * 1.1
    assert reply == spread_interim_interval(Reply(interim_interval_seconds=interval), login_id)
    assert spread_interim_interval(Reply(), login_id) == Reply()


# -- R15: strict plans

STRICT = ServicePolicy(sharing=Sharing.STRICT, slice_octets=100)


def reservation(
    login_id: str, octets: int, used: int = 0, grant_id: int = 1, lasts: float = 60
) -> Reservation:
    return Reservation(login_id, grant_id, octets, used, at(lasts))


@pytest.mark.parametrize(
    ("used", "others", "wanted"),
    [
        (0, [], 100),
        (899, [], 100),
        (900, [], 100),
        (901, [], 99),
        (999, [], 1),
        (0, [reservation("b", 950)], 50),
        (0, [reservation("b", 950, used=10)], 60),
        (0, [reservation("b", 999)], 1),
        (0, [reservation("b", 1000)], None),
        (0, [reservation("b", 1000, lasts=0)], 100),  # nobody came for it
        (0, [reservation("b", 500), reservation("c", 500)], None),
        (500, [reservation("b", 600, used=500)], 100),
        (0, [reservation("b", 1000, grant_id=9)], 100),
        (0, [reservation("b", 100, used=5000)], 100),  # over-use is used, not promised
    ],
)
def test_r15_a_slice_is_what_nobody_has_used_or_been_promised(
    used: int, others: list[Reservation], wanted: int | None
) -> None:
    pool = begun(quota_octets=1000, policy=STRICT, used=Usage(used))
    decision = decided(pool, reservations=tuple(others))
    if wanted is None:
        assert decision == Reject(Reason.ALL_RESERVED)
    else:
        assert decision == Prepare(ReserveSlice(1, wanted, at(RESERVATION_CLAIM_SECONDS)))


@pytest.mark.parametrize(
    ("counting", "limits"),
    [
        (Counting.SUM, (77, None, None)),
        (Counting.LARGER, (None, 77, 77)),
        (Counting.DOWNLOAD, (None, None, 77)),
        (Counting.UPLOAD, (None, 77, None)),
    ],
)
def test_r15_the_slice_is_the_session_s_limit(counting: Counting, limits: tuple[int | None, ...]) -> None:
    pool = begun(quota_octets=1000, policy=STRICT, counting=counting, quota_seconds=50)
    reply = reply_to(pool, reservations=(reservation("login-1", 77), reservation("b", 923)))
    assert (reply.limit_total_octets, reply.limit_input_octets, reply.limit_output_octets) == limits
    assert reply.session_timeout_seconds == 50


def test_r15_where_one_strict_grant_is_all_promised_the_next_grant_serves() -> None:
    pool = begun(1, quota_octets=100, policy=STRICT, priority=1)
    decision = decided(pool, begun(2, quota_octets=7), reservations=(reservation("b", 100),))
    assert isinstance(decision, Accept)
    assert decision.reply.limit_total_octets == 7


def test_a_strict_plan_without_an_octet_quota_has_nothing_to_promise() -> None:
    assert reply_to(begun(policy=STRICT, quota_seconds=60)).session_timeout_seconds == 60


class Pool:
    """One strict grant in the books, with radius.reserve_slice as it is written (sql/0001_packet_time.sql)."""

    def __init__(self, quota_octets: int) -> None:
        self.grant = begun(quota_octets=quota_octets, policy=STRICT, counting=Counting.DOWNLOAD)
        self.reservations: dict[str, Reservation] = {}

    def snapshot(self) -> AccountSnapshot:
        return account(grants=(self.grant,), reservations=tuple(self.reservations.values()))

    def reserve_slice(self, login_id: str, step: ReserveSlice) -> int:
        if login_id in self.reservations:
            return self.reservations[login_id].octets
        open_slices = [r for r in self.reservations.values() if r.expires_at > NOW]
        available = (self.grant.quota_octets or 0) - self.grant.used_octets
        available -= sum(max(r.octets - r.used_octets, 0) for r in open_slices)
        promised = min(step.octets, available)
        if promised > 0:
            self.reservations[login_id] = Reservation(login_id, 1, promised, 0, step.until)
        return max(promised, 0)

    def use(self, login_id: str, octets: int) -> None:
        """The session uses some of its slice and the meter hears of it."""
        held = self.reservations[login_id]
        octets = min(octets, held.octets - held.used_octets)
        self.reservations[login_id] = replace(held, used_octets=held.used_octets + octets)
        self.grant = replace(self.grant, used=self.grant.used + Usage(output_octets=octets))

    def promised(self) -> int:
        return sum(r.octets - r.used_octets for r in self.reservations.values())


@given(st.integers(1, 450), st.data())
def test_r15_whatever_logins_see_and_when_no_more_is_promised_than_is_left(
    quota_octets: int, data: st.DataObject
) -> None:
    pool = Pool(quota_octets)
    seen = {f"login-{n}": pool.snapshot() for n in range(6)}
    for _ in range(data.draw(st.integers(1, 30))):
        login_id = data.draw(st.sampled_from(sorted(seen)))
        if login_id in pool.reservations and data.draw(st.booleans()):
            pool.use(login_id, data.draw(st.integers(0, 120)))
        elif data.draw(st.booleans()):
            seen[login_id] = pool.snapshot()
        decision = decide(REQUEST._replace(login_id=login_id), seen[login_id], NOW)
        if isinstance(decision, Prepare):
            assert isinstance(decision.step, ReserveSlice)
            assert decision.step.octets > 0
            pool.reserve_slice(login_id, decision.step)
        elif isinstance(decision, Accept):
            assert decision.reply.limit_output_octets == pool.reservations[login_id].octets
        assert pool.promised() + pool.grant.used_octets <= quota_octets
