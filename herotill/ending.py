"""What happens to the sessions that are online when the last grant of their account has ended (rules R15, R16)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from herotill.decision import ending_of
from herotill.grants import Grant, GrantEnd, burn_order
from herotill.policy import Ending, ServicePolicy
from herotill.sessions import Session
from herotill.snapshot import AccountKind


@dataclass(frozen=True, slots=True)
class Cut:
    """One session to be ended or changed. `throttle_to` is the policy whose throttled rates a CoA should set."""

    session: Session
    reason: GrantEnd
    grant_id: int
    throttle_to: ServicePolicy | None = None

    @property
    def request_key(self) -> str:
        """The idempotence key: one cut for one end of one session."""
        return f"end:{self.session.acct_unique_id}:{self.grant_id}"


def last_end(grants: Iterable[Grant]) -> Grant | None:
    """Return the grant whose written end is the latest."""
    ended = [grant for grant in grants if grant.ended_at is not None]
    return max(ended, key=lambda grant: (grant.ended_at, grant.grant_id), default=None)


def cuts_at_end(
    kind: AccountKind, grants: Iterable[Grant], live_sessions: Iterable[Session], now: datetime
) -> list[Cut]:
    """Return what to do with each live session of an account, by what its grants say at `now`; often nothing.

    An account with a living grant is left alone; so is one that never had a grant. A monthly account is not cut because
    something expired: only suspension does that (rule R24).
    Where the plan throttles or restricts, only sessions from before the end are touched: later ones began restricted.
    """
    known = list(grants)
    ended = last_end(known)
    if ended is None or ended.ended_reason is None or burn_order(known, now):
        return []
    if kind is AccountKind.MONTHLY and ended.ended_reason in (GrantEnd.VOID, GrantEnd.EXPIRY):
        return []
    ending = ending_of(ended.policy, ended.ended_reason)
    return [
        Cut(session, ended.ended_reason, ended.grant_id, ended.policy if ending is Ending.THROTTLE else None)
        for session in live_sessions
        if ending is Ending.REJECT or (ended.ended_at is not None and session.started_at < ended.ended_at)
    ]
