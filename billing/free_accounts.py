"""Free accounts: so many logins, then a pause, then again (rule R7). No price, no purchase, not in the sales report.

The meter counts accepted logins in its own transaction (radius.login_limit) and wakes the schedule, which suspends who has
had them all; sessions that are on go on to their end. After the pause the account is let in again with what its plan
gives, whole. An account whose data or time is used up before its logins waits the same pause.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from billing.holding import hold_accounts
from billing.models import VoucherBatch
from billing.projection import Offer, grant, project_accounts, void_grants
from billing.terms import PlanTerms, clocks_of_first_use_sale

PAUSED = "free-logins-used"
MAX_AT_ONCE = 5_000

# Who may have to pause, to be let in again, or to be given back a login.
_CANDIDATES = text("""
    (SELECT username FROM radius.login_limit WHERE logins >= logins_max AND paused_until IS NULL
     ORDER BY username LIMIT :batch_size)
    UNION
    (SELECT username FROM radius.login_limit JOIN billing.account USING (username)
     WHERE paused_until <= :now AND (status = 'active' OR (status = 'suspended' AND suspended_reason = :reason))
     ORDER BY paused_until LIMIT :batch_size)
    UNION
    (SELECT username FROM radius.login_limit JOIN billing.account USING (username)
     WHERE paused_until > :now AND logins < logins_max AND status = 'suspended' AND suspended_reason = :reason
     ORDER BY username LIMIT :batch_size)
""")
_PAUSE = text("""
    WITH reached AS (
        UPDATE radius.login_limit
        SET paused_until = coalesce(last_login_at, :now) + make_interval(secs => pause_seconds)
        WHERE username = ANY(:held) AND logins >= logins_max AND paused_until IS NULL
        RETURNING username)
    UPDATE billing.account SET status = 'suspended', suspended_reason = :reason
    FROM reached WHERE account.username = reached.username AND status = 'active'
    RETURNING account.username
""")
# What a wrong password was counted as is given back: the accept was corrected after we had seen it.
_UNDO = text("""
    WITH uncounted AS (
        UPDATE radius.login_limit SET paused_until = NULL
        FROM billing.account
        WHERE login_limit.username = ANY(:held) AND account.username = login_limit.username
          AND status = 'suspended' AND suspended_reason = :reason AND paused_until > :now AND logins < logins_max
        RETURNING login_limit.username)
    UPDATE billing.account SET status = 'active', suspended_reason = NULL
    FROM uncounted WHERE account.username = uncounted.username AND status = 'suspended'
    RETURNING account.username
""")
_RESUME = text("""
    UPDATE radius.login_limit SET paused_until = NULL, logins = 0, turn = turn + 1
    FROM billing.voucher JOIN billing.account USING (account_id)
    WHERE login_limit.username = ANY(:held) AND paused_until <= :now
      AND voucher.voucher_id = login_limit.voucher_id
      AND (status = 'active' OR (status = 'suspended' AND suspended_reason = :reason))
    RETURNING login_limit.username, login_limit.voucher_id, turn, batch_id
""")
_LET_IN = text("""
    UPDATE billing.account SET status = 'active', suspended_reason = NULL
    WHERE username = ANY(:usernames) AND status = 'suspended' AND suspended_reason = :reason
""")


@dataclass(frozen=True, slots=True)
class FreeTick:
    """What a look at the clock did: how many accounts pause now, and how many are let in again."""

    paused: int
    resumed: int


def tick(session: Session, now: datetime) -> FreeTick:
    """Let in who has paused long enough, suspend who has had all logins. Call again while either is MAX_AT_ONCE."""
    bounds = {"now": now, "batch_size": MAX_AT_ONCE, "reason": PAUSED}
    held = session.execute(_CANDIDATES, bounds).scalars().all()
    if not held:
        return FreeTick(0, 0)
    hold_accounts(session, held)
    values = {"now": now, "held": list(held), "reason": PAUSED}
    again = session.execute(_RESUME, values).all()
    _begin_turn(session, again, now)
    paused = session.execute(_PAUSE, values).scalars().all()
    undone = session.execute(_UNDO, values).scalars().all()
    changed = sorted({row.username for row in again} | set(paused) | set(undone))
    if changed:
        project_accounts(session, changed)
        session.expire_all()
    return FreeTick(len(paused), len(again))


def _begin_turn(session: Session, rows: Sequence[Row[Any]], now: datetime) -> None:
    """Give each its plan anew, and take what the last turn left."""
    if not rows:
        return
    session.execute(_LET_IN, {"usernames": [row.username for row in rows], "reason": PAUSED})
    void_grants(session, [f"free:{row.voucher_id}:{row.turn - 1}" for row in rows], now=now)
    for batch_id, members in groupby(sorted(rows, key=_batch_of), key=_batch_of):
        batch = session.get_one(VoucherBatch, batch_id)
        terms = PlanTerms.from_mapping(batch.plan_terms)
        offer = Offer("voucher", batch.plan_name, terms, clocks_of_first_use_sale(terms), now)
        grant(session, offer, {f"free:{row.voucher_id}:{row.turn}": row.username for row in members})


def _batch_of(row: Row[Any]) -> int:
    batch_id: int = row.batch_id
    return batch_id
