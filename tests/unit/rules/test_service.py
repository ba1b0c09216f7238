"""Rule R16: what a session may have is the same for a login and for who is online, and ladders count as the plan says."""

from typing import Any

import pytest

from herotill.decision import Accept, LoginRequest, decide
from herotill.grants import Grant, GrantEnd
from herotill.policy import Counting, Ending, ServicePolicy, Sharing
from herotill.reasons import Reason
from herotill.reply import Reply
from herotill.service import reply_now, step_in_force
from herotill.standing import standing_accept
from herotill.usage import Usage
from tests.unit.rules.build import account, at, begun

LADDER = "50:4000000/2000000,80:2000000/1000000@slow,100:256000/256000"
FULL: dict[str, Any] = {
    "download_bits_per_second": 10**7,
    "upload_bits_per_second": 10**6,
    "address_list": "all",
    "ladder": LADDER,
}


def used(octets: int, quota: int | None = 1000, grant_id: int = 1, **changes: Any) -> Grant:
    policy = ServicePolicy(**(FULL | changes.pop("policy", {})))
    given: dict[str, Any] = {"quota_octets": quota, "used": Usage(0, octets), "policy": policy}
    return begun(grant_id, **(given | changes))


def download_of(*grants: Grant) -> int | None:
    reply = reply_now(grants, at(0))
    assert reply is not None
    return reply.download_bits_per_second


@pytest.mark.parametrize(
    ("octets", "download"), [(0, 10**7), (499, 10**7), (500, 4 * 10**6), (799, 4 * 10**6), (800, 2 * 10**6)]
)
def test_r16_the_rates_follow_what_is_used(octets: int, download: int) -> None:
    assert download_of(used(octets)) == download


def test_r16_seconds_climb_the_ladder_too_and_the_further_one_counts() -> None:
    assert download_of(used(0, None, quota_seconds=100, used=Usage(0, 0, 80))) == 2 * 10**6
    assert download_of(used(0, 1000, quota_seconds=100, used=Usage(0, 500, 80))) == 2 * 10**6
    assert download_of(used(0, 1000, quota_seconds=100, used=Usage(0, 900, 10))) == 2 * 10**6
    assert download_of(used(10**12, None)) == 10**7


def test_r16_a_purchase_undoes_the_ladder_exactly() -> None:
    """Given a grant at its second step, when another of the same plan is bought, full rates are back."""
    old, new = used(900), used(0, grant_id=2)
    assert download_of(old) == 2 * 10**6
    assert reply_now([old, new], at(0)) == reply_now([used(0), new], at(0))
    assert download_of(old, used(500, grant_id=2)) == 4 * 10**6


def test_a_grant_of_another_plan_waits_its_turn() -> None:
    later = used(0, grant_id=2, policy={"ladder": ""}, priority=200)
    assert download_of(used(900), later) == 2 * 10**6


def test_r16_a_step_names_its_address_list() -> None:
    assert reply_now([used(500, policy={"address_list": "all"})], at(0)).address_list == "all"  # type: ignore[union-attr]
    assert reply_now([used(800, policy={"address_list": "all"})], at(0)).address_list == "slow"  # type: ignore[union-attr]


def ended(octets: int = 1000, **policy: Any) -> Grant:
    return used(octets, ended_at=at(0), ended_reason=GrantEnd.QUOTA, policy=policy)


THROTTLED: dict[str, Any] = {
    "at_quota": Ending.THROTTLE,
    "throttled_download_bits_per_second": 64_000,
    "throttled_upload_bits_per_second": 32_000,
}


@pytest.mark.parametrize(
    ("policy", "rates"),
    [
        ({}, (256_000, 256_000)),
        ({"ladder": ""}, None),
        ({"ladder": "80:1000/1000"}, None),
        ({"ladder": "80:1000/1000"} | THROTTLED, (64_000, 32_000)),
        ({"ladder": "100:cut"} | THROTTLED, None),
    ],
)
def test_r16_at_the_end_the_ladder_comes_before_the_plan(
    policy: dict[str, Any], rates: tuple[int, int] | None
) -> None:
    reply = reply_now([ended(**policy)], at(1))
    found = None if reply is None else (reply.download_bits_per_second, reply.upload_bits_per_second)
    assert found == rates


@pytest.mark.parametrize("grants", [(used(0),), (used(850),), (used(850), used(10, grant_id=2)), (ended(),)])
def test_r16_a_login_is_told_what_a_live_session_is_told(grants: tuple[Grant, ...]) -> None:
    living = tuple(grant for grant in grants if grant.ended_at is None)
    last = next((grant for grant in grants if grant.ended_at is not None), None)
    snapshot = account(grants=living, last_ended=last)
    decision = decide(LoginRequest("student-1", "login"), snapshot, at(0))
    assert isinstance(decision, Accept)
    assert decision.reply == reply_now(grants, at(0))
    assert decision.reason is (Reason.ACCEPTED if living else Reason.THROTTLED)
    standing = standing_accept(snapshot, at(0))
    if living:
        assert standing is not None
        assert standing.reply == decision.reply


def test_r16_a_session_that_will_only_be_slowed_is_told_no_limit() -> None:
    """Else the router would end it where it is to go on slower."""
    slowed = begun(quota_octets=1000, quota_seconds=60, policy=ServicePolicy(**THROTTLED))
    reply = reply_now([slowed], at(0))
    assert reply == Reply(interim_interval_seconds=600)
    cut = begun(quota_octets=1000, quota_seconds=60, policy=ServicePolicy(ladder="80:1000/1000"))
    assert reply_now([cut], at(0)) == Reply(
        interim_interval_seconds=600, limit_total_octets=1000, session_timeout_seconds=60
    )


def test_r15_a_strict_slice_stays_a_limit_on_the_ladder() -> None:
    strict = used(800, policy={"sharing": Sharing.STRICT}, counting=Counting.SUM)
    step = step_in_force([strict])
    assert step is not None
    assert step.percent == 80
