"""Session counters: 64-bit and monotonic, whatever a NAS loses, repeats, reorders or wraps.

Acct-Input-Octets and Acct-Output-Octets are cumulative 32-bit counters (RFC 2866 §5.3, §5.4); Gigawords count their wraps
(RFC 2869 §5.1, §5.2). Some NASes never send Gigawords: their wraps are inferred. Because counters are cumulative, a lost
report costs nothing, and the total is the same in whatever order reports arrive.
"""

from herotill.usage import NOTHING_USED, Usage
from herotill.value import value

WORD = 1 << 32
MAX_LINK_BITS_PER_SECOND = 10_000_000_000
"""No access link behind a NAS without Gigawords carries more; a wrap that would need more is a counter reset instead."""


@value
class Counter:
    """One direction as reported: the low 32 bits, and the Gigawords where the NAS sent them."""

    low: int
    gigawords: int | None = None

    @property
    def octets(self) -> int:
        """The value taken literally."""
        return ((self.gigawords or 0) << 32) + self.low


@value
class Reading:
    """The counters of one report; `seconds` is Acct-Session-Time."""

    seconds: int
    input: Counter
    output: Counter


@value
class Meter:
    """What is known of one session's counters."""

    total: Usage = NOTHING_USED
    sends_gigawords: bool = False


UNREAD = Meter()


def advance(meter: Meter, reading: Reading) -> Meter:
    """Return the meter after one more report. No total ever goes down."""
    gigawords = (
        meter.sends_gigawords or reading.input.gigawords is not None or reading.output.gigawords is not None
    )
    elapsed = reading.seconds - meter.total.seconds
    if reading.input.octets == 0 == reading.output.octets:
        # Some NASes send Stops with zero counters (accel-ppp#273): they tell the time, not the octets.
        return Meter(
            Usage(
                meter.total.input_octets, meter.total.output_octets, max(meter.total.seconds, reading.seconds)
            ),
            gigawords,
        )
    return Meter(
        Usage(
            _advance_octets(meter.total.input_octets, reading.input, elapsed, gigawords),
            _advance_octets(meter.total.output_octets, reading.output, elapsed, gigawords),
            max(meter.total.seconds, reading.seconds),
        ),
        gigawords,
    )


def _advance_octets(known: int, counter: Counter, elapsed: int, gigawords: bool) -> int:
    if gigawords:
        return max(known, counter.octets)
    if counter.low == 0:
        # Not said, or zeroed in a Stop; that a wrap ended exactly here is one chance in 2**32, and heals with the next.
        return known
    if elapsed < 0:
        return _at_least(known, counter.low, -elapsed)
    base = known - known % WORD
    if counter.low >= known % WORD:
        return base + counter.low
    wrapped = base + WORD + counter.low
    return wrapped if _can_carry(wrapped - known, elapsed) else known


def _at_least(known: int, earlier_low: int, seconds: int) -> int:
    """Return the total, knowing that a report of so many seconds earlier already showed `earlier_low`.

    Where it showed more, a wrap between the two was missed; or the later one was a Stop without counters.
    """
    if known >= earlier_low:
        return known
    wrapped = known + WORD
    return wrapped if known and _can_carry(wrapped - earlier_low, seconds) else earlier_low


def _can_carry(octets: int, seconds: int) -> bool:
    return octets * 8 <= seconds * MAX_LINK_BITS_PER_SECOND
