"""Sessions that come up for accounts that were denied meanwhile are ended, in the meter's transaction (rules R5, R31).

Who disables an account cuts the sessions there are. One accepted just before, whose Start is metered just after, or one
taken for stale that reports again, is cut here: the account is locked by both, so that none falls between.
"""

from collections.abc import Mapping

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.live_change import Purpose
from herotill.sessions import Session
from herotill.snapshot import AccountStatus
from sync_daemon.meter.batch import Account, Changes
from sync_daemon.outbox import Wanted, put_requests


def end_denied_sessions(cursor: Cursor, accounts: Mapping[str, Account], changes: Changes) -> None:
    """Ask for the end of what came up in this batch and must not be; most batches hold none."""
    for session in sorted(_come_up(changes), key=lambda session: session.acct_unique_id):
        reason = why_denied(accounts[session.username], session)
        if reason is not None:
            key = f"denied:{session.acct_unique_id}:{reason}"
            wanted = Wanted(session, key, Purpose.END, reason, {})
            put_requests(cursor, [wanted], changes.received_at.get(session.username))


def why_denied(account: Account, session: Session) -> str | None:
    """Return why this session must not be, as a word of radius.coa_request.reason; None: it may.

    A suspended monthly customer may connect, restricted: only what is older than the suspension is ended (rule R24). Whom
    nobody manages was ours only where the session carries the Class we signed.
    """
    if account.kind is None:
        return "deleted" if session.login_id is not None else None
    if account.status is AccountStatus.DISABLED:
        return "disabled"
    if account.status is AccountStatus.SUSPENDED and account.since is not None:
        return "suspended" if session.started_at < account.since else None
    return None


def _come_up(changes: Changes) -> list[Session]:
    """Return the sessions that are online after this batch and were not known to be before it."""
    return [
        session
        for acct_unique_id, session in changes.sessions.items()
        if session.stopped_at is None
        and ((before := changes.before.get(acct_unique_id)) is None or before.stopped_at is not None)
    ]
