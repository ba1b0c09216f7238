"""What a login meets while the database cannot be asked (rule R34). Pure: the caller knows that it cannot."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from herotill.decision import Accept, Decision, LoginRequest, Reject, decide
from herotill.policy import Outage
from herotill.reasons import Reason
from herotill.reply import UNLIMITED, reply_for
from herotill.snapshot import AccountSnapshot


def decide_in_outage(
    request: LoginRequest, snapshot: AccountSnapshot, now: datetime, session_seconds: int
) -> Decision:
    """Decide by the account's outage policy on what was known of it last; an accepted session is short.

    What would have to be committed first cannot be, so it is refused: an allocation is given after the outage.
    """
    match snapshot.policy.outage:
        case Outage.CLOSED:
            return Reject(Reason.UNAVAILABLE)
        case Outage.OPEN:
            return Accept(reply_for(snapshot.policy, UNLIMITED, session_seconds), Reason.OUTAGE)
        case Outage.LAST_KNOWN:
            return _shortened(decide(request, snapshot, now), session_seconds)
        case _:
            assert_never(snapshot.policy.outage)


def _shortened(decision: Decision, session_seconds: int) -> Decision:
    if isinstance(decision, Reject):
        return decision
    if not isinstance(decision, Accept):
        return Reject(Reason.UNAVAILABLE)
    timeout = decision.reply.session_timeout_seconds
    seconds = session_seconds if timeout is None else min(timeout, session_seconds)
    return Accept(replace(decision.reply, session_timeout_seconds=seconds), Reason.OUTAGE)
