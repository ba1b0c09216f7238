"""The 256 Identifiers of one source port towards one destination (RFC 5176 §6.3). Pure: the time is an argument."""

import math
from collections import deque

IDENTIFIERS_PER_PORT = 256


class IdentifierPool:
    """Hands out Identifiers and rests each one after use.

    A NAS may take a request for a retransmission of an earlier one with the same Identifier from the same port for as
    long as it believes Event-Timestamps, 300 s by default; until then the Identifier is not used again. Times are
    monotonic seconds.
    """

    __slots__ = ("_never_used", "_rest_seconds", "_resting")

    def __init__(self, rest_seconds: float) -> None:
        self._rest_seconds = rest_seconds
        self._never_used = 0
        self._resting: deque[tuple[float, int]] = deque()

    def claim(self, now: float) -> int | None:
        """Take a free Identifier, or None when all are in flight or resting."""
        if self._never_used < IDENTIFIERS_PER_PORT:
            self._never_used += 1
            return self._never_used - 1
        if self._resting and self._resting[0][0] <= now:
            return self._resting.popleft()[1]
        return None

    def release(self, identifier: int, now: float) -> None:
        """Begin the rest of an Identifier whose request was last transmitted at or before `now`."""
        self._resting.append((now + self._rest_seconds, identifier))

    def give_back(self, identifier: int) -> None:
        """Return an Identifier that was claimed but never transmitted; it needs no rest."""
        self._resting.appendleft((-math.inf, identifier))

    def next_free_at(self) -> float | None:
        """Return when the first resting Identifier may be used again; None when none rests."""
        return self._resting[0][0] if self._resting else None
