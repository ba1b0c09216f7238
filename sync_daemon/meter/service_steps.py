"""What a batch of reports does to the service of accounts with ladders, or with grants of different policies (rule R16)."""

from collections.abc import Mapping
from datetime import UTC, datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.live_change import LiveChange
from herotill.sessions import Session
from sync_daemon.laddering import (
    Service,
    changes_for_begun,
    changes_of_step,
    may_step,
    service_of,
    set_steps,
    steps_since,
)
from sync_daemon.meter.batch import Account, Changes
from sync_daemon.meter.statements import load_live_sessions
from sync_daemon.outbox import request_changes


def services_before(accounts: Mapping[str, Account]) -> dict[str, Service]:
    """Return the service of those accounts a batch may change it of; of most it cannot."""
    now = datetime.now(UTC)
    return {
        name: service_of(account.grants.values(), now)
        for name, account in accounts.items()
        if account.kind is not None and account.grants and may_step(account.grants.values())
    }


def tell_steps(
    cursor: Cursor, accounts: Mapping[str, Account], changes: Changes, before: Mapping[str, Service]
) -> dict[str, datetime]:
    """Tell live sessions what changed; return since when each of these accounts is at its step."""
    if not before:
        return {}
    now = datetime.now(UTC)
    after = {name: service_of(accounts[name].grants.values(), now) for name in before}
    crossed = {
        name: service.percent for name, service in after.items() if service.percent != before[name].percent
    }
    set_steps(cursor, crossed, now)
    begun = _begun(changes, {name for name, service in after.items() if service.percent} - crossed.keys())
    stepped = {name for name, service in after.items() if service.percent and not service.is_living}
    since = steps_since(cursor, sorted({*begun, *stepped} - crossed.keys()))
    for name, told in _told(cursor, accounts, (before, after), now).items():
        request_changes(cursor, told, changes.received_at[name])
    for name, sessions in begun.items():
        if name in since:
            late = changes_for_begun(accounts[name].grants.values(), since[name], sessions, now)
            request_changes(cursor, late, changes.received_at[name])
    return dict.fromkeys(crossed, now) | {name: moment for name, (_, moment) in since.items()}


def _told(
    cursor: Cursor,
    accounts: Mapping[str, Account],
    services: tuple[Mapping[str, Service], Mapping[str, Service]],
    now: datetime,
) -> dict[str, list[LiveChange]]:
    before, after = services
    moved = [
        name
        for name in after
        if before[name].reply != after[name].reply and after[name].is_living and name in accounts
    ]
    live = _by_account(load_live_sessions(cursor, moved)) if moved else {}
    told = {name: changes_of_step(before[name], after[name], live.get(name, ()), now) for name in moved}
    return {name: changes for name, changes in told.items() if changes}


def _begun(changes: Changes, names: set[str]) -> dict[str, list[Session]]:
    fresh = [
        session
        for acct_unique_id, session in changes.sessions.items()
        if acct_unique_id not in changes.before and session.stopped_at is None and session.username in names
    ]
    return _by_account(fresh)


def _by_account(sessions: list[Session]) -> dict[str, list[Session]]:
    found: dict[str, list[Session]] = {}
    for session in sessions:
        found.setdefault(session.username, []).append(session)
    return found
