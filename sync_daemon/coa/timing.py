"""When a request is sent again and when it is given up (RFC 5080 §2.2.1). Pure: randomness is an argument."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetransmissionTiming:
    """RFC 5080's IRT, MRT, MRC and MRD, and how far an interval may be from its mean (0.1 is ±10 %).

    A NAS that is known to answer quickly is asked again sooner than IRT, but not before `least_interval_seconds`
    (docs/decisions/0020-a-quick-nas-is-asked-again-sooner.md).
    """

    initial_interval_seconds: float = 2.0
    maximum_interval_seconds: float = 16.0
    maximum_transmissions: int = 5
    maximum_duration_seconds: float = 30.0
    jitter: float = 0.1
    least_interval_seconds: float = 0.4

    def first_interval_seconds(self, answer_seconds: float | None, randomness: float) -> float:
        """Return how long to wait after the first transmission to a NAS that is to answer in this time, None: unknown."""
        mean = self.initial_interval_seconds
        if answer_seconds is not None:
            mean = min(mean, max(self.least_interval_seconds, answer_seconds))
        return mean * (1 + self._factor(randomness))

    def next_interval_seconds(self, previous_seconds: float, randomness: float) -> float:
        """Return how long to wait after a retransmission; `randomness` is in [0, 1).

        Jitter keeps a thousand requests that left together from coming back together.
        """
        factor = self._factor(randomness)
        doubled = previous_seconds * (2 + factor)
        return min(doubled, self.maximum_interval_seconds * (1 + factor))

    def _factor(self, randomness: float) -> float:
        return (2 * randomness - 1) * self.jitter
