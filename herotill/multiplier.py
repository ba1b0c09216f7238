"""What an octet counts where it was carried (rule R22): nothing where a NAS is zero-rated, twice over a dear backhaul.

A NAS's multiplier is a whole number of thousandths: 0, 500, 1000, 2000. A session is charged by its totals, not report by
report, so that rounding loses nothing: after any number of reports, a direction was charged floor(octets * multiplier).
"""

import re

from herotill.errors import InvalidValue
from herotill.usage import Usage

PER_MILLE = 1000
MAX_PER_MILLE = 100_000
_MULTIPLIER = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,3}))?x?", re.ASCII)


def parse_multiplier(text: str, field: str) -> int:
    """Read `0`, `2x` or `1.25` into thousandths. Raises InvalidValue."""
    match = _MULTIPLIER.fullmatch(text.strip())
    per_mille = -1 if match is None else int(match[1]) * PER_MILLE + int((match[2] or "0").ljust(3, "0"))
    if not 0 <= per_mille <= MAX_PER_MILLE:
        raise InvalidValue(
            field, text, "it is a number from 0 to 100 with up to three decimals, like 0, 0.5 or 2x"
        )
    return per_mille


def format_multiplier(per_mille: int) -> str:
    """Write a multiplier as it can be typed: `2x`, `0.5x`."""
    whole, thousandths = divmod(per_mille, PER_MILLE)
    decimals = f".{thousandths:03}".rstrip("0") if thousandths else ""
    return f"{whole}{decimals}x"


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
