"""Live sessions follow a change of their account's service: by CoA where the router can, else by reconnecting (rule R2).

What is compared is what a login would be answered before and after, said in the router's own dialect. Limits are left out:
the meter holds them, and raised ones are told by the review of sessions.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.cutting import change_sessions
from herotill.decision import Accept, LoginRequest, Prepare, ReserveSlice, decide
from herotill.dialect import Dialect, render, render_live
from herotill.grants import burn_order
from herotill.nas import SELECT_NASES, NasDirectory
from herotill.reply import UNLIMITED, Reply, reply_for
from herotill.snapshot import AccountSnapshot, snapshot_from_json

_SNAPSHOT = text("SELECT radius.account_snapshot(:username)")
_LIVE = text("""
    SELECT acct_unique_id, host(nas_address) FROM radius.session
    WHERE username = :username AND stopped_at IS NULL ORDER BY acct_unique_id
""")
_NASES = text(SELECT_NASES)
_LIMITS = dict.fromkeys(
    (
        "session_timeout_seconds",
        "interim_interval_seconds",
        "limit_total_octets",
        "limit_input_octets",
        "limit_output_octets",
    )
)


def service_of(session: Session, username: str, now: datetime) -> Reply | None:
    """Return what a session of this account is served with now, without its limits; None where none may be."""
    session.flush()
    document = session.scalar(_SNAPSHOT, {"username": username})
    return None if document is None else _service(snapshot_from_json(document), now)


def follow(session: Session, username: str, before: Reply | None, *, reason: str, now: datetime) -> int:
    """Ask for every live session what makes it as a new one would be, and return for how many something was asked.

    `before` is what `service_of` said before the change. A session that cannot be changed so reconnects.
    """
    live = session.execute(_LIVE, {"username": username}).all()
    after = service_of(session, username, now)
    if not live or (after is not None and after == before):
        return 0
    nases = NasDirectory([tuple(row) for row in session.execute(_NASES)])
    wanted = {number: _changes(nases.dialect_of(address), before, after) for number, address in live}
    return change_sessions(session, wanted, reason=reason, now=now)


def _service(snapshot: AccountSnapshot, now: datetime) -> Reply | None:
    # Of a session that is on: it has its first use behind it, takes no place of another, and waits for no allocation.
    grants = tuple(replace(grant, first_used_at=grant.first_used_at or now) for grant in snapshot.grants)
    snapshot = replace(snapshot, sessions=(), allocation=None, grants=grants)
    match decide(LoginRequest(snapshot.username, login_id=""), snapshot, now):
        case Accept(reply=reply):
            return replace(reply, **_LIMITS)
        case Prepare(ReserveSlice()):
            reply = reply_for(burn_order(grants, now)[0].policy, UNLIMITED, None)
            return replace(reply, **_LIMITS)
        case _:
            return None


def _changes(dialect: Dialect, before: Reply | None, after: Reply | None) -> Mapping[str, str]:
    """Return what a CoA says; nothing where the session must be ended: it cannot be said, or not to a running one."""
    if before is None or after is None:
        return {}
    was, becomes = dict(render(dialect, before)), dict(render(dialect, after))
    changed = {name for name in was.keys() | becomes.keys() if was.get(name) != becomes.get(name)}
    live = dict(render_live(dialect, after))
    return live if changed and changed <= live.keys() else {}
