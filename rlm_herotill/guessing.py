"""Guessing is limited: a device that fails too often waits, and at a NAS that is guessed at no fresh code works (rule R10).

Kept in the memory of this node alone. Refusals made here are not failures, so whoever waits is let in again; and they say
the same of every name, so that they do not reveal which are somebody's.
"""

import time
from collections.abc import Callable

from rlm_herotill.recent import Recent

DEVICE_FAILURES = 10
NAS_FAILURES = 300
"""A NAS has many users, and some of them routers that never tire of a wrong password; each of these is soon made to wait."""
WINDOW_SECONDS = 300.0
LIMIT = 50_000


class Guesses:
    """Wrong names and passwords of late, by device at its NAS and by NAS."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = Recent[int](LIMIT)
        self._at_nas: dict[str, int] = {}
        self._turned_at = clock()
        self._waiting: dict[str, float] = {}

    def note(self, nas_address: str, device: str) -> None:
        """Count a failure."""
        self._turn()
        self._at_nas[nas_address] = self._at_nas.get(nas_address, 0) + 1
        if not device:
            return
        key = f"{nas_address} {device}"
        count = (self._failures.get(key) or 0) + 1
        if count < DEVICE_FAILURES:
            self._failures.put(key, count)
            return
        self._failures.pop(key)
        if len(self._waiting) >= LIMIT:
            self._waiting.clear()
        self._waiting[key] = self._clock() + WINDOW_SECONDS

    def must_wait(self, nas_address: str, device: str) -> bool:
        """Whether this device has failed too often."""
        if not self._waiting:
            return False
        key = f"{nas_address} {device}"
        until = self._waiting.get(key)
        if until is None or self._clock() < until:
            return until is not None
        del self._waiting[key]
        return False

    def is_guessed_at(self, nas_address: str) -> bool:
        """Whether there were too many failures at this NAS, by whatever devices: their names are quickly made up."""
        self._turn()
        return self._at_nas.get(nas_address, 0) >= NAS_FAILURES

    def _turn(self) -> None:
        if self._clock() - self._turned_at >= WINDOW_SECONDS:
            self._turned_at = self._clock()
            self._failures.turn()
            self._at_nas.clear()
