"""Automatic top-ups: when a cycle's data is used up, the plan's top-up is sold, as far as balance or credit allow (R18).

The meter notes who has used everything up. A sale that is refused is tried again after the customer's next payment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from billing import sales
from billing.charging import PaidBy
from billing.events import emit
from billing.sales import Order, Sale
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money

# Who has something left again, or no plan that tops itself up, waits for nothing any more. Nothing is held: the meter may
# be waiting to note an account anew, and the key of each sale makes it happen once.
_READ = text("""
    SELECT used.username, used.used_up_at, account.account_id, account.customer_id,
           cycle.began_on, cycle.topup_plan, cycle.topups_max, automatic_topup, profile.time_zone,
           (SELECT count(*) FROM billing.cycle_topup topup
            WHERE topup.account_id = cycle.account_id AND topup.began_on = cycle.began_on) AS given,
           EXISTS (SELECT FROM radius.entitlement living WHERE living.username = used.username
                     AND living.ended_at IS NULL AND coalesce(living.expires_at, 'infinity') > :now) AS has_some
    FROM radius.used_up_account used
    LEFT JOIN billing.account ON account.username = used.username AND account.status = 'active'
          AND account.disabled_at IS NULL
    LEFT JOIN billing.billing_profile profile ON profile.account_id = account.account_id
    LEFT JOIN billing.billing_cycle cycle ON cycle.account_id = account.account_id
          AND cycle.begins_at <= :now AND cycle.ends_at > :now
    WHERE refused_at IS NULL
    ORDER BY used_up_at, used.username LIMIT :batch_size
""")
# What was noted anew meanwhile stays.
_FORGET = text("""
    DELETE FROM radius.used_up_account used
    USING unnest(CAST(:usernames AS text[]), CAST(:times AS timestamptz[])) AS done (username, used_up_at)
    WHERE used.username = done.username AND used.used_up_at = done.used_up_at
""")
_REMEMBER_REFUSAL = text("UPDATE radius.used_up_account SET refused_at = :now WHERE username = :username")
_ADD = text("""
    INSERT INTO billing.cycle_topup (account_id, began_on, number, purchase_id)
    VALUES (:account_id, :began_on, :number, :purchase_id)
    ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up that was sold, or refused and why."""

    username: str
    plan_name: str
    price: Money | None
    refusal: str | None


def top_up(session: Session, *, now: datetime, limit: int, sold_by: str) -> tuple[list[TopUp], bool]:
    """Sell the top-ups that are due, at most `limit`; return them, and whether there may be more."""
    rows = session.execute(_READ, {"now": now, "batch_size": limit}).all()
    due = [row for row in rows if _is_due(row)]
    done = [_sell(session, row, now, sold_by) for row in due]
    refused = {each.username for each in done if each.refusal is not None}
    _forget(session, [row for row in rows if row.username not in refused])
    return done, len(rows) == limit


def _is_due(row: Row[Any]) -> bool:
    if row.topup_plan is None or not row.automatic_topup or row.has_some:
        return False
    return row.topups_max is None or row.given < row.topups_max


def _sell(session: Session, row: Row[Any], now: datetime, sold_by: str) -> TopUp:
    number = row.given + 1
    key = f"topup:{row.account_id}:{row.began_on}:{number}"
    order = Order(row.topup_plan, row.username, key, sold_by, PaidBy.CREDIT, row.time_zone)
    try:
        with session.begin_nested():
            sale = sales.sell_once(session, order=order, now=now)
    except (Refused, InvalidValue) as error:
        return _refused(session, row, key, str(error), now)
    _record(session, row.account_id, row.began_on, number, sale)
    return TopUp(row.username, row.topup_plan, sale.price, None)


def _record(session: Session, account_id: int, began_on: date, number: int, sale: Sale) -> None:
    values = {"account_id": account_id, "began_on": began_on, "number": number}
    session.execute(_ADD, values | {"purchase_id": sale.purchase_id})


def _refused(session: Session, row: Row[Any], key: str, reason: str, now: datetime) -> TopUp:
    session.execute(_REMEMBER_REFUSAL, {"username": row.username, "now": now})
    payload = {"user": row.username, "plan": row.topup_plan, "reason": reason}
    emit(session, "topup.refused", f"{key}:refused", payload, now, row.customer_id)
    return TopUp(row.username, row.topup_plan, None, reason)


def _forget(session: Session, rows: Sequence[Row[Any]]) -> None:
    if rows:
        columns = {
            "usernames": [row.username for row in rows],
            "times": [row.used_up_at for row in rows],
        }
        session.execute(_FORGET, columns)
