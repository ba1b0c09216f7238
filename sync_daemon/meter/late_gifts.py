"""Sessions let in just before their account was given more are told of it too, in the transaction of the meter (rule R16).

Who gives asks for a review of the sessions there are. One accepted just before, whose Start is metered just after, is none
of them yet; so its review is asked for here, where its Start is met.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.grants import Grant
from herotill.sessions import Session
from sync_daemon.meter.batch import Account, Changes

LONGEST_BEFORE_START = timedelta(minutes=1)
"""From the accept to the Start: what was given before that, the login knew of, and nothing is looked up."""
SELECT_ACCEPTED = (
    "SELECT login_id, occurred_at FROM radius.login_outcome WHERE accepted AND login_id = ANY (%s)"
)
ASK_FOR_REVIEW = "INSERT INTO radius.session_review (username, given) VALUES (%s, %s)"
NOTIFY = "SELECT pg_notify('herotill_review', '')"


def review_late_gifts(cursor: Cursor, accounts: Mapping[str, Account], changes: Changes) -> None:
    """Ask for a review where a session that begins was accepted before its account was given a grant it has."""
    begun = [session for session in _begun(changes) if _recent(accounts[session.username], session)]
    if not begun:
        return
    cursor.execute(SELECT_ACCEPTED, ([session.login_id for session in begun],))
    accepted_at = dict(cursor.fetchall())
    given: dict[str, set[int]] = {}
    for session in begun:
        if session.login_id in accepted_at:
            late = _recent(accounts[session.username], session)
            ids = {grant.grant_id for grant in late if grant.granted_at > accepted_at[session.login_id]}
            given.setdefault(session.username, set()).update(ids)
    for username in sorted(name for name, ids in given.items() if ids):
        cursor.execute(ASK_FOR_REVIEW, (username, sorted(given[username])))
        cursor.execute(NOTIFY)


def _begun(changes: Changes) -> Iterable[Session]:
    return (
        session
        for acct_unique_id, session in changes.sessions.items()
        if acct_unique_id not in changes.before and session.stopped_at is None and session.login_id
    )


def _recent(account: Account, session: Session) -> list[Grant]:
    earliest = session.started_at - LONGEST_BEFORE_START
    return [
        grant for grant in account.grants.values() if grant.ended_at is None and grant.granted_at > earliest
    ]
