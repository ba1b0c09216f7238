"""Loads many accounts into memory ahead of their logins, in small pages between notifications.

Wanted are the accounts with live sessions, whose devices come back after a power cut, and those of which memory has an old
picture only. Runs in the database's thread; a hook waits for it no longer than one page takes to be stored.
"""

import itertools
from collections.abc import Container

from rlm_herotill.database import Execute
from rlm_herotill.memory import SnapshotMemory

SELECT_LIVE_ACCOUNTS = """
    SELECT DISTINCT username FROM radius.session WHERE stopped_at IS NULL ORDER BY username LIMIT %s
"""
# As text: it is parsed when a login needs it.
SELECT_SNAPSHOTS = """
    SELECT name, radius.account_snapshot(name)::text FROM unnest(%s::text[]) AS wanted (name)
"""
PAGE_ACCOUNTS = 50


class Prewarming:
    """What is still to be loaded, in order."""

    def __init__(self, memory: SnapshotMemory, limit: int) -> None:
        self._memory = memory
        self._limit = limit
        self._wanted: dict[str, None] = {}
        self._begins = False

    def begin(self) -> None:
        """Start over after a (re)connection."""
        self._wanted.clear()
        self._begins = self._limit > 0

    def want(self, username: str) -> None:
        """Load this account soon."""
        if len(self._wanted) < self._limit:
            self._wanted[username] = None

    def give_up(self) -> None:
        """Load nothing more: logins read what they need."""
        self._wanted.clear()
        self._begins = False

    def load_page(self, execute: Execute, unmetered: Container[str]) -> bool:
        """Load the next accounts, if any; say whether there are more.

        What of `unmetered` the database has applied is not known here, so that those accounts are left to their logins.
        """
        if self._begins:
            self._begins = False
            live = [row[0] for row in execute(SELECT_LIVE_ACCOUNTS, (self._limit,))]
            for username in (*live, *self._memory.outdated_names()):
                self.want(username)
        elif self._wanted:
            self._load(execute, unmetered)
        return bool(self._wanted)

    def _load(self, execute: Execute, unmetered: Container[str]) -> None:
        page = list(itertools.islice(self._wanted, PAGE_ACCOUNTS))
        for username in page:
            del self._wanted[username]
        rows: list[tuple[str, str | None]] = []
        names = self._memory.begin_page(page)
        try:
            rows = [(name, document) for name, document in execute(SELECT_SNAPSHOTS, (names,))]
        finally:
            found = [(name, document) for name, document in rows if document and name not in unmetered]
            has_room = self._memory.keep_page(found)
        for name, document in rows:
            if document is None:
                self._memory.forget(name)
        if not has_room:
            self.give_up()
