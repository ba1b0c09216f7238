"""A bad network, on purpose: packets lost by number or by chance, sent twice, replies not heard.

Owns the decisions only; sockets ask before they send and when they receive. Chance is seeded, so a failure can be replayed.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from herotill.errors import InvalidValue


class Direction(StrEnum):
    """Which way a packet goes, seen from the NAS."""

    OUT = "out"
    IN = "in"


class Loss:
    """Decides which packets never arrive.

    `out` and `inward` are the numbers (from 1) of the packets to lose each way; `probability` loses any packet besides.
    """

    def __init__(
        self,
        out: Collection[int] = (),
        inward: Collection[int] = (),
        probability: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not 0.0 <= probability <= 1.0:
            raise InvalidValue("probability", probability, "it is from 0 to 1")
        self._numbers = {Direction.OUT: frozenset(out), Direction.IN: frozenset(inward)}
        self._seen = {Direction.OUT: 0, Direction.IN: 0}
        self._probability = probability
        self._chance = random.Random(seed)  # noqa: S311 - replayable, not secret
        self.lost = 0

    def loses(self, direction: Direction) -> bool:
        """Whether the next packet of this direction is lost. Every call counts one packet."""
        self._seen[direction] += 1
        by_number = self._seen[direction] in self._numbers[direction]
        lost = by_number or self._chance.random() < self._probability
        self.lost += lost
        return lost


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one request is sent.

    `copies` go out at once, each the same octets; the first `deaf` replies are not heard, so that the NAS retransmits.
    `attempts` and `timeout_seconds` override the NAS's own settings.
    """

    copies: int = 1
    deaf: int = 0
    attempts: int | None = None
    timeout_seconds: float | None = None


NORMALLY = Delivery()
TWICE = Delivery(copies=2)
"""The request and its duplicate, back to back."""
EVERY_REPLY_LOST_ONCE = Delivery(deaf=1)
"""The server works, the NAS does not hear it, and asks again."""
