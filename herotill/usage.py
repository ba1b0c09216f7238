"""Amounts of service: octets by direction and seconds.

Input is what the NAS received (the subscriber's upload), output what it sent (the download): RFC 2866 §5.3, §5.4.
"""

from herotill.policy import Counting
from herotill.value import value


@value
class Usage:
    """Octets and seconds used; all non-negative."""

    input_octets: int = 0
    output_octets: int = 0
    seconds: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_octets + other.input_octets,
            self.output_octets + other.output_octets,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_octets - other.input_octets,
            self.output_octets - other.output_octets,
            self.seconds - other.seconds,
        )

    def __bool__(self) -> bool:
        return bool(self.input_octets or self.output_octets or self.seconds)


NOTHING_USED = Usage()


def counted_octets(counting: Counting, usage: Usage) -> int:
    """Return the octets that count against a quota (rule R14)."""
    if counting is Counting.SUM:
        return usage.input_octets + usage.output_octets
    match counting:
        case Counting.LARGER:
            return max(usage.input_octets, usage.output_octets)
        case Counting.DOWNLOAD:
            return usage.output_octets
        case Counting.UPLOAD:
            return usage.input_octets
