"""How vouchers leave the world before they are used up: void, by the operator, or expired, by the date on the card.

What they gave ends, their accounts are closed, live sessions are cut; money is not given back (rules R8, R25). Set-based:
a batch of 100,000 takes seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.cutting import cut_sessions
from billing.holding import hold_vouchers
from billing.models import Voucher
from billing.projection import forget_accounts, notify_accounts
from billing.vouchers import LIVING
from herotill.errors import Refused

_END_VOUCHERS = text("""
    UPDATE billing.voucher SET state = :state, changed_at = :now, changed_by = :actor, changed_reason = :reason
    WHERE voucher_id = ANY(:voucher_ids) AND state IN ('generated', 'printed', 'sold', 'in_use')
    RETURNING voucher_id
""")
_END_GRANTS = text("""
    UPDATE radius.entitlement SET ended_at = :now, ended_reason = :ended_reason
    WHERE external_key = ANY(SELECT 'voucher:' || unnest(CAST(:voucher_ids AS bigint[]))) AND ended_at IS NULL
""")
_CLOSE_ACCOUNTS = text("""
    UPDATE billing.account
    SET status = 'closed', closed_at = :now, suspended_reason = NULL, retires_at = NULL
    FROM billing.voucher WHERE voucher.account_id = account.account_id AND voucher_id = ANY(:voucher_ids)
      AND account.status <> 'closed'
    RETURNING username
""")
_FORGET_LIMITS = text("DELETE FROM radius.login_limit WHERE voucher_id = ANY(:voucher_ids)")
_REFILLED = text("""
    SELECT DISTINCT username FROM billing.refill_redemption JOIN billing.account USING (account_id)
    WHERE voucher_id = ANY(:voucher_ids) ORDER BY username
""")
_TAKE_DUE_BATCH = text("""
    SELECT batch_id FROM billing.voucher_batch WHERE codes_expire_at <= :now AND NOT codes_expired
    ORDER BY codes_expire_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
""")
# What was used already runs by its grant's clocks; the date on the card is for what was not.
_UNUSED = text("""
    SELECT voucher_id FROM billing.voucher
    WHERE batch_id = :batch_id AND state IN ('generated', 'printed', 'sold') ORDER BY voucher_id LIMIT :batch_size
""")
_MARK_EXPIRED = text("UPDATE billing.voucher_batch SET codes_expired = true WHERE batch_id = :batch_id")
MAX_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class VoucherEnd:
    """How vouchers end: `void` or `expired`, by whom and why."""

    state: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How many vouchers ended, and how many live sessions were cut for it."""

    vouchers: int
    sessions: int


def end_vouchers(session: Session, voucher_ids: Sequence[int], end: VoucherEnd, now: datetime) -> Ended:
    """End those of these vouchers that live."""
    hold_vouchers(session, voucher_ids)
    values = {"now": now, "actor": end.by, "reason": end.reason, "state": end.state}
    living = session.execute(_END_VOUCHERS, values | {"voucher_ids": list(voucher_ids)}).scalars().all()
    those = {"voucher_ids": list(living), "now": now}
    ended_reason = "expiry" if end.state == "expired" else "void"
    session.execute(_END_GRANTS, those | {"ended_reason": ended_reason})
    session.execute(_FORGET_LIMITS, those)
    closed = session.execute(_CLOSE_ACCOUNTS, those).scalars().all()
    forget_accounts(session, closed, now=now)
    refilled = session.execute(_REFILLED, those).scalars().all()
    notify_accounts(session, refilled)
    session.expire_all()
    cut = cut_sessions(session, [*closed, *refilled], reason=end.state, now=now)
    return Ended(len(living), cut)


def end_these(session: Session, chosen: Sequence[Voucher], end: VoucherEnd, now: datetime) -> Ended:
    """End every one of these vouchers. Raises Refused where one has ended already, and then ends none."""
    for voucher in chosen:
        if voucher.state not in LIVING:
            raise Refused(f"voucher {voucher.code or voucher.serial} is {voucher.state} already", "R8")
    ended = end_vouchers(session, [voucher.voucher_id for voucher in chosen], end, now)
    if ended.vouchers < len(chosen):
        raise Refused("one of these vouchers has just ended; look at them again", "R8")
    return ended


def living_ids(session: Session, batch_id: int) -> list[int]:
    """Return the ids of a batch's vouchers that are not used up, expired or void."""
    query = select(Voucher.voucher_id).where(Voucher.batch_id == batch_id, Voucher.state.in_(LIVING))
    return list(session.scalars(query.order_by(Voucher.voucher_id)))


def expire_due(session: Session, now: datetime) -> bool:
    """Expire codes nobody used by the date of their batch; true when there may be more, and then call again."""
    batch_id = session.scalar(_TAKE_DUE_BATCH, {"now": now})
    if batch_id is None:
        return False
    unused = session.execute(_UNUSED, {"batch_id": batch_id, "batch_size": MAX_AT_ONCE}).scalars().all()
    end_vouchers(session, unused, VoucherEnd("expired", "schedule", "not used in time"), now)
    if len(unused) < MAX_AT_ONCE:
        session.execute(_MARK_EXPIRED, {"batch_id": batch_id})
    return True
