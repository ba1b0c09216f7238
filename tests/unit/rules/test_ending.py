"""Rules R15 and R16: who is cut, who is throttled and who is left alone when the last grant has ended."""

from typing import Any

import pytest

from herotill.ending import cuts_at_end
from herotill.grants import Grant, GrantEnd
from herotill.policy import Ending, ServicePolicy
from herotill.service import last_end
from herotill.snapshot import AccountKind
from herotill.usage import Usage
from tests.unit.rules.build import INSTANT, LAPTOP, at, begun, session

THROTTLED: dict[str, Any] = {
    "throttled_download_bits_per_second": 64_000,
    "throttled_upload_bits_per_second": 64_000,
}
BEFORE = session("before", started_at=at(-1))
AT_THE_END = session("at the end", LAPTOP, started_at=at(0))
AFTER = session("after", "tv", started_at=at(1))
ONLINE = (BEFORE, AT_THE_END, AFTER)


def ended(grant_id: int = 1, reason: GrantEnd = GrantEnd.QUOTA, seconds: float = 0, **policy: Any) -> Grant:
    return begun(grant_id, ended_at=at(seconds), ended_reason=reason, policy=ServicePolicy(**policy))


def cut(grants: list[Grant], kind: AccountKind = AccountKind.PREPAID) -> list[tuple[str, bool]]:
    return [
        (one.session.acct_unique_id, one.reply is not None)
        for one in cuts_at_end(kind, grants, ONLINE, at(5))
    ]


ALL_CUT = [("before", False), ("at the end", False), ("after", False)]


@pytest.mark.parametrize("reason", [GrantEnd.QUOTA, GrantEnd.TIME, GrantEnd.EXPIRY])
@pytest.mark.parametrize("kind", [AccountKind.HOTSPOT, AccountKind.PREPAID])
def test_r15_all_sessions_of_the_account_are_cut_at_once(reason: GrantEnd, kind: AccountKind) -> None:
    assert cut([ended(reason=reason)], kind) == ALL_CUT


@pytest.mark.parametrize("reason", [GrantEnd.QUOTA, GrantEnd.TIME])
def test_r15_a_monthly_account_that_used_its_quota_up_is_cut_too(reason: GrantEnd) -> None:
    assert cut([ended(reason=reason)], AccountKind.MONTHLY) == ALL_CUT


@pytest.mark.parametrize(
    ("reason", "policy", "expected"),
    [
        (GrantEnd.QUOTA, {"at_quota": Ending.THROTTLE}, [("before", True)]),
        (GrantEnd.TIME, {"at_quota": Ending.THROTTLE}, [("before", True)]),
        (GrantEnd.EXPIRY, {"at_quota": Ending.THROTTLE}, ALL_CUT),
        (GrantEnd.EXPIRY, {"at_expiry": Ending.THROTTLE}, [("before", True)]),
        (GrantEnd.QUOTA, {"at_quota": Ending.POOL}, [("before", True)]),
        # What was taken back ends as a login would be answered: with no credit.
        (GrantEnd.VOID, {"at_quota": Ending.THROTTLE}, ALL_CUT),
        (GrantEnd.VOID, {"at_quota": Ending.POOL}, ALL_CUT),
    ],
)
def test_r16_a_restricted_session_is_touched_only_if_it_began_before_the_end(
    reason: GrantEnd, policy: dict[str, Any], expected: list[tuple[str, bool]]
) -> None:
    assert cut([ended(reason=reason, restricted_pool="walled", **THROTTLED, **policy)]) == expected


def test_r16_another_living_grant_keeps_everybody_online_to_its_last_instant() -> None:
    grants = [ended(), begun(2, expires_at=at(5))]
    assert cuts_at_end(AccountKind.PREPAID, grants, ONLINE, at(5) - INSTANT) == []
    assert len(cuts_at_end(AccountKind.PREPAID, grants, ONLINE, at(5))) == 3


def test_an_account_that_never_had_a_grant_is_left_alone() -> None:
    assert cut([]) == []


@pytest.mark.parametrize("reason", [GrantEnd.VOID, GrantEnd.EXPIRY])
def test_r24_a_monthly_account_whose_grant_expired_or_was_taken_back_goes_on(reason: GrantEnd) -> None:
    assert cut([ended(reason=reason)], AccountKind.MONTHLY) == []


def test_the_grant_that_ended_last_decides_and_of_equals_the_newer() -> None:
    assert last_end([begun(9), ended(1, seconds=2), ended(3, seconds=1)]) == ended(1, seconds=2)
    assert last_end([ended(2), ended(1)]) == ended(2)
    assert last_end([begun()]) is None


LADDER = "80:2000000/1000000,100:256000/128000,120:64000/64000,150:cut"


def used_up(octets: int, ladder: str = LADDER, **changes: Any) -> Grant:
    policy = ServicePolicy(ladder=ladder)
    given: dict[str, Any] = {"quota_octets": 1000, "used": Usage(0, octets), "policy": policy}
    return begun(1, ended_at=at(0), ended_reason=GrantEnd.QUOTA, **(given | changes))


@pytest.mark.parametrize(
    ("octets", "rates", "names"),
    [
        (1000, (256_000, 128_000), ["before"]),
        (1199, (256_000, 128_000), ["before"]),
        (1200, (64_000, 64_000), ["before", "at the end"]),
        (1500, None, ["before", "at the end", "after"]),
    ],
)
def test_r16_the_ladder_goes_on_after_the_end(
    octets: int, rates: tuple[int, int] | None, names: list[str]
) -> None:
    cuts = cuts_at_end(AccountKind.PREPAID, [used_up(octets)], ONLINE, at(5), stepped_at=at(0.5))
    told = {
        None if one.reply is None else (one.reply.download_bits_per_second, one.reply.upload_bits_per_second)
        for one in cuts
    }
    assert told == {rates}
    assert [one.session.acct_unique_id for one in cuts] == names


def test_r16_each_step_after_the_end_is_a_request_of_its_own() -> None:
    keys = {
        cuts_at_end(AccountKind.PREPAID, [used_up(octets)], ONLINE, at(5))[0].request_key
        for octets in (1000, 1100, 1200, 1300, 1500)
    }
    assert keys == {"end:before:1:100", "end:before:1:120", "end:before:1:150"}


def test_r16_a_ladder_that_ends_before_the_end_leaves_it_to_the_plan() -> None:
    ended_so = used_up(1000, "80:2000000/1000000")
    assert {one.reply for one in cuts_at_end(AccountKind.PREPAID, [ended_so], ONLINE, at(5))} == {None}


def test_a_cut_is_asked_for_once_for_one_end_of_one_session() -> None:
    keys = {one.request_key for one in cuts_at_end(AccountKind.PREPAID, [ended(7)], ONLINE, at(5))}
    assert keys == {"end:before:7", "end:at the end:7", "end:after:7"}
