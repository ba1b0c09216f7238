"""What is wrong with the world, told in one line: once, then now and again, not with every attempt.

A database that is away or a disk that is full may be so for hours, and a log that grows with it makes it worse.
"""

import logging
import threading
import time
from dataclasses import dataclass, field

REPEAT_SECONDS = 300.0


def in_one_line(error: BaseException) -> str:
    """Return what an error says, for a line of the log."""
    return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__


def _kind(error: BaseException) -> str:
    """Tell one trouble from another; the words differ with each file and address."""
    cause = getattr(error, "orig", None) or error
    return str(getattr(cause, "pgcode", None) or getattr(cause, "errno", None) or type(cause).__name__)


@dataclass
class Trouble:
    """One thing that may fail again and again, in several ways; `sentence` has one %s, for what the error says.

    Threads may share it.
    """

    log: logging.Logger
    sentence: str
    level: int = logging.WARNING
    _told_at: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, error: BaseException) -> None:
        """Log it if it is news, or was told long ago."""
        kind, now = _kind(error), time.monotonic()
        with self._lock:
            if now - self._told_at.get(kind, float("-inf")) < REPEAT_SECONDS:
                return
            self._told_at[kind] = now
        self.log.log(self.level, self.sentence, in_one_line(error))

    @property
    def is_told(self) -> bool:
        """Whether it was told, and is not over as far as is known."""
        return bool(self._told_at)

    def is_over(self, sentence: str) -> None:
        """Say so if it was told; the next failure is news."""
        with self._lock:
            was_told = self.is_told
            self._told_at.clear()
        if was_told:
            self.log.info(sentence)
