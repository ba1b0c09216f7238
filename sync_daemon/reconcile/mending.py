"""Making RADIUS have what the books say: for some names at a time, compared anew under the locks everybody takes.

Each batch is one transaction: rows, cuts of live sessions, the drift log, the notification. Restrictions of all names come
first, relaxations last; a run that is killed anywhere leaves less to do for the next.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from billing.projection import notification_payloads
from herotill.live_change import Purpose
from herotill.reconciling import Change, Phase
from sync_daemon.meter.statements import load_live_sessions
from sync_daemon.outbox import Wanted, put_requests
from sync_daemon.reconcile import apart, rows
from sync_daemon.reconcile.comparing import Databases, compare_names, read_changes
from sync_daemon.reconcile.drift import forget_hand_edits, log_drift
from sync_daemon.reconcile.planning import RefusedRow, Survey, sorted_out
from sync_daemon.reconcile.relations import Scope

NAMES_AT_ONCE = 500
CUT_REASON = "reconcile"

# Whoever projects or meters an account takes these locks, in this order.
_LOCK_BOOKS = {
    Scope.ACCOUNT: """
        SELECT FROM billing.account WHERE username = ANY(%s) ORDER BY account_id FOR NO KEY UPDATE
    """,
    Scope.GROUP: """
        SELECT FROM billing.customer_group WHERE name = ANY(%s) ORDER BY group_id FOR NO KEY UPDATE
    """,
}
_LOCK_RADIUS = {
    Scope.ACCOUNT: """
        SELECT FROM radius.managed_account WHERE username = ANY(%s) ORDER BY username FOR NO KEY UPDATE
    """,
    Scope.NAS: "LOCK TABLE radius.nas IN SHARE ROW EXCLUSIVE MODE",
}
_MEMBERS = """
    SELECT username FROM radius.managed_account WHERE group_name = ANY(%(groups)s)
    UNION SELECT username FROM radius.radusergroup WHERE groupname = ANY(%(groups)s) ORDER BY 1
"""
_NOTIFY = "SELECT pg_notify(%s, %s)"
# Who stands still with these locks (its machine is paused, or swaps) loses them: the meter waits, with the use of everybody.
LOCKED_NO_LONGER_THAN = "SET LOCAL idle_in_transaction_session_timeout = '20s'"
_TRANSACTION = "SELECT pg_current_xact_id()::text"


@dataclass(slots=True)
class Mended:
    """What was done."""

    changes: int = 0
    sessions_cut: int = 0
    refused: list[RefusedRow] = field(default_factory=list)

    def add(self, other: "Mended") -> None:
        """Count what another batch did."""
        self.changes += other.changes
        self.sessions_cut += other.sessions_cut
        self.refused.extend(other.refused)


@dataclass(frozen=True, slots=True)
class Mending:
    """One run: by whom, and when."""

    databases: Databases
    by: str
    now: datetime

    def all_of(self, found: Survey, progress: Callable[[int], None] = lambda _: None) -> Mended:
        """Mend everything a survey found: all restrictions first, all relaxations last."""
        done = Mended()
        for phase in Phase:
            for scope in (Scope.GROUP, Scope.NAS, Scope.ACCOUNT):
                names = found.names.get((phase, scope), set())
                for batch in _batches(names):
                    done.add(self.batch(scope, batch, (phase,)))
                    progress(len(batch))
        done.add(self.names(Scope.ACCOUNT, apart.wishing(self.databases)))
        return done

    def names(self, scope: Scope, names: Collection[str]) -> Mended:
        """Mend what differs of these names, each batch of them as a whole: restrictions, then the rest."""
        done = Mended()
        for batch in _batches(names):
            done.add(self.batch(scope, batch, tuple(Phase)))
        return done

    def batch(self, scope: Scope, names: Sequence[str], phases: Collection[Phase]) -> Mended:
        """Compare these names anew, mend what is of these phases, and commit."""
        databases = self.databases
        databases.books.rollback()
        databases.radius.rollback()
        try:
            _lock(databases, scope, names)
            compare_names(databases, scope, names)
            found = [change for page in read_changes(databases) for change in page]
            good, refused = sorted_out([change for change in found if change.phase in phases])
            if scope is Scope.ACCOUNT and not databases.is_one and Phase.RESTRICT in phases:
                apart.carry_wishes(databases, names)
            cut = self._write(sorted(good, key=lambda change: change.order), scope)
            left = {change.name for change in found if change.phase not in phases}
            with databases.radius.cursor() as cursor:
                forget_hand_edits(cursor, [name for name in names if name not in left])
            databases.radius.commit()
            databases.books.commit()
        finally:
            for connection in (databases.radius, databases.books):
                if not connection.closed:
                    connection.rollback()
        return Mended(len(good), cut, refused)

    def _write(self, changes: Sequence[Change], scope: Scope) -> int:
        if not changes:
            return 0
        with self.databases.radius.cursor() as cursor:
            if self.databases.is_one:
                rows.write(cursor, changes)
            else:
                self._write_apart(cursor, changes)
            cutting = changes if self.databases.is_one else apart.drifted(self.databases, changes)
            cut_off = {change.name for change in cutting if change.cuts_off}
            cut = _cut_sessions(cursor, cut_off, self.now, spares_ending=not self.databases.is_one)
            log_drift(cursor, changes, cut, self.by)
            _notify(cursor, scope, sorted({change.name for change in changes}))
        return sum(cut.values())

    def _write_apart(self, cursor: Cursor, changes: Sequence[Change]) -> None:
        births, refills = apart.births_of(self.databases, changes)
        rows.write(cursor, changes, births)
        apart.continue_hours(self.databases, changes, births)
        apart.take_overuse(cursor, changes, refills, self.now)


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(names)
    for start in range(0, len(ordered), NAMES_AT_ONCE):
        yield ordered[start : start + NAMES_AT_ONCE]


def _lock(databases: Databases, scope: Scope, names: Sequence[str]) -> None:
    """Take turns with whoever sells, projects or meters."""
    # In one database the connection that writes takes all locks: else it would wait for ours on the books.
    books = databases.radius if databases.is_one else databases.books
    for connection, locks in ((books, _LOCK_BOOKS), (databases.radius, _LOCK_RADIUS)):
        with connection.cursor() as cursor:
            cursor.execute(LOCKED_NO_LONGER_THAN)
            if scope in locks:
                cursor.execute(locks[scope], (list(names),) if "%s" in locks[scope] else None)


def _cut_sessions(
    cursor: Cursor, usernames: Collection[str], now: datetime, *, spares_ending: bool
) -> dict[str, int]:
    """Ask the NASes to end the live sessions of these accounts; return how many of each."""
    if not usernames:
        return {}
    cursor.execute(_TRANSACTION)
    (number,) = cursor.fetchone() or ("",)
    sessions = load_live_sessions(cursor, sorted(usernames))
    if spares_ending:
        ending = apart.ending_already(cursor, sessions)
        sessions = [one for one in sessions if one.acct_unique_id not in ending]
    requests = [
        Wanted(one, f"sync:{one.acct_unique_id}:{number}", Purpose.END, CUT_REASON, {}) for one in sessions
    ]
    put_requests(cursor, requests, now)
    cut: dict[str, int] = {}
    for one in sessions:
        cut[one.username] = cut.get(one.username, 0) + 1
    return cut


def _notify(cursor: Cursor, scope: Scope, names: Sequence[str]) -> None:
    """Tell every node what to read anew."""
    if scope is Scope.NAS:
        cursor.execute(_NOTIFY, ("herotill_nas", ""))
        return
    usernames = list(names)
    if scope is Scope.GROUP:
        cursor.execute(_MEMBERS, {"groups": usernames})
        usernames = [row[0] for row in cursor.fetchall()]
    for payload in notification_payloads(usernames):
        cursor.execute(_NOTIFY, ("herotill_account", payload))
