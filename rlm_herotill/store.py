"""Account snapshots: read through from the database, kept in memory, fresh by notification.

A snapshot in memory may serve a login only while notifications are heard. What this node has journalled and the meter has
not applied is laid over it, as are logins accepted moments ago. Owns what is remembered between hooks; decides nothing.
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg2.errors

from herotill.accounting import NasRestart, Report, parse_accounting
from herotill.class_token import verify_class
from herotill.decision import GrantAllocation, LoginRequest, Preparation, ReserveSlice, StartFirstUse
from herotill.nas import SELECT_NASES, NasDirectory
from herotill.overlay import Charged, lay_over, with_pending_logins, without_lost_sessions
from herotill.snapshot import AccountSnapshot, snapshot_from_json
from rlm_herotill.attributes import first
from rlm_herotill.database import Callbacks, Database, Execute, changed_accounts
from rlm_herotill.journal import Position
from rlm_herotill.memory import SnapshotMemory
from rlm_herotill.nas_file import remember_nases, remembered_nases
from rlm_herotill.pending import PendingLogins
from rlm_herotill.prewarming import Journalled, Prewarming
from rlm_herotill.settings import PacketTimeSettings

# Planned once for a connection, and by its indexes: a plan costs more than reading the dozen rows.
PREPARE_SNAPSHOT = """
    PREPARE account (text) AS
    SELECT CASE WHEN bool_or(starts_with(part, '["account"')) THEN '[' || string_agg(part, ',') || ']' END
    FROM radius.account_parts($1) AS part;
    SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan
"""
SELECT_SNAPSHOT = "EXECUTE account (%s)"
# In one statement, so that account and positions are of one moment: what was applied by then is not laid over again.
SELECT_SNAPSHOT_AND_POSITIONS = """
    SELECT radius.account_snapshot(%s), (
        SELECT json_object_agg(segment, read_offset) FROM radius.journal_position
        WHERE node = %s AND segment = ANY(%s))
"""
GRANT_ALLOCATION = "SELECT radius.grant_allocation(%s, %s, %s, %s)"
START_FIRST_USE = "SELECT radius.start_first_use(%s, %s, %s)"
RESERVE_SLICE = "SELECT radius.reserve_slice(%s, %s, %s, %s, %s, %s)"

UNMETERED_LIMIT = 200_000

Unmetered = tuple[Position, int, str, Sequence[Sequence[str]]]
"""Position, receive time in microseconds, source address, and the pairs of one journalled accounting record."""


class SnapshotStore:
    """The accounts and NASes this node knows."""

    def __init__(self, settings: PacketTimeSettings, log: Callable[[str], None]) -> None:
        self._settings = settings
        self._log = log
        self._memory = SnapshotMemory(settings.snapshot_limit)
        journalled = Journalled(settings.node, self._segments_of, self._drop_metered)
        self._prewarming = Prewarming(self._memory, settings.snapshot_limit, journalled)
        self._loading: str | None = None
        self._loading_was_changed = False
        self._unmetered: dict[str, list[Unmetered]] = {}
        self._unmetered_lock = threading.Lock()
        self._restarted_at: dict[str, datetime] = {}
        self._unmetered_count = 0
        self.pending = PendingLogins()
        self.nases = NasDirectory()
        self._database = Database(
            settings.dsn,
            settings.statement_timeout_ms,
            PREPARE_SNAPSHOT,
            Callbacks(self._notified, self._connected, self._idle),
            log,
        )
        self._started = False

    def start(self) -> None:
        """Connect, from the first request on: that one waits for the NASes and accounts to be within reach."""
        if not self._started:
            self._started = True
            # Before the database's thread runs: what it finds replaces this.
            self.nases = NasDirectory(remembered_nases(self._settings.journal_directory))
            self._database.start()
            self._database.await_first_connection()

    def stop(self) -> None:
        """Close everything."""
        if self._started:
            self._database.stop()

    # -- snapshots

    def account(self, username: str, now: datetime) -> tuple[AccountSnapshot | None, bool]:
        """Return the account, and whether it came from memory. Raises Unavailable."""
        # Before the snapshot: what the meter applies from now on, another thread drops, and this snapshot has not got it.
        records = self._unmetered.get(username, [])
        if self._database.is_listening and (snapshot := self._memory.fresh(username)) is not None:
            return self._lay_over(snapshot, records, now), True
        return self.reload(username, now), False

    def unchanged(self, username: str) -> AccountSnapshot | None:
        """Return the account if memory may answer for it, and nothing is known that its snapshot has not got."""
        if username in self._unmetered or not self._database.is_listening:
            return None
        return self._memory.fresh(username)

    def remembered(self, username: str, now: datetime) -> AccountSnapshot | None:
        """Return the account as it was known last, however long ago; None where nobody remembers it."""
        records = self._unmetered.get(username, [])
        return self._lay_over(self._memory.last_known(username), records, now)

    def reload(self, username: str, now: datetime) -> AccountSnapshot | None:
        """Return the account as the database has it now. Raises Unavailable."""
        self._loading, self._loading_was_changed = username, False
        try:
            document, records = self._load(username)
            snapshot = None if document is None else snapshot_from_json(document)
            # Unknown names are not kept: guesses must not push accounts out of memory.
            if snapshot is None:
                self._memory.forget(username)
            else:
                self._memory.keep(username, snapshot)
            # Asked after keeping: a change is heard at any moment, by another thread.
            if self._loading_was_changed:
                self._memory.outdate(username)
        finally:
            self._loading = None
        return self._lay_over(snapshot, records, now)

    def _load(self, username: str) -> tuple[Sequence[Sequence[Any]] | None, Sequence[Unmetered]]:
        """Return the account and the journalled records that it does not hold yet, of one moment."""
        records = self._unmetered.get(username, [])
        if not records:
            text = self._database.execute(SELECT_SNAPSHOT, (username,))[0][0]
            return None if text is None else json.loads(text), ()
        parameters = (username, self._settings.node, self._segments_of([username]))
        document, positions = self._database.execute(SELECT_SNAPSHOT_AND_POSITIONS, parameters)[0]
        for segment, offset in (positions or {}).items():
            self._drop_metered(username, segment, offset)
            records = [record for record in records if not _is_within(record[0], segment, offset)]
        return document, records

    def _segments_of(self, usernames: Iterable[str]) -> list[str]:
        """Return the journal segments with records of these accounts that are not known to be metered."""
        return sorted({one[0][0] for name in usernames for one in list(self._unmetered.get(name, ()))})

    def prepare(self, request: LoginRequest, step: Preparation, now: datetime) -> bool:
        """Commit one side effect of a login; say whether it changed anything. Raises Unavailable."""
        match step:
            case GrantAllocation(key, until):
                rows = self._database.execute(GRANT_ALLOCATION, (request.username, key, now, until))
            case StartFirstUse(grant_id):
                rows = self._database.execute(START_FIRST_USE, (request.username, grant_id, now))
            case ReserveSlice(grant_id, octets, until):
                promise = (request.username, request.login_id, grant_id, octets, now, until)
                rows = self._database.execute(RESERVE_SLICE, promise)
        self._memory.outdate(request.username)
        return bool(rows[0][0])

    # -- what this node knows before the database does

    def note_accounting(
        self, position: Position, received_at_us: int, nas_address: str, pairs: Sequence[Sequence[str]]
    ) -> None:
        """Remember a journalled record until the meter has applied it."""
        username = first(pairs, "User-Name")
        if not username:
            self._note_restart(received_at_us, nas_address, pairs)
            return
        record = (position, received_at_us, nas_address, pairs)
        with self._unmetered_lock:
            if self._unmetered_count >= UNMETERED_LIMIT:
                # The meter has been away for long: keep answering, from the database alone.
                self._unmetered, self._unmetered_count = {}, 0
            self._unmetered.setdefault(username, []).append(record)
            self._unmetered_count += 1
        self.pending.arrived(username, first(pairs, "Calling-Station-Id"))

    def _note_restart(self, received_at_us: int, nas_address: str, pairs: Sequence[Sequence[str]]) -> None:
        restart = parse_accounting(pairs, nas_address, _as_time(received_at_us))
        if isinstance(restart, NasRestart):
            self._restarted_at[nas_address] = restart.event_at

    def _lay_over(
        self, snapshot: AccountSnapshot | None, records: Sequence[Unmetered], now: datetime
    ) -> AccountSnapshot | None:
        if snapshot is None:
            return None
        if records:
            snapshot = lay_over(snapshot, self._reports(snapshot.username, records))
        if self._restarted_at:
            snapshot = without_lost_sessions(snapshot, self._restarted_at)
        pending = self.pending.sessions(snapshot.username, now)
        return with_pending_logins(snapshot, pending) if pending else snapshot

    def _reports(self, username: str, records: Sequence[Unmetered]) -> list[Charged]:
        """Return what the meter will apply to this account: a Class may name another one than the User-Name."""
        reports: list[Charged] = []
        for _, received_at_us, nas_address, pairs in list(records):
            input_is_upload = self.nases.dialect_of(nas_address).input_is_upload
            report = parse_accounting(pairs, nas_address, _as_time(received_at_us), input_is_upload)
            if isinstance(report, Report):
                token = verify_class(self._settings.class_secret, report.class_value or "", report.username)
                if token is None or token.username == username:
                    per_mille = self.nases.multiplier_of(nas_address)
                    reports.append((report, None if token is None else token.login_id, per_mille))
        return reports

    # -- called from the database's thread

    def _connected(self, execute: Execute) -> None:
        """What changed while nobody listened is unknown: start over."""
        self._outdate_all()
        self._prewarming.begin()
        self._load_nases(execute(SELECT_NASES))

    def _load_nases(self, rows: Sequence[Sequence[Any]]) -> None:
        self.nases = NasDirectory(rows)
        try:
            remember_nases(self._settings.journal_directory, rows)
        except OSError as error:
            self._log(f"the NASes cannot be remembered for an outage: {error}")
        for name in self.nases.unusable:
            self._log(f"NAS {name!r} is neither an address nor a network (RFC 4632); it is ignored")

    def _notified(self, channel: str, payload: str, execute: Execute) -> None:
        try:
            self._hear(channel, payload, execute)
        except (ValueError, TypeError, KeyError):
            # Any role may NOTIFY anything.
            self._log(f"a notification on {channel} cannot be read; every account is read anew")
            self._account_changed(None)

    def _hear(self, channel: str, payload: str, execute: Execute) -> None:
        if channel == "herotill_nas":
            self._load_nases(execute(SELECT_NASES))
        elif channel == "herotill_usage":
            self._metered(json.loads(payload))
        else:
            self._account_changed(changed_accounts(payload))

    def _idle(self, execute: Execute) -> bool:
        try:
            return self._prewarming.load_page(execute)
        except psycopg2.errors.QueryCanceled:
            self._prewarming.give_up()
            self._log("the database is too slow to load accounts ahead of their logins")
            return False

    def _account_changed(self, usernames: list[str] | None) -> None:
        """The books changed accounts: what was known last is wrong, in an outage too, so that it is loaded anew at once."""
        if usernames is None:
            self._outdate_all()
            self._prewarming.begin()
            return
        for username in usernames:
            self._note_change(username)
            if self._memory.forget(username) or username == self._loading:
                self._prewarming.want(username)

    def _metered(self, applied: dict[str, Any]) -> None:
        node = applied["node"]
        # Accounts of which a restart ended sessions, and nothing else changed, stay fresh: `_lay_over` knows of the restart.
        for nas_address, restarted_at in applied.get("restarts", {}).items():
            self._restarted_at[nas_address] = datetime.fromisoformat(restarted_at)
        for username in applied["accounts"]:
            self._note_change(username)
            self._memory.outdate(username)
            self._prewarming.want_later(username)
        if node != self._settings.node:
            return
        for username in applied["accounts"]:
            self._drop_metered(username, applied["segment"], applied["offset"])

    def _drop_metered(self, username: str, segment: str, offset: int) -> None:
        """Forget the records of one segment that are applied."""
        with self._unmetered_lock:
            records = self._unmetered.get(username, ())
            kept = [record for record in records if not _is_within(record[0], segment, offset)]
            if self._memory.is_outdated(username):
                self._note_stops(username, (one for one in records if _is_within(one[0], segment, offset)))
            self._unmetered_count -= len(records) - len(kept)
            if kept:
                self._unmetered[username] = kept
            else:
                self._unmetered.pop(username, None)

    def _note_stops(self, username: str, applied: Iterable[Unmetered]) -> None:
        for _, _, nas_address, pairs in applied:
            if first(pairs, "Acct-Status-Type") == "Stop":
                self._memory.note_stop(username, (nas_address, first(pairs, "Acct-Session-Id")))
                self._prewarming.want(username)

    def _note_change(self, username: str) -> None:
        if username == self._loading:
            self._loading_was_changed = True

    def _outdate_all(self) -> None:
        self._memory.outdate_all()
        self._loading_was_changed = True


def _is_within(position: Position, segment: str, offset: int) -> bool:
    return position[0] == segment and position[1] <= offset


def _as_time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
