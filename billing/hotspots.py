"""Hotspot accounts are ad hoc: gone when used up (rule R1).

Where a hotspot account's grant ends, its farewell is set for a day later (billing/access_events.py), or, where its plan
throttles or restricts on, a day after its validity. Who was refilled or bought again meanwhile stays.
"""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing import accounts
from billing.models import Account

MAX_AT_ONCE = 1_000

_STAY = text("""
    UPDATE billing.account SET retires_at = NULL
    WHERE retires_at <= :now
      AND (status <> 'active'
           OR EXISTS (SELECT FROM radius.entitlement WHERE entitlement.username = account.username AND ended_at IS NULL))
""")


def retire(session: Session, now: datetime) -> int:
    """Close the hotspot accounts that are used up and whose day has come; return how many. Their sessions are cut."""
    session.execute(_STAY, {"now": now})
    due = select(Account).where(Account.retires_at <= now, Account.status == "active")
    in_order = due.order_by(Account.account_id).limit(MAX_AT_ONCE)
    found = session.scalars(in_order.with_for_update(of=Account, skip_locked=True)).all()
    for account in found:
        account.retires_at = None
    if found:
        accounts.close(session, found, now=now)
    return len(found)
