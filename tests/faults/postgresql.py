"""A PostgreSQL that fails when told."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rlm_herotill import database as packet_time
from sync_daemon.embedded_postgresql import EmbeddedPostgresql

PATIENCE_SECONDS = 60


def be_patient() -> None:
    """Let this thread wait for PostgreSQL: a hook called in it before has set a deadline.

    The deadline holds for the whole process once a Database has started, as it should in FreeRADIUS.
    """
    packet_time._deadline.at = time.monotonic() + PATIENCE_SECONDS


@dataclass(frozen=True)
class Fragile:
    """The private cluster of a test."""

    cluster: EmbeddedPostgresql

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Be away: whoever connects is refused at once."""
        be_patient()
        self.cluster.stop()
        try:
            yield
        finally:
            be_patient()
            self.cluster.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hang: connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def heal(self) -> None:
        """Be there again, whatever was done."""
        if self._postmaster() is not None:
            self._signal(signal.SIGCONT)
        be_patient()
        self.cluster.start()

    def _signal(self, number: signal.Signals) -> None:
        postmaster = self._postmaster()
        assert postmaster is not None
        # The postmaster first: it makes no more children then.
        os.kill(postmaster, number)
        for child in _children_of(postmaster):
            with suppress(ProcessLookupError):
                os.kill(child, number)

    def _postmaster(self) -> int | None:
        try:
            return int((self.cluster.data_directory / "postmaster.pid").read_text().split("\n", 1)[0])
        except FileNotFoundError:
            return None


def _children_of(parent: int) -> list[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and _parent(one) == parent]


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
