"""Usage notices: which marks of its quota or time a grant has passed (rule R21).

The marks are percents, part of a grant's policy and so of what was sold (rule R12).
"""

from herotill.grants import Grant
from herotill.policy import parse_percents


def percent_used(grant: Grant) -> int:
    """Return how much of its quota or of its time a grant has used, whichever is more, in whole percents, 100 at most.

    An unlimited grant has used nothing.
    """
    octets = _percent(grant.used_octets, grant.quota_octets)
    return max(octets, _percent(grant.used.seconds, grant.quota_seconds))


def marks_passed(before: Grant, after: Grant) -> tuple[int, ...]:
    """Return the marks a grant has passed between two states of it, rising."""
    if not after.policy.notice_percents or (after.quota_octets is None and after.quota_seconds is None):
        return ()
    marks, is_now = parse_percents(after.policy.notice_percents), percent_used(after)
    if is_now < marks[0]:
        return ()
    was = percent_used(before)
    return () if was == is_now else tuple(mark for mark in marks if was < mark <= is_now)


def _percent(used: int, quota: int | None) -> int:
    if quota is None:
        return 0
    return 100 if used >= quota else used * 100 // quota
