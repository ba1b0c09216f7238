"""When a request is sent again and when it is given up (RFC 5080 §2.2.1). Pure: randomness is an argument."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetransmissionTiming:
    """RFC 5080's IRT, MRT, MRC and MRD, and how far an interval may be from its mean (0.1 is ±10 %)."""

    initial_interval_seconds: float = 2.0
    maximum_interval_seconds: float = 16.0
    maximum_transmissions: int = 5
    maximum_duration_seconds: float = 30.0
    jitter: float = 0.1

    def next_interval_seconds(self, previous_seconds: float | None, randomness: float) -> float:
        """Return how long to wait after a transmission; `randomness` is in [0, 1), `previous_seconds` None at first.

        Jitter keeps a thousand requests that left together from coming back together.
        """
        factor = (2 * randomness - 1) * self.jitter
        if previous_seconds is None:
            return self.initial_interval_seconds * (1 + factor)
        doubled = previous_seconds * (2 + factor)
        return min(doubled, self.maximum_interval_seconds * (1 + factor))
