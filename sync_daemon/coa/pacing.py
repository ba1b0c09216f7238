"""How fast one NAS is asked: a window that grows with answers and shrinks with loss (AIMD), and a pace. Pure: no clock.

Small routers work requests off one by one, and what queues up there looks like loss here. The window is how many fresh
requests may be unanswered; one that was not answered in time is taken for lost and does not fill it any more (RFC 6675 §2,
pipe). The pace spreads a plan that cuts many. Times are monotonic seconds.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PacingSettings:
    """Bounds of the window and the pace. Answers this much slower than the quickest one slow us down like a loss."""

    initial_window: int = 32
    least_window: int = 4
    largest_window: int = 256
    requests_per_second: float = 200.0
    burst: int = 32
    slow_factor: float = 8.0
    slow_seconds: float = 1.0


class Pacer:
    """The window, the pace and the measured round trip of one NAS."""

    __slots__ = (
        "_decreased_at", "_deviation_seconds", "_fastest_seconds", "_grows_fast", "_next_at", "_round_trip_seconds",
        "_settings", "window",
    )  # fmt: skip

    def __init__(self, settings: PacingSettings) -> None:
        self._settings = settings
        self.window = float(settings.initial_window)
        self._round_trip_seconds: float | None = None
        self._deviation_seconds = 0.0
        self._fastest_seconds = 0.0
        self._grows_fast = True
        self._decreased_at = float("-inf")
        self._next_at = float("-inf")

    def may_send(self, unanswered: int) -> bool:
        """Whether the window has room for one more."""
        return unanswered < max(int(self.window), self._settings.least_window)

    def send_at(self, now: float) -> float:
        """Return when the pace lets the next request go; not after `now`: at once (GCRA, ITU-T I.371)."""
        return max(now, self._next_at - (self._settings.burst - 1) / self._settings.requests_per_second)

    def sent(self, now: float) -> None:
        """Note that a new request went."""
        self._next_at = max(now, self._next_at) + 1 / self._settings.requests_per_second

    def answered(self, now: float, sent_at: float, was_sent_once: bool) -> None:
        """Note an answer. Only of a request sent once is the round trip known (Karn's algorithm, RFC 6298 §3)."""
        if was_sent_once:
            seconds = max(now - sent_at, 0.0)
            self._measure(seconds)
            slowest = max(self._settings.slow_seconds, self._settings.slow_factor * self._fastest_seconds)
            if seconds > slowest:
                self.slowed(now, sent_at)
                return
        step = 1.0 if self._grows_fast else 1.0 / max(self.window, 1.0)
        self.window = min(self.window + step, float(self._settings.largest_window))

    def slowed(self, now: float, sent_at: float) -> None:
        """Halve the window for a request that was lost, refused for want of resources, or answered late.

        Once for all that was sent before: they were lost together.
        """
        if sent_at <= self._decreased_at:
            return
        self._decreased_at = now
        self._grows_fast = False
        self.window = max(self.window / 2, float(self._settings.least_window))

    @property
    def answer_seconds(self) -> float | None:
        """Within what time an answer is to be expected (RTO, RFC 6298 §2); None before the first."""
        known = self._round_trip_seconds
        return None if known is None else known + 4 * self._deviation_seconds

    def _measure(self, seconds: float) -> None:
        known = self._round_trip_seconds
        if known is None:
            self._fastest_seconds = self._round_trip_seconds = seconds
            self._deviation_seconds = seconds / 2
            return
        self._fastest_seconds = min(self._fastest_seconds, seconds)
        self._deviation_seconds = 0.75 * self._deviation_seconds + 0.25 * abs(known - seconds)
        self._round_trip_seconds = 0.875 * known + 0.125 * seconds
