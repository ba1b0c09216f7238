"""The old sessions of devices that have logged in again are ended (rule R6), in the meter's transaction.

The router is asked to, unless it says the Stop itself in the meantime. What cannot be asked for without ending the new
session too is closed in the books alone; a late interim opens it again.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.dialect import IdentificationProfile, dialect_for
from herotill.grants import burn_order
from herotill.live_change import Purpose
from herotill.nas import NasDirectory
from herotill.replacing import device_of, left_behind, naming_only
from herotill.sessions import REPLACED, Session
from sync_daemon.meter.batch import Account, Changes
from sync_daemon.meter.statements import load_live_sessions
from sync_daemon.outbox import Wanted, put_requests, read_nases

REASON = "replaced"
FOR_ITS_OWN_STOP_SECONDS = 2.0
"""A router that replaces the session by itself says so within this: it need not be asked."""

CLOSE_REPLACED = f"""
    WITH closed AS (
        UPDATE radius.session SET stopped_at = GREATEST(last_report_at, started_at), terminate_cause = '{REPLACED}'
        WHERE acct_unique_id = ANY (%(sessions)s) AND username = ANY (%(usernames)s) AND stopped_at IS NULL
        RETURNING acct_unique_id, username, login_id, stopped_at
    ), released AS (
        UPDATE radius.reservation SET released_at = closed.stopped_at
        FROM closed
        WHERE reservation.username = closed.username AND reservation.login_id = closed.login_id
          AND reservation.released_at IS NULL
    )
    UPDATE radius.radacct SET acctstoptime = closed.stopped_at, acctterminatecause = '{REPLACED}'
    FROM closed WHERE radacct.acctuniqueid = closed.acct_unique_id
"""  # noqa: S608 - the word is ours


def replace_old_sessions(cursor: Cursor, accounts: Mapping[str, Account], changes: Changes) -> None:
    """End what the devices of new sessions have left behind. Most batches begin no session, and this asks nothing."""
    begun = _begun_devices(accounts, changes)
    if not begun:
        return
    live: dict[str, list[Session]] = {}
    for session in load_live_sessions(cursor, sorted(begun)):
        live.setdefault(session.username, []).append(session)
    now = datetime.now(UTC)
    for name in sorted(live):
        if len(live[name]) > 1:
            over = left_behind(live[name], begun[name], _max_devices(accounts[name], now))
            _end(cursor, over, live[name], changes.received_at.get(name))


def _begun_devices(accounts: Mapping[str, Account], changes: Changes) -> dict[str, list[str]]:
    """Return which devices of which accounts have begun a session in this batch that is still on."""
    begun: dict[str, list[str]] = {}
    for acct_unique_id in changes.sessions.keys() - changes.before.keys():
        session = changes.sessions[acct_unique_id]
        account = accounts[session.username]
        if session.stopped_at is None and session.calling_station_id and account.kind is not None:
            begun.setdefault(session.username, []).append(device_of(session))
    return begun


def _max_devices(account: Account, now: datetime) -> int | None:
    alive = burn_order(account.grants.values(), now)
    return alive[0].policy.max_sessions if alive else None


def _end(
    cursor: Cursor, over: Sequence[Session], live: Sequence[Session], caused_at: datetime | None
) -> None:
    if not over:
        return
    nases = read_nases(cursor)
    named = [(old, naming_only(old, live, _profiles(nases, old))) for old in over]
    close = [old for old, names in named if not names]
    requests = [
        Wanted(
            old, f"replaced:{old.acct_unique_id}", Purpose.END, REASON, {}, names, FOR_ITS_OWN_STOP_SECONDS
        )
        for old, names in named
        if names
    ]
    put_requests(cursor, requests, caused_at)
    if close:
        ids, names = [old.acct_unique_id for old in close], sorted({old.username for old in close})
        cursor.execute(CLOSE_REPLACED, {"sessions": ids, "usernames": names})


def _profiles(nases: NasDirectory, session: Session) -> Sequence[IdentificationProfile]:
    nas = nases.find(session.nas_address)
    return (dialect_for("other") if nas is None else nas.dialect).disconnect
