"""What an account's sessions may have at a moment: full service, a step of the ladder, what the end leaves, or nothing.

Rule R16. A login and a session that is online are told the same by the same functions; only how they are told differs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from herotill.grants import Grant, GrantEnd, burn_order
from herotill.ladder import WHOLE, Step, step_at
from herotill.policy import Ending, ServicePolicy, Sharing
from herotill.reply import (
    UNLIMITED,
    Limits,
    Reply,
    like_grants,
    reply_for,
    run_seconds,
    shared_limits,
    throttled_reply,
)


def ending_of(policy: ServicePolicy, end: GrantEnd) -> Ending:
    """Return what the plan does at this end, its ladder aside.

    What was taken back gives nothing, not even a restricted session.
    """
    if end is GrantEnd.VOID:
        return Ending.REJECT
    return policy.at_expiry if end is GrantEnd.EXPIRY else policy.at_quota


def last_end(grants: Iterable[Grant]) -> Grant | None:
    """Return the grant whose written end is the latest."""
    ended = [grant for grant in grants if grant.ended_at is not None]
    return max(ended, key=lambda grant: (grant.ended_at, grant.grant_id), default=None)


def step_in_force(run: Sequence[Grant]) -> Step | None:
    """Return the ladder's step a session on these grants is at, by octets or seconds, whichever is further.

    Of several grants the one used least decides: who has bought more is at full speed again.
    """
    if not run[0].policy.ladder:
        return None
    steps = [_furthest_step(grant) for grant in run]
    return min(steps, key=lambda step: 0 if step is None else step.percent)


def step_after_end(grant: Grant, end: GrantEnd) -> Step | None:
    """Return the step that takes the place of `at_quota` when a grant is used up; None where the ladder has none there."""
    if not grant.policy.ladder or end not in (GrantEnd.QUOTA, GrantEnd.TIME):
        return None
    used, quota = (
        (grant.used_octets, grant.quota_octets)
        if end is GrantEnd.QUOTA
        else (grant.used.seconds, grant.quota_seconds)
    )
    step = None if quota is None else step_at(grant.policy.ladder, used, quota)
    return step if step is not None and step.percent >= WHOLE else None


def living_reply(run: Sequence[Grant], limits: Limits, seconds: int | None) -> Reply:
    """Return what a session in good standing is told, at the rates of its step."""
    return with_step(reply_for(run[0].policy, limits, seconds), step_in_force(run))


def reply_at_end(grant: Grant, end: GrantEnd) -> Reply | None:
    """Return what a session is told when this was the last grant and it ended so; None where it is to have nothing."""
    policy = grant.policy
    step = step_after_end(grant, end)
    if step is not None:
        return None if step.cuts else with_step(throttled_reply(policy), step)
    match ending_of(policy, end):
        case Ending.REJECT:
            return None
        case Ending.POOL:
            return Reply(
                interim_interval_seconds=policy.interim_interval_seconds, address_pool=policy.restricted_pool
            )
        case Ending.THROTTLE:
            return throttled_reply(policy)


def reply_now(grants: Iterable[Grant], now: datetime) -> Reply | None:
    """Return what the sessions of an account may have at `now`, slices of strict grants aside; None is nothing."""
    known = list(grants)
    alive = burn_order(known, now)
    if alive:
        run = like_grants(alive)
        return living_reply(run, shared_limits(run), run_seconds(run, now))
    ended = last_end(known)
    if ended is None or ended.ended_reason is None:
        return None
    return reply_at_end(ended, ended.ended_reason)


def percent_now(grants: Iterable[Grant], now: datetime) -> int:
    """Return the percent of the ladder's step an account is at, before or after the end; 0 is no step."""
    known = list(grants)
    alive = burn_order(known, now)
    if alive:
        step = step_in_force(like_grants(alive))
    else:
        ended = last_end(known)
        step = (
            None if ended is None or ended.ended_reason is None else step_after_end(ended, ended.ended_reason)
        )
    return 0 if step is None else step.percent


def full_service(policy: ServicePolicy) -> Reply:
    """Return what a session has on a policy while nothing limits it."""
    return reply_for(policy, UNLIMITED, None)


def without_limits(reply: Reply) -> Reply:
    """Return the service of a reply alone."""
    return replace(
        reply,
        session_timeout_seconds=None,
        limit_total_octets=None,
        limit_input_octets=None,
        limit_output_octets=None,
    )


def has_slices(grants: Iterable[Grant], now: datetime) -> bool:
    """Whether sessions are limited to slices of their own, which no change for all of them may raise (rule R15)."""
    return any(
        grant.policy.sharing is Sharing.STRICT and grant.quota_octets is not None
        for grant in burn_order(grants, now)
    )


def with_step(reply: Reply, step: Step | None) -> Reply:
    """Return the reply at the rates of a step, without bursts."""
    if step is None:
        return reply
    return replace(
        reply,
        download_bits_per_second=step.download_bits_per_second,
        upload_bits_per_second=step.upload_bits_per_second,
        address_list=step.address_list or reply.address_list,
        # A burst is of the plan's own rates.
        download_burst_bits_per_second=None,
        upload_burst_bits_per_second=None,
        burst_seconds=None,
    )


def _furthest_step(grant: Grant) -> Step | None:
    known = [(grant.used_octets, grant.quota_octets), (grant.used.seconds, grant.quota_seconds)]
    steps = [step_at(grant.policy.ladder, used, quota) for used, quota in known if quota is not None]
    return max(steps, key=lambda step: 0 if step is None else step.percent, default=None)
