"""What happens to the sessions that are online when the last grant of their account has ended (rules R15, R16)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from herotill.grants import Grant, GrantEnd, burn_order
from herotill.ladder import WHOLE
from herotill.reply import Reply
from herotill.service import full_service, last_end, reply_at_end, step_after_end
from herotill.sessions import Session
from herotill.snapshot import AccountKind


@dataclass(frozen=True, slots=True)
class Cut:
    """One session to be ended or changed. `reply` is what it may have from now on; None is nothing. `before` is what it had.

    `percent` is the step of the plan's ladder that asks for it, 0 where it is the end itself.
    """

    session: Session
    reason: GrantEnd
    grant_id: int
    before: Reply
    reply: Reply | None = None
    percent: int = 0

    @property
    def request_key(self) -> str:
        """The idempotence key: one cut for one end of one session, and one for each step after it."""
        step = f":{self.percent}" if self.percent else ""
        return f"end:{self.session.acct_unique_id}:{self.grant_id}{step}"


def cuts_at_end(
    kind: AccountKind,
    grants: Iterable[Grant],
    live_sessions: Iterable[Session],
    now: datetime,
    stepped_at: datetime | None = None,
) -> list[Cut]:
    """Return what to do with each live session of an account, by what its grants say at `now`; often nothing.

    An account with a living grant is left alone; so is one that never had a grant. A monthly account is not cut because
    something expired: only suspension does that (rule R24).
    Where the plan throttles or restricts, only sessions from before the end are touched: later ones began restricted. Those
    from before `stepped_at` are told the step of the ladder that came after the end then.
    """
    known = list(grants)
    ended = last_end(known)
    if ended is None or ended.ended_reason is None or burn_order(known, now):
        return []
    if kind is AccountKind.MONTHLY and ended.ended_reason in (GrantEnd.VOID, GrantEnd.EXPIRY):
        return []
    step = step_after_end(ended, ended.ended_reason)
    percent = 0 if step is None else step.percent
    reply = reply_at_end(ended, ended.ended_reason)
    before = full_service(ended.policy)
    since = (stepped_at or now) if percent > WHOLE else (ended.ended_at or now)
    return [
        Cut(session, ended.ended_reason, ended.grant_id, before, reply, percent)
        for session in live_sessions
        if reply is None or session.started_at < since
    ]
