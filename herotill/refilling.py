"""What a refill does to what an account still has (rule R9).

Time and quota are added, and unlimited wins. What becomes of the end and of the rates is the refill's plan's choice.
The refill is a grant of its own, beside those it refills, so that what was sold stays what was sold; grants that are
refilled together end together. A group's allocation is a gift with a calendar of its own and is never refilled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from herotill.grants import Grant, GrantEnd, burn_order, grant_ends_at, with_end_written
from herotill.policy import Counting, Ending
from herotill.service import last_end
from herotill.usage import NOTHING_USED, Usage

ALLOCATION = "allocation"


class RefillExpiry(StrEnum):
    """When what was refilled ends."""

    REPLACE = "replace"  # when the refill ends
    EXTEND = "extend"  # so much later than before as the refill is valid
    LATEST = "latest"  # when the one of the two ends that ends last


class RefillRates(StrEnum):
    """At which rates what was refilled runs."""

    REPLACE = "replace"  # at the refill's
    KEEP = "keep"  # as before


@dataclass(frozen=True, slots=True)
class RefillTerms:
    """A plan's choice. With `counts_overuse` a soft-capped user's over-use is taken from the refill."""

    expiry: RefillExpiry = RefillExpiry.LATEST
    rates: RefillRates = RefillRates.KEEP
    counts_overuse: bool = False


@dataclass(frozen=True, slots=True)
class Refilled:
    """The refill's own grant, and the living grants it changed."""

    grant: Grant
    changed: tuple[Grant, ...]


def refill(grants: Iterable[Grant], fresh: Grant, terms: RefillTerms, now: datetime) -> Refilled:
    """Refill the living among `grants` with `fresh`, which is as its plan alone would make it; return both as they become.

    `grants` holds the account's living grants and the one that ended last.
    """
    known = [with_end_written(grant, now) for grant in grants]
    living = [grant for grant in burn_order(known, now) if grant.source != ALLOCATION]
    ended = last_end(known)
    fresh = _at_rates_of(fresh, living or ([] if ended is None else [ended]), terms.rates)
    if not living:
        return Refilled(_with_overuse(fresh, ended, now) if terms.counts_overuse else fresh, ())
    together = [grant for grant in living if not _waits_for_first_use(grant)]
    joined = [_joined(grant, [*living, fresh]) for grant in [fresh, *living]]
    if terms.rates is RefillRates.REPLACE:
        joined = [_with_rates(grant, fresh) for grant in joined]
    if together:
        ends_at = _common_end(together, fresh, terms.expiry, now)
        joined = [grant if _stays_waiting(grant, fresh) else _ending_at(grant, ends_at) for grant in joined]
    changed = (after for after, before in zip(joined[1:], living, strict=True) if after != before)
    return Refilled(joined[0], tuple(changed))


def overuse(ended: Grant) -> Usage:
    """Return what was used beyond the quota after a soft cap: while the plan throttled or restricted, not rejected."""
    if ended.ended_reason not in (GrantEnd.QUOTA, GrantEnd.TIME) or ended.policy.at_quota is Ending.REJECT:
        return NOTHING_USED
    octets = 0 if ended.quota_octets is None else max(0, ended.used_octets - ended.quota_octets)
    seconds = 0 if ended.quota_seconds is None else max(0, ended.used.seconds - ended.quota_seconds)
    if ended.counting is Counting.UPLOAD:
        return Usage(octets, 0, seconds)
    return Usage(0, octets, seconds)


def overuse_taken(fresh: Grant, others: Iterable[Grant], now: datetime) -> Usage:
    """Return what a refill that counts over-use begins with, beside these grants of its account."""
    known = [with_end_written(grant, now) for grant in others]
    if any(grant.source != ALLOCATION for grant in burn_order(known, now)):
        return NOTHING_USED
    return _taken_from(fresh, last_end(known))


def _taken_from(fresh: Grant, ended: Grant | None) -> Usage:
    if ended is None:
        return NOTHING_USED
    beyond = overuse(ended)
    octets = 0 if fresh.quota_octets is None else beyond.input_octets + beyond.output_octets
    seconds = 0 if fresh.quota_seconds is None else beyond.seconds
    return Usage(octets, 0, seconds) if fresh.counting is Counting.UPLOAD else Usage(0, octets, seconds)


def _with_overuse(fresh: Grant, ended: Grant | None, now: datetime) -> Grant:
    return with_end_written(replace(fresh, used=_taken_from(fresh, ended)), now)


def _at_rates_of(fresh: Grant, before: Sequence[Grant], rates: RefillRates) -> Grant:
    return _with_rates(fresh, before[0]) if before and rates is RefillRates.KEEP else fresh


def _with_rates(grant: Grant, model: Grant) -> Grant:
    rates = model.policy.rates
    policy = replace(
        grant.policy,
        download_bits_per_second=rates.download_bits_per_second,
        upload_bits_per_second=rates.upload_bits_per_second,
    )
    return replace(grant, policy=policy)


def _joined(grant: Grant, all_of_them: Sequence[Grant]) -> Grant:
    """Return the grant unlimited in what any of them is unlimited in; the rest adds up by itself."""
    octets_unlimited = any(each.quota_octets is None for each in all_of_them)
    seconds_unlimited = any(each.quota_seconds is None for each in all_of_them)
    return replace(
        grant,
        quota_octets=None if octets_unlimited else grant.quota_octets,
        quota_seconds=None if seconds_unlimited else grant.quota_seconds,
    )


def _waits_for_first_use(grant: Grant) -> bool:
    return grant.first_used_at is None and grant.seconds_after_first_use is not None


def _stays_waiting(grant: Grant, fresh: Grant) -> bool:
    """A grant whose clock has not begun keeps it: a refill must not begin it. The refill itself joins the others."""
    return grant.grant_id != fresh.grant_id and _waits_for_first_use(grant)


def _common_end(
    living: Sequence[Grant], fresh: Grant, expiry: RefillExpiry, now: datetime
) -> datetime | None:
    """Return when the refill and what it refills end; None is never, and never wins unless it is replaced."""
    fresh_end = grant_ends_at(fresh, now)
    ends = [grant_ends_at(grant, now) for grant in living]
    if expiry is RefillExpiry.REPLACE or fresh_end is None:
        return fresh_end
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return None
    last = max(known)
    return last + (fresh_end - now) if expiry is RefillExpiry.EXTEND else max(last, fresh_end)


def _ending_at(grant: Grant, ends_at: datetime | None) -> Grant:
    """Return the grant with one fixed end; its other clocks have had their say."""
    return replace(grant, expires_at=ends_at, seconds_after_first_use=None, seconds_after_last_use=None)
