"""The neutral reply: what an Access-Accept grants a session, before any NAS dialect."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zlib import crc32

from herotill.grants import Grant, grant_ends_at
from herotill.ladder import WHOLE, step_at
from herotill.multiplier import PER_MILLE, carried_octets
from herotill.policy import Counting, Ending, Rates, ServicePolicy

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an Access-Accept says, before any dialect: None is unlimited or unsaid.

    Octets are what this session may still use; input is the subscriber's upload, output the download. A burst is the rate
    for so many seconds, where the make has it; `redirect_url` is where the subscriber is led to.
    """

    session_timeout_seconds: int | None = None
    idle_timeout_seconds: int | None = None
    interim_interval_seconds: int | None = None
    limit_total_octets: int | None = None
    limit_input_octets: int | None = None
    limit_output_octets: int | None = None
    download_bits_per_second: int | None = None
    upload_bits_per_second: int | None = None
    address_pool: str | None = None
    address_list: str | None = None
    download_burst_bits_per_second: int | None = None
    upload_burst_bits_per_second: int | None = None
    burst_seconds: int | None = None
    redirect_url: str | None = None


Limits = tuple[int | None, int | None, int | None]
"""Octets a session may still use: total, input, output; None is unlimited."""
UNLIMITED: Limits = (None, None, None)


def like_grants(alive: Sequence[Grant]) -> list[Grant]:
    """Return the leading grants that one session can use one after the other without a change of service."""
    first = alive[0]
    run = [first]
    for grant in alive[1:]:
        # Asked by identity first: equal policies are mostly one object (herotill.policy.read_policy).
        is_like = grant.policy is first.policy or grant.policy == first.policy
        if not is_like or grant.counting is not first.counting:
            break
        run.append(grant)
    return run


def shared_limits(run: Sequence[Grant]) -> Limits:
    """Return what all grants of a run leave together; every session of the account is told the same.

    Where the end only slows the session, the router is told no limit: it would end the session there.
    """
    if any(grant.quota_octets is None for grant in run) or slows_at_quota(run[0].policy):
        return UNLIMITED
    total = sum(grant.remaining_octets or 0 for grant in run)
    if run[0].counting is not Counting.LARGER:
        return limits_for(run[0].counting, total, total, total)
    quota = sum(grant.quota_octets or 0 for grant in run)
    return limits_for(
        Counting.LARGER,
        total,
        quota - sum(grant.used.input_octets for grant in run),
        quota - sum(grant.used.output_octets for grant in run),
    )


def limits_for(counting: Counting, total: int, input_octets: int, output_octets: int) -> Limits:
    """Return the limits on total, input and output octets that enforce a remainder counted this way."""
    match counting:
        case Counting.SUM:
            return (total, None, None)
        case Counting.LARGER:
            return (None, max(0, input_octets), max(0, output_octets))
        case Counting.DOWNLOAD:
            return (None, None, output_octets)
        case Counting.UPLOAD:
            return (None, input_octets, None)


def slows_at_quota(policy: ServicePolicy) -> bool:
    """Whether a session goes on, slower, when octets or seconds are used up (rule R16)."""
    step = step_at(policy.ladder, WHOLE, WHOLE) if policy.ladder else None
    if step is not None and step.percent == WHOLE:
        return not step.cuts
    return policy.at_quota is Ending.THROTTLE


def run_bounds(run: Sequence[Grant], now: datetime) -> tuple[int | None, datetime | None]:
    """Return the session seconds a run leaves and when its last grant ends; None is unbounded.

    An end that only slows the session bounds nothing.
    """
    policy = run[0].policy
    quotas = [None] if slows_at_quota(policy) else [grant.remaining_seconds for grant in run]
    ends = [None] if policy.at_expiry is Ending.THROTTLE else [grant_ends_at(grant, now) for grant in run]
    seconds = None if None in quotas else sum(quota for quota in quotas if quota is not None)
    return seconds, None if None in ends else max(end for end in ends if end is not None)


def run_seconds(run: Sequence[Grant], now: datetime) -> int | None:
    """Return how long a session on these grants may last: until the last ends, or their seconds are used."""
    return seconds_left(*run_bounds(run, now), now)


def seconds_left(quota_seconds: int | None, ends_at: datetime | None, now: datetime) -> int | None:
    """Return the whole seconds until the quota is used or `ends_at` is reached, at least 1; None is unbounded."""
    # Rounded up: a session must not end before what was paid for; the daemon ends it to the second.
    seconds = None if ends_at is None else -((now - ends_at) // _SECOND)
    if seconds is None or (quota_seconds is not None and quota_seconds < seconds):
        seconds = quota_seconds
    return None if seconds is None else max(1, seconds)


def reply_for(policy: ServicePolicy, limits: Limits, seconds: int | None) -> Reply:
    """Return the reply of a session in good standing."""
    return Reply(
        session_timeout_seconds=seconds,
        idle_timeout_seconds=policy.idle_timeout_seconds,
        interim_interval_seconds=policy.interim_interval_seconds,
        limit_total_octets=limits[0],
        limit_input_octets=limits[1],
        limit_output_octets=limits[2],
        download_bits_per_second=policy.download_bits_per_second,
        upload_bits_per_second=policy.upload_bits_per_second,
        address_pool=policy.address_pool,
        address_list=policy.address_list,
        download_burst_bits_per_second=policy.download_burst_bits_per_second,
        upload_burst_bits_per_second=policy.upload_burst_bits_per_second,
        burst_seconds=policy.burst_seconds,
        redirect_url=policy.redirect_url,
    )


def throttled_reply(policy: ServicePolicy) -> Reply:
    """Return the reply for a session that goes on at the throttled rates."""
    rates: Rates = policy.throttled_rates
    return Reply(
        idle_timeout_seconds=policy.idle_timeout_seconds,
        interim_interval_seconds=policy.interim_interval_seconds,
        download_bits_per_second=rates.download_bits_per_second,
        upload_bits_per_second=rates.upload_bits_per_second,
        address_pool=policy.address_pool,
        address_list=policy.address_list,
    )


def carried_reply(reply: Reply, per_mille: int) -> Reply:
    """Return the reply for a NAS whose octets count so many thousandths: what it may carry (rule R22)."""
    if per_mille == PER_MILLE:
        return reply
    return replace(
        reply,
        limit_total_octets=carried_octets(reply.limit_total_octets, per_mille),
        limit_input_octets=carried_octets(reply.limit_input_octets, per_mille),
        limit_output_octets=carried_octets(reply.limit_output_octets, per_mille),
    )


def spread_interim_interval(reply: Reply, login_id: str) -> Reply:
    """Return the reply with its interim interval spread."""
    interval = reply.interim_interval_seconds
    if interval is None:
        return reply
    return replace(reply, interim_interval_seconds=spread_interval(interval, login_id))


def spread_interval(interval_seconds: int, login_id: str) -> int:
    """Return an interval moved by up to a tenth, so that NASes do not march in step.

    RFC 2869 §5.16: at least 60 seconds.
    """
    tenth = interval_seconds // 10
    spread = interval_seconds - tenth + crc32(login_id.encode()) % (2 * tenth + 1)
    return max(60, spread)
