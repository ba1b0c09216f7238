"""The grants of billing cycles: `cycle:<account>:<begin date>`, and what the cycle before left (rules R12, R18, R24).

A cycle's grant lasts to the end of the cycle once its bill is paid; until then it ends on the payment date of the oldest
open bill of a cycle. That is what lets an account expire. With automatic suspend off nothing waits for money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.holding import hold_accounts
from billing.projection import notify_accounts

_ENDS = """
    SELECT cycle.account_id, cycle.began_on, account.username,
           CASE WHEN oldest.due_at IS NULL OR NOT coalesce(automatic_suspend, true) THEN cycle.grant_ends_at
                ELSE GREATEST(LEAST(cycle.grant_ends_at, oldest.due_at), cycle.begins_at) END AS ends_at
    FROM billing.billing_cycle cycle JOIN billing.account USING (account_id)
    LEFT JOIN billing.billing_profile USING (account_id)
    CROSS JOIN LATERAL (
        SELECT min(due_at) AS due_at FROM billing.invoice
        WHERE invoice.account_id = cycle.account_id AND cycle_began_on IS NOT NULL
          AND paid_at IS NULL AND voided_at IS NULL) AS oldest
    WHERE cycle.account_id = ANY(:account_ids) AND begins_at <= :now AND ends_at > :now
"""
_SELECT_ENDS = text(_ENDS)
_USERNAMES = text("""
    SELECT username FROM billing.account WHERE account_id = ANY(:account_ids) AND status <> 'closed'
""")
# What ended on the payment date begins to live again; what was used up stays used up.
_ALIGN = text(f"""
    UPDATE radius.entitlement SET
        expires_at = LEAST(wanted.ends_at, first_used_at + make_interval(secs => seconds_after_first_use)),
        ended_at = CASE WHEN wanted.ends_at > :now THEN NULL ELSE ended_at END,
        ended_reason = CASE WHEN wanted.ends_at > :now THEN NULL ELSE ended_reason END
    FROM ({_ENDS}) AS wanted
    CROSS JOIN LATERAL (VALUES ('cycle:' || wanted.account_id || ':' || began_on),
                               ('rollover:' || wanted.account_id || ':' || began_on)) AS own (external_key)
    WHERE entitlement.external_key = own.external_key AND coalesce(ended_reason, 'expiry') = 'expiry'
      AND entitlement.expires_at IS DISTINCT FROM wanted.ends_at
    RETURNING entitlement.username
""")  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class CycleEnd:
    """Until when the grants of an account's present cycle last."""

    account_id: int
    began_on: date
    username: str
    ends_at: datetime


def cycle_key(account_id: int, began_on: date) -> str:
    """Return the key of a cycle's grant."""
    return f"cycle:{account_id}:{began_on}"


def ends_of(session: Session, account_ids: Sequence[int], now: datetime) -> list[CycleEnd]:
    """Return until when the grants of the present cycles last, as their bills are now."""
    rows = session.execute(_SELECT_ENDS, {"account_ids": list(account_ids), "now": now})
    return [CycleEnd(*row) for row in rows]


def align_grants(session: Session, account_ids: Sequence[int], now: datetime) -> None:
    """Let the grants of the present cycles end when their bills say, now that a bill or a profile has changed."""
    if not account_ids:
        return
    session.flush()
    lock_grants(session, account_ids)
    values = {"account_ids": list(account_ids), "now": now}
    changed = session.execute(_ALIGN, values).scalars().all()
    notify_accounts(session, sorted(set(changed)))


def lock_grants(session: Session, account_ids: Sequence[int]) -> None:
    """Keep the meter from the grants of these accounts: what it reads and writes back is what we changed."""
    hold_accounts(session, session.execute(_USERNAMES, {"account_ids": list(account_ids)}).scalars())
