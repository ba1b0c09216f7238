"""What live sessions are told when the grants of their account became others: bought, topped up, refilled, given away.

Rule R16. Before and after are what a login would have been told; the difference is what a session is told.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from herotill.grants import Grant
from herotill.live_change import LiveChange, Purpose, changed_service
from herotill.policy import read_policy
from herotill.reply import Reply
from herotill.service import full_service, has_slices, last_end, reply_now, without_limits
from herotill.sessions import Session

RENEWED = "renewed"
"""The reason of such requests (radius.coa_request)."""


@dataclass(frozen=True, slots=True)
class Review:
    """How the grants of an account were: without those `given` since, and others as they were `before`.

    A row of radius.session_review.
    """

    review_id: int
    given: Collection[int]
    before: Mapping[str, Mapping[str, Any]]


def grants_before(grants: Iterable[Grant], review: Review) -> list[Grant]:
    """Return the grants as they were."""
    known = [grant for grant in grants if grant.grant_id not in review.given]
    return [_as_before(grant, review.before.get(str(grant.grant_id))) for grant in known]


def changes_of_review(
    grants: Iterable[Grant], review: Review, live_sessions: Iterable[Session], now: datetime
) -> list[LiveChange]:
    """Return what each live session is to be told; nothing where the account has nothing."""
    known = list(grants)
    after = reply_now(known, now)
    if after is None:
        return []
    former = grants_before(known, review)
    before = _told_before(former, after, now)
    if has_slices(known, now) or has_slices(former, now):
        before, after = without_limits(before), without_limits(after)
    purpose = Purpose.RESTORE if changed_service(before, after) else Purpose.RAISE
    return [
        LiveChange(
            session, f"more:{session.acct_unique_id}:{review.review_id}", RENEWED, purpose, before, after
        )
        for session in live_sessions
    ]


def _as_before(grant: Grant, was: Mapping[str, Any] | None) -> Grant:
    if was is None:
        return grant
    return replace(
        grant,
        policy=read_policy(was["policy"]),
        quota_octets=was["quota_octets"],
        quota_seconds=was["quota_seconds"],
    )


def _told_before(former: list[Grant], after: Reply, now: datetime) -> Reply:
    """Return what the sessions were told; where they were to have nothing and go on all the same, what they had."""
    before = reply_now(former, now)
    if before is not None:
        return before
    ended = last_end(former)
    return after if ended is None else full_service(ended.policy)
