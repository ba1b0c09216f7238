"""Rule R34: what a login meets while the database cannot be asked."""

from typing import Any

import pytest

from herotill.allocation import GroupAllocation, Period
from herotill.decision import Accept, LoginRequest, Reject, decide
from herotill.outage import decide_in_outage
from herotill.policy import Counting, Ending, Outage, ServicePolicy, Sharing
from herotill.reasons import Reason
from herotill.snapshot import AccountKind, AccountSnapshot, AccountStatus
from tests.unit.rules.build import LAPTOP, NOW, PHONE, account, at, begun, grant, session

REQUEST = LoginRequest("student-1", "login-1", PHONE, "192.0.2.1")
SECONDS = 600
ALLOCATION = GroupAllocation("hostel-a", Period.MONTH, "UTC", ServicePolicy())


def known(outage: Outage, *grants: Any, **changes: Any) -> AccountSnapshot:
    policy = ServicePolicy(outage=outage, **changes.pop("policy", {}))
    return account(grants=grants, policy=policy, **changes)


def decided(snapshot: AccountSnapshot) -> Accept | Reject:
    decision = decide_in_outage(REQUEST, snapshot, NOW, SECONDS)
    assert isinstance(decision, Accept | Reject)
    return decision


def seconds(snapshot: AccountSnapshot) -> int | None:
    decision = decided(snapshot)
    assert isinstance(decision, Accept), decision
    assert decision.reason is Reason.OUTAGE
    return decision.reply.session_timeout_seconds


def test_r34_last_known_is_what_a_policy_says_that_says_nothing() -> None:
    assert ServicePolicy().outage is Outage.LAST_KNOWN
    assert ServicePolicy().to_mapping() == {}
    assert ServicePolicy.from_mapping({"outage": "open"}).outage is Outage.OPEN


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ([begun()], 600),
        ([begun(expires_at=at(3600))], 600),
        ([begun(expires_at=at(599))], 599),
        ([begun(quota_seconds=7)], 7),
    ],
)
def test_r34_last_known_lets_in_who_was_fine_and_never_for_longer_than_was_left(
    grants: list[Any], expected: int
) -> None:
    assert seconds(known(Outage.LAST_KNOWN, *grants)) == expected


def test_r34_last_known_changes_nothing_of_the_reply_but_how_long_it_holds() -> None:
    policy = ServicePolicy(download_bits_per_second=9_000_000, address_pool="homes")
    usual = known(
        Outage.LAST_KNOWN,
        begun(quota_octets=77, counting=Counting.DOWNLOAD, policy=policy, expires_at=at(60)),
    )
    before, after = decide(REQUEST, usual, NOW), decided(usual)
    assert isinstance(before, Accept)
    assert isinstance(after, Accept)
    assert after.reply == before.reply


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, Reason.NO_CREDIT),
        ({"grants": (begun(expires_at=NOW),)}, Reason.EXPIRED),
        ({"status": AccountStatus.DISABLED, "grants": (begun(),)}, Reason.DISABLED),
        ({"status": AccountStatus.SUSPENDED, "grants": (begun(),)}, Reason.SUSPENDED),
        (
            {"grants": (begun(policy=ServicePolicy(max_sessions=1)),), "sessions": (session("a", LAPTOP),)},
            Reason.TOO_MANY_SESSIONS,
        ),
    ],
)
def test_r34_last_known_refuses_who_was_refused_before(changes: dict[str, Any], reason: Reason) -> None:
    assert decided(account(**changes)) == Reject(reason)


def test_r34_a_restricted_session_of_an_outage_is_short_too() -> None:
    ended = begun(expires_at=at(-1), policy=ServicePolicy(at_expiry=Ending.POOL, restricted_pool="walled"))
    assert seconds(known(Outage.LAST_KNOWN, ended)) == SECONDS


@pytest.mark.parametrize(
    "unstarted",
    [grant(), begun(quota_octets=10, policy=ServicePolicy(sharing=Sharing.STRICT))],
    ids=["first use", "slice"],
)
def test_r34_last_known_cannot_commit_anything_and_says_that_it_is_a_disturbance(unstarted: Any) -> None:
    assert decided(known(Outage.LAST_KNOWN, unstarted)) == Reject(Reason.UNAVAILABLE)


def test_r17_an_allocation_is_given_after_the_outage_and_keeps_nobody_from_what_he_paid_for() -> None:
    assert decided(known(Outage.LAST_KNOWN, allocation=ALLOCATION)) == Reject(Reason.UNAVAILABLE)
    assert seconds(known(Outage.LAST_KNOWN, begun(), allocation=ALLOCATION)) == SECONDS


def test_r34_closed_refuses_everybody() -> None:
    assert decided(known(Outage.CLOSED, begun())) == Reject(Reason.UNAVAILABLE)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"grants": (begun(quota_octets=0),)},
        {"sessions": (session("a", LAPTOP),)},
        {"status": AccountStatus.SUSPENDED, "kind": AccountKind.MONTHLY},
    ],
)
def test_r34_open_lets_in_whoever_knows_the_password_on_the_account_s_own_policy(
    changes: dict[str, Any],
) -> None:
    policy = ServicePolicy(outage=Outage.OPEN, download_bits_per_second=1_000_000, max_sessions=1)
    decision = decided(account(policy=policy, **changes))
    assert isinstance(decision, Accept)
    assert decision.reason is Reason.OUTAGE
    assert decision.reply.session_timeout_seconds == SECONDS
    assert decision.reply.download_bits_per_second == 1_000_000
    assert decision.reply.limit_total_octets is None


@pytest.mark.parametrize("outage", [Outage.OPEN, Outage.LAST_KNOWN])
def test_r34_a_disabled_account_is_refused_whatever_its_group_says(outage: Outage) -> None:
    disabled = known(outage, begun(), status=AccountStatus.DISABLED)
    assert decided(disabled) == Reject(Reason.DISABLED)
