"""A worker's sign of life: that every thread of it which is to stop when told still looks whether it was told.

Nothing of a worker has to be written for it. `Pulse` is the `stop` each worker is given; whoever looks at it lives.
"""

import threading
import time

BEAT_SECONDS = 1.0
"""How often a thread that only waits looks up."""


class Pulse(threading.Event):
    """An event that remembers which threads have looked at it."""

    def __init__(self) -> None:
        """Watch the thread that makes it from the beginning, others from their first look."""
        super().__init__()
        self._watched = {threading.get_ident(): threading.current_thread()}
        self._beaten: set[int] = set()

    def is_set(self) -> bool:
        """Look, and be seen to."""
        self._beat()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, and be seen to all the while."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            self._beat()
            if super().wait(max(0.0, min(BEAT_SECONDS, deadline - time.monotonic()))):
                return True
            if time.monotonic() >= deadline:
                return False

    def has_beaten(self) -> bool:
        """Say whether every living thread has looked since this last said so; then it begins anew."""
        for ident, thread in self._watched.copy().items():
            if not thread.is_alive() and self._watched.get(ident) is thread:
                del self._watched[ident]  # it has ended, and that is its worker's affair
            elif ident not in self._beaten:
                return False
        self._beaten.clear()
        return True

    def _beat(self) -> None:
        ident = threading.get_ident()
        self._beaten.add(ident)
        if ident not in self._watched or not self._watched[ident].is_alive():
            self._watched[ident] = threading.current_thread()
