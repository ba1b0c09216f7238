"""The worker `reconcile`: accounts that change are compared and mended at once, everything every few minutes (rule R30).

It hears the books (`herotill_account`) and edits by hand (`herotill_drift`). With two databases this is how a change reaches
RADIUS at all; a third thread then carries back what RADIUS has metered (sync_daemon/returning), and a full pass also holds
the books' own copy of RADIUS to the books. Full passes have a thread and connections of their own, so that no change waits
for one, and are one daemon's at a time, by an advisory lock. A database that cannot be read is one line in the log, and
nothing is changed because of it: whatever is written was compared with the books in the same transaction.
"""

import json
import logging
import select
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from herotill.errors import Refused
from sync_daemon.database import are_apart, billing_url, connect, radius_url
from sync_daemon.reconcile.apart import wishing
from sync_daemon.reconcile.comparing import Databases, open_databases
from sync_daemon.reconcile.mending import Mended, Mending
from sync_daemon.reconcile.planning import Survey, check_brake, survey, survey_names
from sync_daemon.reconcile.relations import BY_NAME, Scope
from sync_daemon.returning.worker import return_until
from sync_daemon.settings import Settings
from sync_daemon.trouble import Trouble

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LOOK_SECONDS = 0.2
UNBRAKED = 3
"""So few accounts at once are cut off without asking: one of three is not a landslide."""
_LOCK_PASS = "SELECT pg_try_advisory_lock(hashtext('herotill reconcile'))"  # noqa: S105
# What the books ask of live sessions, where RADIUS does not hear it.
_WISHES = ("herotill_coa", "herotill_review")
_HAND_EDITS = "SELECT relation, name FROM radius.hand_edit ORDER BY edited_at LIMIT 10000"
_FORGET_EDITS = "DELETE FROM radius.hand_edit WHERE name = ANY(%s)"


@dataclass
class Heard:
    """What is to be looked at; `everything` where a notification could not be read."""

    names: dict[Scope, set[str]] = field(default_factory=lambda: {scope: set() for scope in Scope})
    edits: bool = False
    wishes: bool = False

    def hear(self, channel: str, payload: str) -> None:
        """Take a notification. Any role may NOTIFY anything; what cannot be read waits for the next pass."""
        if channel == "herotill_drift":
            self.edits = True
            return
        if channel in _WISHES:
            self.wishes = True
            return
        try:
            self.names[Scope.ACCOUNT].update(name for name in json.loads(payload) if isinstance(name, str))
        except (ValueError, TypeError):
            log.warning("a notification on %s cannot be read; the next pass will see to it", channel)


def run(settings: Settings, stop: threading.Event) -> None:
    """Reconcile until `stop`; a database that goes away is waited for."""
    trouble = Trouble(log, "cannot reconcile, nothing is changed: %s")
    work = [_pass_until, return_until] if are_apart(settings) else [_pass_until]
    others = [
        threading.Thread(target=_retrying, args=(trouble, settings, stop, one), name=one.__name__)
        for one in work
    ]
    for thread in others:
        thread.start()
    try:
        _retrying(trouble, settings, stop, _listen_until)
    finally:
        stop.set()
        for thread in others:
            thread.join()


def _retrying(
    trouble: Trouble,
    settings: Settings,
    stop: threading.Event,
    work: Callable[[Settings, threading.Event], None],
) -> None:
    while not stop.is_set():
        try:
            work(settings, stop)
        except (psycopg2.Error, Refused) as error:
            trouble.tell(error)
            stop.wait(RETRY_SECONDS)


def _pass_until(settings: Settings, stop: threading.Event) -> None:
    """Compare everything now and every so often."""
    who = "herotill reconcile pass"
    with ExitStack() as opened:
        compared = [opened.enter_context(closing(open_databases(settings, who)))]
        if are_apart(settings):
            copy = replace(settings, radius_url=None)
            compared.append(opened.enter_context(closing(open_databases(copy, f"{who} copy"))))
        while not stop.is_set():
            for databases in reversed(compared):
                _pass(settings, databases)
            stop.wait(settings.sync_pass_seconds)


def _pass(settings: Settings, databases: Databases) -> None:
    """Compare everything and mend it, unless another daemon is at it."""
    url = billing_url(settings) if databases.is_one else radius_url(settings)
    with closing(connect(url, "herotill reconcile lock", autocommit=True)) as lock, lock.cursor() as cursor:
        cursor.execute(_LOCK_PASS)
        if cursor.fetchone() != (True,):
            return
        found = survey(databases)
        for row in found.refused:
            log.error("not written, FreeRADIUS would misread it: %s", row)
        if found.changes and _may_go_on(settings, found):
            _report(_mending(databases).all_of(found))


def _listen_until(settings: Settings, stop: threading.Event) -> None:
    with _opened(settings) as (databases, listening):
        keeper = _Keeper(settings, databases, listening)
        while not stop.is_set():
            keeper.mend_heard()
            keeper.listen()


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
                    if not databases.is_one:
                        cursor.execute("; ".join(f"LISTEN {channel}" for channel in _WISHES))
        yield databases, listening
    finally:
        for connection in listening:
            connection.close()
        databases.close()


@dataclass
class _Keeper:
    """One time of being connected: what was heard and is to be looked at."""

    settings: Settings
    databases: Databases
    listening: list[Connection]
    heard: Heard = field(default_factory=lambda: Heard(edits=True, wishes=True))

    def listen(self) -> None:
        """Wait for notifications, a moment at most: a signal handler can only set `stop`."""
        for connection in select.select(self.listening, [], [], LOOK_SECONDS)[0]:
            connection.poll()
        ours = self.databases.radius.info.backend_pid
        for connection in self.listening:
            for note in connection.notifies:
                if note.pid != ours or not self.databases.is_one:
                    self.heard.hear(note.channel, note.payload)
            connection.notifies.clear()

    def mend_heard(self) -> None:
        """Compare and mend what was heard of."""
        heard, self.heard = self.heard, Heard()
        if heard.edits:
            self._look_up_edits(heard)
        if heard.wishes:
            heard.names[Scope.ACCOUNT].update(wishing(self.databases))
        for scope, names in heard.names.items():
            if names and self._are_few_enough(scope, names):
                _report(_mending(self.databases).names(scope, names))
        if heard.edits and not self.databases.is_one:
            self._forget(heard)

    def _are_few_enough(self, scope: Scope, names: Collection[str]) -> bool:
        if len(names) <= UNBRAKED and scope is Scope.ACCOUNT:
            return True
        return _may_go_on(self.settings, survey_names(self.databases, scope, sorted(names)))

    def _look_up_edits(self, heard: Heard) -> None:
        for connection in {self.databases.books, self.databases.radius}:
            with connection, connection.cursor() as cursor:
                cursor.execute(_HAND_EDITS)
                for relation, name in cursor.fetchall():
                    scope = BY_NAME[relation].scope if relation in BY_NAME else Scope.ACCOUNT
                    heard.names[scope].add(name)

    def _forget(self, heard: Heard) -> None:
        """Edits of the books, where these have a database of their own."""
        names = sorted(set().union(*heard.names.values()))
        with self.databases.books as connection, connection.cursor() as cursor:
            cursor.execute(_FORGET_EDITS, (names,))


def _may_go_on(settings: Settings, found: Survey) -> bool:
    """The brake: nobody is there to be asked, so that what would cut off too many waits for an operator."""
    if len(found.cut_off) <= UNBRAKED:
        return True
    try:
        check_brake(found, settings.sync_max_cut_off_percent)
    except Refused as refused:
        log.error("reconciling has stopped: %s", refused)
        return False
    return True


def _mending(databases: Databases) -> Mending:
    return Mending(databases, "daemon", datetime.now(UTC))


def _report(done: Mended) -> None:
    if done.changes:
        log.info("mended %d rows, cut %d live sessions", done.changes, done.sessions_cut)
