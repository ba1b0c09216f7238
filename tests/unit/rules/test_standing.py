"""A standing accept says exactly what deciding each login by itself would have said."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from herotill.allocation import GroupAllocation, Period
from herotill.decision import Accept, LoginRequest, decide
from herotill.grants import Grant
from herotill.overlay import with_pending_logins
from herotill.policy import Counting, ServicePolicy, Sharing
from herotill.reasons import Reason
from herotill.snapshot import AccountKind, AccountSnapshot, AccountStatus
from herotill.standing import standing_accept
from herotill.usage import Usage
from tests.unit.rules.build import INSTANT, LAPTOP, NOW, PHONE, account, at, begun, grant, session

POLICIES = (
    ServicePolicy(),
    ServicePolicy(max_sessions=1, download_bits_per_second=5_000_000),
    ServicePolicy(max_sessions=2, idle_timeout_seconds=300),
    ServicePolicy(sharing=Sharing.STRICT, slice_octets=100),
)
PAST, FUTURE = st.integers(-100_000, 0).map(at), st.integers(1, 200_000).map(at)
CLOCKS = st.none() | st.none() | st.integers(1, 200_000)


DEVICES = st.lists(st.sampled_from([PHONE, LAPTOP, "tablet"]), max_size=2)


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    used = Usage(draw(st.integers(0, 60)), draw(st.integers(0, 60)), draw(st.integers(0, 60)))
    return grant(
        draw(st.integers(1, 1_000_000)),
        policy=POLICIES[draw(st.sampled_from([0, 0, 1, 2, 2, 3]))],
        counting=draw(st.sampled_from(Counting)),
        priority=draw(st.integers(1, 2)),
        quota_octets=draw(st.none() | st.integers(100, 300)),
        quota_seconds=draw(st.none() | st.integers(50, 200_000)),
        used=used,
        expires_at=draw(st.none() | FUTURE | FUTURE | PAST),
        first_used_at=draw(PAST | PAST | PAST | st.none()),
        last_used_at=draw(PAST | PAST | st.none()),
        seconds_after_first_use=draw(CLOCKS),
        seconds_after_last_use=draw(CLOCKS),
    )


@st.composite
def accounts(draw: st.DrawFn) -> AccountSnapshot:
    allocation = GroupAllocation(
        "hostel",
        draw(st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH])),
        "Africa/Johannesburg",
        ServicePolicy(),
    )
    granted = [f"allocation:hostel:student-1:{day}" for day in ("2026-11-22", "2026-11-16", "2026-11-01")]
    return account(
        kind=draw(st.sampled_from(AccountKind)),
        status=draw(st.sampled_from([*AccountStatus, *[AccountStatus.ACTIVE] * 20])),
        grants=tuple(draw(st.lists(grants(), min_size=1, max_size=3, unique_by=lambda one: one.grant_id))),
        allocation=draw(st.sampled_from([None, None, allocation])),
        allocation_keys=frozenset(draw(st.sampled_from([granted, granted, granted[:1]]))),
        sessions=tuple(session(str(n), device) for n, device in enumerate(draw(DEVICES))),
    )


@settings(max_examples=500)
@given(accounts(), st.floats(0, 1), st.sampled_from([PHONE, LAPTOP, ""]), DEVICES)
def test_a_login_it_answers_is_answered_as_if_it_were_decided(
    snapshot: AccountSnapshot, share: float, device: str, waiting: list[str]
) -> None:
    standing = standing_accept(snapshot, NOW)
    if standing is None:
        event("decided each by itself")
        return
    moment = NOW + share * (min(standing.until, at(200_000)) - NOW - INSTANT)
    others = [name for name in waiting if name != device]
    if not standing.has_room_for(device, len(others)):
        event("perhaps no room")
        return
    pending = [session(f"pending {n}", name, login_id=f"login {n}") for n, name in enumerate(waiting)]
    request = LoginRequest(snapshot.username, "this login", device)

    decision = decide(request, with_pending_logins(snapshot, pending), moment)

    event(f"answered, devices limited: {standing.max_sessions is not None}")
    reply = replace(standing.reply, session_timeout_seconds=standing.session_seconds(moment))
    assert decision == Accept(reply, Reason.ACCEPTED)


def standing_of(*given_grants: Grant, **changes: Any) -> object:
    return standing_accept(account(grants=given_grants, **changes), NOW)


def test_an_ordinary_account_has_one() -> None:
    assert standing_of(begun(quota_octets=1000, expires_at=at(60))) is not None


def test_it_ends_when_the_first_grant_does_or_an_allocation_may_fall_due() -> None:
    standing = standing_accept(account(grants=(begun(expires_at=at(60)), begun(2, expires_at=at(30)))), NOW)
    assert standing is not None
    assert standing.until == at(30)
    daily = GroupAllocation("hostel", Period.DAY, "Africa/Johannesburg", ServicePolicy())
    had = frozenset({"allocation:hostel:student-1:2026-11-22"})
    standing = standing_accept(account(grants=(begun(),), allocation=daily, allocation_keys=had), NOW)
    assert standing is not None
    assert standing.until == NOW + timedelta(hours=10)  # midnight in Johannesburg


def test_what_a_login_would_have_to_commit_or_refuse_has_none() -> None:
    strict = ServicePolicy(sharing=Sharing.STRICT)
    daily = GroupAllocation("hostel", Period.DAY, "UTC", ServicePolicy())
    assert standing_of() is None
    assert standing_of(grant()) is None
    assert standing_of(begun(quota_octets=100, policy=strict)) is None
    assert standing_of(begun(), allocation=daily) is None
    assert standing_of(begun(), status=AccountStatus.SUSPENDED) is None
    assert standing_of(begun(), grant(2, seconds_after_first_use=60)) is None


def test_r6_it_has_room_as_long_as_other_devices_and_waiting_logins_leave_some() -> None:
    two = ServicePolicy(max_sessions=2)
    standing = standing_accept(account(grants=(begun(policy=two),), sessions=(session("a", PHONE),)), NOW)
    assert standing is not None
    assert standing.has_room_for(LAPTOP, 0)
    assert not standing.has_room_for(LAPTOP, 1)
    assert standing.has_room_for(PHONE, 1)
    assert not standing.has_room_for("", 1)
