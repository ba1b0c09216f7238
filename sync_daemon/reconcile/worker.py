"""The worker `reconcile`: accounts that change are compared and mended at once, everything every few minutes (rule R30).

It hears the books (`herotill_account`) and edits by hand (`herotill_drift`). With two databases this is how a change reaches
RADIUS at all. Full passes are one daemon's at a time, by an advisory lock. A database that cannot be read is one line in
the log, and nothing is changed because of it: whatever is written was compared with the books in the same transaction.
"""

import json
import logging
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from herotill.errors import Refused
from sync_daemon.database import billing_url, connect, radius_url
from sync_daemon.reconcile.comparing import Databases, open_databases
from sync_daemon.reconcile.mending import Mended, Mending
from sync_daemon.reconcile.planning import Survey, check_brake, survey, survey_names
from sync_daemon.reconcile.relations import BY_NAME, Scope
from sync_daemon.settings import Settings

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LOOK_SECONDS = 0.2
REPEAT_SECONDS = 300.0
UNBRAKED = 3
"""So few accounts at once are cut off without asking: one of three is not a landslide."""
_LOCK_PASS = "SELECT pg_try_advisory_lock(hashtext('herotill reconcile'))"  # noqa: S105
_UNLOCK_PASS = "SELECT pg_advisory_unlock(hashtext('herotill reconcile'))"  # noqa: S105
_HAND_EDITS = "SELECT relation, name FROM radius.hand_edit ORDER BY edited_at LIMIT 10000"
_FORGET_EDITS = "DELETE FROM radius.hand_edit WHERE name = ANY(%s)"


@dataclass
class Heard:
    """What is to be looked at; `everything` where a notification could not be read."""

    names: dict[Scope, set[str]] = field(default_factory=lambda: {scope: set() for scope in Scope})
    edits: bool = False

    def hear(self, channel: str, payload: str) -> None:
        """Take a notification. Any role may NOTIFY anything; what cannot be read waits for the next pass."""
        if channel == "herotill_drift":
            self.edits = True
            return
        try:
            self.names[Scope.ACCOUNT].update(name for name in json.loads(payload) if isinstance(name, str))
        except (ValueError, TypeError):
            log.warning("a notification on %s cannot be read; the next pass will see to it", channel)


def run(settings: Settings, stop: threading.Event) -> None:
    """Reconcile until `stop`; a database that goes away is waited for."""
    said, said_at = "", 0.0
    while not stop.is_set():
        try:
            with _opened(settings) as (databases, listening):
                _Keeper(settings, databases, listening).keep(stop)
        except psycopg2.Error as error:
            sentence = " ".join(str(error).split())
            if sentence != said or time.monotonic() - said_at > REPEAT_SECONDS:
                log.warning("cannot reconcile, nothing is changed: %s", sentence)
                said, said_at = sentence, time.monotonic()
            stop.wait(RETRY_SECONDS)


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Databases, list[Connection]]]:
    databases = open_databases(settings, "herotill reconcile")
    listening: list[Connection] = []
    try:
        for url in dict.fromkeys((billing_url(settings), radius_url(settings))):
            listening.append(connect(url, "herotill reconcile listen", autocommit=True))
            with listening[-1].cursor() as cursor:
                cursor.execute("LISTEN herotill_drift")
                if url == billing_url(settings):
                    cursor.execute("LISTEN herotill_account")
        yield databases, listening
    finally:
        for connection in listening:
            connection.close()
        databases.close()


@dataclass
class _Keeper:
    """One time of being connected."""

    settings: Settings
    databases: Databases
    listening: list[Connection]
    next_pass_at: float = 0.0
    heard: Heard = field(default_factory=lambda: Heard(edits=True))

    def keep(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._mend_heard()
            if time.monotonic() >= self.next_pass_at:
                self._pass()
                self.next_pass_at = time.monotonic() + self.settings.sync_pass_seconds
            self._listen()

    def _listen(self) -> None:
        left = max(0.0, min(LOOK_SECONDS, self.next_pass_at - time.monotonic()))
        for connection in select.select(self.listening, [], [], left)[0]:
            connection.poll()
        ours = self.databases.radius.get_backend_pid()
        for connection in self.listening:
            for note in connection.notifies:
                if note.pid != ours or not self.databases.is_one:
                    self.heard.hear(note.channel, note.payload)
            connection.notifies.clear()

    def _mend_heard(self) -> None:
        heard, self.heard = self.heard, Heard()
        if heard.edits:
            self._look_up_edits(heard)
        for scope, names in heard.names.items():
            if names and self._may_go_on(survey_names(self.databases, scope, sorted(names))):
                self._report(self._run().names(scope, names))
        if heard.edits:
            self._forget(heard)

    def _look_up_edits(self, heard: Heard) -> None:
        for connection in {self.databases.books, self.databases.radius}:
            with connection, connection.cursor() as cursor:
                cursor.execute(_HAND_EDITS)
                for relation, name in cursor.fetchall():
                    scope = BY_NAME[relation].scope if relation in BY_NAME else Scope.ACCOUNT
                    heard.names[scope].add(name)

    def _forget(self, heard: Heard) -> None:
        """Edits of the books, where these have a database of their own."""
        if not self.databases.is_one:
            names = sorted(set().union(*heard.names.values()))
            with self.databases.books as connection, connection.cursor() as cursor:
                cursor.execute(_FORGET_EDITS, (names,))

    def _pass(self) -> None:
        """Compare everything, unless another daemon is at it."""
        with self.listening[0].cursor() as cursor:
            cursor.execute(_LOCK_PASS)
            if cursor.fetchone() != (True,):
                return
            try:
                self._compare_and_mend()
            finally:
                cursor.execute(_UNLOCK_PASS)

    def _compare_and_mend(self) -> None:
        found = survey(self.databases)
        for row in found.refused:
            log.error("not written, FreeRADIUS would misread it: %s", row)
        if found.changes and self._may_go_on(found):
            self._report(self._run().all_of(found))

    def _may_go_on(self, found: Survey) -> bool:
        """The brake: nobody is there to be asked, so that what would cut off too many waits for an operator."""
        if len(found.cut_off) <= UNBRAKED:
            return True
        try:
            check_brake(found, self.settings.sync_max_cut_off_percent)
        except Refused as refused:
            log.error("reconciling has stopped: %s", refused)
            return False
        return True

    def _run(self) -> Mending:
        return Mending(self.databases, "daemon", datetime.now(UTC))

    def _report(self, done: Mended) -> None:
        if done.changes:
            log.info("mended %d rows, cut %d live sessions", done.changes, done.sessions_cut)
