"""Which NASes do what they are asked, as one worker sees it. Only changes are to be written.

A NAS works when the accounting showed what it acknowledged, or when it denied a session by Error-Cause 503. It fails when
everything was tried in vain for a session that must not go on, or when it was silent twice.
"""

from collections.abc import Iterable, Mapping, Sequence

from herotill.live_change import Purpose
from sync_daemon.coa.closing import LOST_STATES, NasMark
from sync_daemon.coa.nas_targets import NasTarget
from sync_daemon.coa.outbox import AttemptRecord, DueRequest
from sync_daemon.coa.ports import IpAddress

WORKS, FAILS = "works", "fails"
SILENT_TWICE = 2


class NasHealth:
    """The states as they were read, and as they are now."""

    def __init__(self) -> None:
        self._nas_of: dict[IpAddress, int] = {}
        self._written: dict[int, str] = {}
        self._now: dict[int, NasMark] = {}

    def learn(self, targets: Mapping[IpAddress, NasTarget]) -> None:
        """Take note of what the database says of these NASes."""
        for address, target in targets.items():
            self._nas_of[address] = target.nas_id
            self._written[target.nas_id] = target.coa_state

    def note(self, due: DueRequest, record: AttemptRecord, nas: NasTarget) -> None:
        """Take note of what became of a request."""
        was_silent = record.result in ("timeout", "error") and record.failures >= SILENT_TWICE
        was_asked = record.sent_at is not None or record.state == "unconfirmed"
        is_enforced = due.purpose is not Purpose.RAISE
        if is_enforced and was_asked and (record.state in LOST_STATES or was_silent):
            self._now[nas.nas_id] = NasMark(nas.nas_id, FAILS, record.outcome)
        elif record.state == "gone":
            self._now[nas.nas_id] = NasMark(nas.nas_id, WORKS)

    def confirmed(self, nas_addresses: Iterable[IpAddress]) -> set[IpAddress]:
        """Take note of NASes that did what they acknowledged; return the addresses whose NAS is not known here."""
        unknown = set()
        for address in nas_addresses:
            nas_id = self._nas_of.get(address)
            if nas_id is None:
                unknown.add(address)
            else:
                self._now[nas_id] = NasMark(nas_id, WORKS)
        return unknown

    def changes(self) -> list[NasMark]:
        """Return what is to be written."""
        self._now = {
            nas_id: mark for nas_id, mark in self._now.items() if self._written.get(nas_id) != mark.state
        }
        return list(self._now.values())

    def written(self, marks: Sequence[NasMark]) -> None:
        """Take note that these were written."""
        for mark in marks:
            self._written[mark.nas_id] = mark.state
