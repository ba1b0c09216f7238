"""Loads many accounts into memory ahead of their logins, in small pages between notifications.

Wanted at once are the accounts with live sessions, whose devices come back after a power cut, those the books changed, and
those whose session has just ended. Those whose usage changed are read again at leisure: a report seldom precedes a login.
Runs in the database's thread; a hook waits for it no longer than one page takes to be stored.
"""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rlm_herotill.database import Execute
from rlm_herotill.memory import SnapshotMemory

SELECT_LIVE_ACCOUNTS = """
    SELECT DISTINCT username FROM radius.session WHERE stopped_at IS NULL ORDER BY username LIMIT %s
"""
# As text: it is parsed when a login needs it.
# With the positions of the same moment: what the meter has applied by then is not laid over these accounts again.
SELECT_SNAPSHOTS = """
    SELECT name, radius.account_snapshot(name)::text, (
        SELECT json_object_agg(segment, read_offset) FROM radius.journal_position
        WHERE node = %s AND segment = ANY(%s))
    FROM unnest(%s::text[]) AS wanted (name)
"""
PAGE_ACCOUNTS = 100
SECONDS_BETWEEN_LEISURELY_PAGES = 0.2


@dataclass(frozen=True, slots=True)
class Journalled:
    """What this node has journalled and the meter, as far as is known, has not applied."""

    node: str
    segments_of: Callable[[Iterable[str]], list[str]]
    """The segments with records of these accounts."""
    drop: Callable[[str, str, int], None]
    """Forget an account's records of a segment up to an offset: they are applied."""


class Prewarming:
    """What is still to be loaded, in order."""

    def __init__(self, memory: SnapshotMemory, limit: int, journalled: Journalled) -> None:
        self._memory = memory
        self._journalled = journalled
        self._limit = limit
        self._wanted: dict[str, None] = {}
        self._wanted_later: dict[str, None] = {}
        self._later_is_due_at = 0.0
        self._begins = False

    def begin(self) -> None:
        """Start over after a (re)connection."""
        self._wanted.clear()
        self._begins = self._limit > 0

    def want(self, username: str) -> None:
        """Load this account soon."""
        if len(self._wanted) < self._limit:
            self._wanted[username] = None

    def want_later(self, username: str) -> None:
        """Load this account when there is nothing else to load, and not too many at once."""
        if len(self._wanted_later) < self._limit:
            self._wanted_later[username] = None

    def give_up(self) -> None:
        """Load nothing more: logins read what they need."""
        self._wanted.clear()
        self._wanted_later.clear()
        self._begins = False

    def load_page(self, execute: Execute) -> bool:
        """Load the next accounts, if any; say whether there are more."""
        if self._begins:
            self._begins = False
            live = [row[0] for row in execute(SELECT_LIVE_ACCOUNTS, (self._limit,))]
            for username in (*live, *self._memory.outdated_names()):
                self.want(username)
        elif self._wanted:
            self._load(self._wanted, execute)
        elif self._wanted_later and time.monotonic() >= self._later_is_due_at:
            self._load(self._wanted_later, execute)
            self._later_is_due_at = time.monotonic() + SECONDS_BETWEEN_LEISURELY_PAGES
        return bool(self._wanted or self._wanted_later)

    def _load(self, wanted: dict[str, None], execute: Execute) -> None:
        page = list(itertools.islice(wanted, PAGE_ACCOUNTS))
        for username in page:
            del wanted[username]
        names = self._memory.begin_page(page)
        found: list[tuple[str, str]] = []
        try:
            segments = self._journalled.segments_of(names)
            for name, document, positions in execute(
                SELECT_SNAPSHOTS, (self._journalled.node, segments, names)
            ):
                for segment, offset in (positions or {}).items():
                    self._journalled.drop(name, segment, offset)
                if document is not None:
                    found.append((name, document))
        finally:
            has_room = self._memory.keep_page(found)
        for name in set(names).difference(name for name, _ in found):
            self._memory.forget(name)
        if not has_room:
            self.give_up()
