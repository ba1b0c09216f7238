"""Account snapshots in memory: bounded, each either fresh or outdated.

A fresh one may accept a login while notifications are heard. An outdated one is what was known last: it serves the outage
policy and nothing else (rule R34). Hooks and the database's thread both come here; reading takes no lock.
"""

import json
import threading
from collections.abc import Iterable
from dataclasses import replace

from herotill.snapshot import AccountSnapshot, snapshot_from_json

SessionName = tuple[str, str]
"""NAS address and Acct-Session-Id."""

STOPS_REMEMBERED = 8


class SnapshotMemory:
    """At most `limit` accounts by user name; what was kept longest goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[str, AccountSnapshot | str] = {}
        self._outdated: dict[str, tuple[SessionName, ...]] = {}
        self._changed_meanwhile: set[str] | None = None  # None while no page is under way
        self._lock = threading.Lock()

    def fresh(self, username: str) -> AccountSnapshot | None:
        """Return the account unless it is outdated or unknown."""
        return None if username in self._outdated else self._snapshot(username)

    def last_known(self, username: str) -> AccountSnapshot | None:
        """Return the account, outdated or not, without the sessions that are known to have stopped since."""
        snapshot, stopped = self._snapshot(username), self._outdated.get(username)
        if snapshot is None or not stopped:
            return snapshot
        live = (one for one in snapshot.sessions if (one.nas_address, one.acct_session_id) not in stopped)
        return replace(snapshot, sessions=tuple(live))

    def _snapshot(self, username: str) -> AccountSnapshot | None:
        known = self._known.get(username)
        if not isinstance(known, str):
            return known
        snapshot = snapshot_from_json(json.loads(known))
        with self._lock:
            if self._known.get(username) is known:
                self._known[username] = snapshot
        return snapshot

    def keep(self, username: str, snapshot: AccountSnapshot) -> None:
        """Remember an account that was just read."""
        if not self._limit:
            return
        with self._lock:
            self._known.pop(username, None)  # the youngest stands last
            while len(self._known) >= self._limit:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self._outdated.pop(oldest, None)
            self._known[username] = snapshot
            self._outdated.pop(username, None)

    def outdate(self, username: str) -> None:
        """Trust the account no more: something about it has changed."""
        with self._lock:
            self._note_change(username)
            if username in self._known:
                self._outdated.setdefault(username, ())

    def outdate_all(self) -> None:
        """Trust nothing any more."""
        with self._lock:
            for username in self._known:
                self._note_change(username)
            self._outdated = {username: self._outdated.get(username, ()) for username in self._known}

    def forget(self, username: str) -> bool:
        """Drop an account of which even what was known last is wrong; say whether it was remembered."""
        with self._lock:
            self._note_change(username)
            self._outdated.pop(username, None)
            return self._known.pop(username, None) is not None

    def note_stop(self, username: str, session: SessionName) -> None:
        """Remember that a session of an outdated account is over."""
        with self._lock:
            stopped = self._outdated.get(username)
            if stopped is not None:
                self._outdated[username] = (*stopped, session)[-STOPS_REMEMBERED:]

    def is_outdated(self, username: str) -> bool:
        """Whether the account is remembered, and known to have changed since."""
        return username in self._outdated

    def _note_change(self, username: str) -> None:
        if self._changed_meanwhile is not None:
            self._changed_meanwhile.add(username)

    # -- loading many at once

    def outdated_names(self) -> list[str]:
        """Return the accounts that are worth loading again, the youngest first."""
        with self._lock:
            return list(reversed(self._outdated))

    def begin_page(self, usernames: Iterable[str]) -> list[str]:
        """Return which of these are not fresh, and watch for their changes until `keep_page`."""
        with self._lock:
            self._changed_meanwhile = set()
            return [name for name in usernames if name not in self._known or name in self._outdated]

    def keep_page(self, documents: Iterable[tuple[str, str]]) -> bool:
        """Keep the JSON of accounts that are still not fresh and have not changed; say whether there was room for all.

        Nothing is pushed out for them, and nothing is parsed before it is used.
        """
        with self._lock:
            changed, self._changed_meanwhile = self._changed_meanwhile or (), None
            for username, document in documents:
                is_known = username in self._known
                if not is_known and len(self._known) >= self._limit:
                    return False
                if username in changed or (is_known and username not in self._outdated):
                    continue
                self._known[username] = document
                self._outdated.pop(username, None)
        return True
