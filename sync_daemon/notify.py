"""What systemd is told of the daemon: that it is ready, reads its settings again, ends, and is alive (sd_notify(3)).

Without systemd nobody is told, and nothing else changes.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import sdnotify


@dataclass
class ServiceManager:
    """The one that started us, if it wants to know how we do."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _notifier: sdnotify.SystemdNotifier = field(init=False)
    _alive_told_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        """Connect to the socket that NOTIFY_SOCKET names, if it does."""
        self._notifier = sdnotify.SystemdNotifier()  # type: ignore[no-untyped-call]

    @property
    def watchdog_seconds(self) -> float | None:
        """After how long without a sign of life we are killed; None: never."""
        if self.environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        microseconds = self.environment.get("WATCHDOG_USEC", "")
        return int(microseconds) / 1_000_000 if microseconds.isdigit() and int(microseconds) else None

    def tell_ready(self, status: str) -> None:
        """Say that we work, and how, in one line for people."""
        self._tell(f"READY=1\nSTATUS={status}")

    def tell_status(self, status: str) -> None:
        """Say in one line for people how we do."""
        self._tell(f"STATUS={status}")

    def tell_reloading(self) -> None:
        """Say that we read our settings again; `tell_ready` follows."""
        self._tell(
            f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reading the settings again"
        )

    def tell_stopping(self) -> None:
        """Say that we are about to end."""
        self._tell("STOPPING=1\nSTATUS=finishing what is in hand")

    def tell_alive(self) -> None:
        """Give a sign of life, at most four in the time we are given."""
        period_seconds = self.watchdog_seconds
        now = time.monotonic()
        if period_seconds is not None and now - self._alive_told_at >= period_seconds / 4:
            self._alive_told_at = now
            self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Give the socket back."""
        if self._notifier.socket is not None:
            self._notifier.socket.close()

    def _tell(self, state: str) -> None:
        self._notifier.notify(state)  # type: ignore[no-untyped-call]
