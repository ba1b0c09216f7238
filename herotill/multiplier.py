"""What an octet counts where it was carried (rule R22): nothing where a NAS is zero-rated, twice over a dear backhaul.

A NAS's multiplier is a whole number of thousandths: 0, 500, 1000, 2000. A session is charged by its totals, not report by
report, so that rounding loses nothing: after any number of reports, a direction was charged floor(octets * multiplier).
"""

from herotill.usage import Usage

PER_MILLE = 1000
MAX_PER_MILLE = 100_000


def charged_usage(before: Usage, after: Usage, per_mille: int) -> Usage:
    """Return what a session whose totals went from `before` to `after` takes from its grants. Seconds count as they are."""
    if per_mille == PER_MILLE:
        return after - before
    return Usage(
        after.input_octets * per_mille // PER_MILLE - before.input_octets * per_mille // PER_MILLE,
        after.output_octets * per_mille // PER_MILLE - before.output_octets * per_mille // PER_MILLE,
        after.seconds - before.seconds,
    )


def carried_octets(remaining_octets: int | None, per_mille: int) -> int | None:
    """Return how many octets a NAS may carry until `remaining_octets` are used up; None is without limit.

    Rounded up: the last octet of a grant can be used, and something left is never told as nothing, which many a NAS
    takes for no limit at all.
    """
    if remaining_octets is None or per_mille == 0:
        return None
    return -(-remaining_octets * PER_MILLE // per_mille)
