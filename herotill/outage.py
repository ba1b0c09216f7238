"""What a login meets while the database cannot be asked (rule R34). Pure: the caller knows that it cannot."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from herotill.decision import (
    Accept,
    Decision,
    GrantAllocation,
    LoginRequest,
    Prepare,
    Reject,
    decide,
    is_bound_device,
)
from herotill.policy import Outage
from herotill.reasons import Reason
from herotill.reply import UNLIMITED, reply_for
from herotill.snapshot import AccountSnapshot, AccountStatus


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
            return _decide_open(request, snapshot, session_seconds)
        case Outage.LAST_KNOWN:
            return _shortened(_decide_last_known(request, snapshot, now), session_seconds)
        case _:
            assert_never(snapshot.policy.outage)


def _decide_open(request: LoginRequest, snapshot: AccountSnapshot, session_seconds: int) -> Decision:
    # No group out-ranks that somebody was disabled, an open house of its own neither.
    if snapshot.status is AccountStatus.DISABLED:
        return Reject(Reason.DISABLED)
    if not is_bound_device(request, snapshot.policy):
        return Reject(Reason.OTHER_DEVICE)
    return Accept(reply_for(snapshot.policy, UNLIMITED, session_seconds), Reason.OUTAGE)


def _decide_last_known(request: LoginRequest, snapshot: AccountSnapshot, now: datetime) -> Decision:
    decision = decide(request, snapshot, now)
    if isinstance(decision, Prepare) and isinstance(decision.step, GrantAllocation):
        without = decide(request, replace(snapshot, allocation=None), now)
        # Who has paid for something else is not kept waiting for what is free.
        return without if isinstance(without, Accept) else decision
    return decision


def _shortened(decision: Decision, session_seconds: int) -> Decision:
    if isinstance(decision, Reject):
        return decision
    if not isinstance(decision, Accept):
        return Reject(Reason.UNAVAILABLE)
    timeout = decision.reply.session_timeout_seconds
    seconds = session_seconds if timeout is None else min(timeout, session_seconds)
    return Accept(replace(decision.reply, session_timeout_seconds=seconds), Reason.OUTAGE)
