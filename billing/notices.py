"""Notices: what customers are told before it hurts, as events (rule R21).

Marks of use are found by the meter, once each for a grant; ends that come near and balances that run low by the schedule.
What is said, and to whom it goes, is the business of templates and sinks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.events import emit
from billing.models import ExpiryReminder, LowBalanceMark
from herotill.errors import InvalidValue
from herotill.quantities import MAX_SECONDS, Money, approximate_octets, format_seconds

LOOKS_APART = timedelta(seconds=30)
CHANGES_AT_ONCE = 1000

_CUSTOMER_OF = text("""
    SELECT customer_id FROM billing.account WHERE username = :username
    ORDER BY closed_at DESC NULLS FIRST LIMIT 1
""")
# Monthly accounts have bills, allocations come again by themselves: neither is reminded. What was given for less than the
# lead needs no reminder either. Who has been told of a nearer end is not told of the farther one after it.
_ENDING = text("""
    SELECT entitlement_id, username, plan_name, expires_at, customer_id, quota_octets, quota_seconds,
           quota_octets - LEAST(used_octets, quota_octets) AS remaining_octets,
           quota_seconds - LEAST(used_seconds, quota_seconds) AS remaining_seconds
    FROM radius.entitlement grants JOIN billing.account USING (username)
    WHERE ended_at IS NULL AND expires_at > :reminded_until + :lead AND expires_at <= :now + :lead
      AND expires_at > :now + :nearer_lead AND expires_at - coalesce(first_used_at, granted_at) > :lead
      AND source <> 'allocation' AND account.kind <> 'monthly' AND account.status = 'active'
    ORDER BY expires_at, entitlement_id
""")
_TAKE_CHANGES = text("""
    DELETE FROM billing.balance_change
    WHERE balance_change_id IN (SELECT balance_change_id FROM billing.balance_change
                                ORDER BY balance_change_id LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING customer_id, currency
""")
# Held in one order, so that of two who look at one customer the second sees what the first has written.
_HOLD_CUSTOMERS = text("""
    SELECT customer_id FROM billing.customer WHERE customer_id = ANY(:customer_ids) ORDER BY customer_id FOR NO KEY UPDATE
""")
_BALANCES = text("""
    SELECT changed.customer_id, changed.currency, mark.amount_minor AS mark_minor,
           coalesce(sum(posting.amount_minor), 0)::bigint AS balance_minor
    FROM unnest(CAST(:customer_ids AS bigint[]), CAST(:currencies AS text[])) AS changed (customer_id, currency)
    JOIN billing.low_balance_mark mark USING (currency)
    LEFT JOIN billing.ledger_posting posting
           ON posting.customer_id = changed.customer_id AND posting.currency = changed.currency
    GROUP BY 1, 2, 3 ORDER BY 1, 2
""")
_REMEMBER = text("""
    INSERT INTO billing.low_balance_reminder (customer_id, currency, below_since)
    VALUES (:customer_id, :currency, :now) ON CONFLICT DO NOTHING RETURNING customer_id
""")
_FORGET = text("""
    DELETE FROM billing.low_balance_reminder WHERE customer_id = :customer_id AND currency = :currency
""")


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """When customers are told besides their plans' marks of use: so long before an end, below such balances."""

    lead_seconds: tuple[int, ...]
    low_balances: tuple[Money, ...]


def book_usage_notice(
    session: Session, key: str, username: str, details: Mapping[str, Any], at: datetime
) -> bool:
    """Make an event of a mark the meter has seen a grant pass."""
    customer_id = session.scalar(_CUSTOMER_OF, {"username": username})
    remaining = _remaining_in_words(details["remaining_octets"], details["remaining_seconds"])
    payload = {"username": username} | dict(details) | {"remaining": remaining}
    return emit(session, "notice.usage", key, payload, at, customer_id)


def remind_of_ends(session: Session, now: datetime) -> int:
    """Make events of ends that have come near; return how many. Nobody is told twice, whoever else does this just now."""
    due = select(ExpiryReminder).where(ExpiryReminder.reminded_until <= now - LOOKS_APART)
    reminders = session.scalars(
        due.order_by(ExpiryReminder.lead_seconds).with_for_update(skip_locked=True)
    ).all()
    count = 0
    nearer = timedelta()
    for reminder in reminders:
        count += _remind(session, reminder, nearer, now)
        nearer = timedelta(seconds=reminder.lead_seconds)
    return count


def remind_of_low_balances(session: Session, now: datetime) -> int:
    """Look at balances that changed; make events of those that fell below their mark. Return how many changes that were.

    Who was reminded is reminded again only after having been above the mark. Call again while it returns CHANGES_AT_ONCE.
    """
    changes = session.execute(_TAKE_CHANGES, {"limit": CHANGES_AT_ONCE}).all()
    if not changes:
        return 0
    changed = sorted({(change.customer_id, change.currency) for change in changes})
    customer_ids, currencies = zip(*changed, strict=True)
    values = {"customer_ids": list(customer_ids), "currencies": list(currencies)}
    session.execute(_HOLD_CUSTOMERS, values)
    for row in session.execute(_BALANCES, values):
        _note_balance(session, row, now)
    return len(changes)


def settings(session: Session) -> NoticeSettings:
    """Return what is set."""
    leads = session.scalars(select(ExpiryReminder.lead_seconds).order_by(ExpiryReminder.lead_seconds)).all()
    marks = session.scalars(select(LowBalanceMark).order_by(LowBalanceMark.currency))
    return NoticeSettings(tuple(leads), tuple(Money(mark.amount_minor, mark.currency) for mark in marks))


def set_leads(session: Session, lead_seconds: Sequence[int], now: datetime) -> None:
    """Remind so long before an end, from now on; of none where there is none. Raises InvalidValue."""
    for seconds in lead_seconds:
        if not 60 <= seconds <= MAX_SECONDS:
            raise InvalidValue("before-expiry", seconds, "it is a minute or longer")
    session.execute(delete(ExpiryReminder).where(ExpiryReminder.lead_seconds.not_in(list(lead_seconds))))
    for seconds in set(lead_seconds):
        new = insert(ExpiryReminder).values(lead_seconds=seconds, reminded_until=now)
        session.execute(new.on_conflict_do_nothing())


def set_low_balance(session: Session, mark: Money) -> None:
    """Remind who falls below this balance; zero takes the mark of its currency away. Raises InvalidValue."""
    if mark.minor < 0:
        raise InvalidValue("low-balance", str(mark), "it is zero or more")
    if mark.minor == 0:
        session.execute(delete(LowBalanceMark).where(LowBalanceMark.currency == mark.currency))
        return
    values = {"currency": mark.currency, "amount_minor": mark.minor}
    new = insert(LowBalanceMark).values(values)
    session.execute(new.on_conflict_do_update(index_elements=["currency"], set_=values))


def _remind(session: Session, reminder: ExpiryReminder, nearer: timedelta, now: datetime) -> int:
    window = {
        "reminded_until": reminder.reminded_until,
        "lead": timedelta(seconds=reminder.lead_seconds),
        "nearer_lead": nearer,
        "now": now,
    }
    ending = session.execute(_ENDING, window).all()
    for grant in ending:
        _tell_of_end(session, grant, reminder.lead_seconds, now)
    reminder.reminded_until = now
    return len(ending)


def _tell_of_end(session: Session, grant: Any, lead_seconds: int, now: datetime) -> None:
    payload = {
        "username": grant.username,
        "plan_name": grant.plan_name,
        "expires_at": grant.expires_at,
        "lead_seconds": lead_seconds,
        "remaining_octets": grant.remaining_octets,
        "remaining_seconds": grant.remaining_seconds,
        "remaining": _remaining_in_words(grant.remaining_octets, grant.remaining_seconds),
    }
    # A grant whose end is moved is told of again: it ends at another time.
    key = f"expiry:{grant.entitlement_id}:{lead_seconds}:{int(grant.expires_at.timestamp())}"
    emit(session, "notice.expiry", key, payload, now, grant.customer_id)


def _note_balance(session: Session, row: Any, now: datetime) -> None:
    whose = {"customer_id": row.customer_id, "currency": row.currency}
    if row.balance_minor >= row.mark_minor:
        session.execute(_FORGET, whose)
        return
    if session.execute(_REMEMBER, whose | {"now": now}).one_or_none() is None:
        return
    key = f"low_balance:{row.customer_id}:{row.currency}:{now.isoformat()}"
    payload = {
        "currency": row.currency,
        "balance_minor": row.balance_minor,
        "mark_minor": row.mark_minor,
    }
    emit(session, "notice.low_balance", key, payload, now, row.customer_id)


def _remaining_in_words(octets: int | None, seconds: int | None) -> str:
    parts = [] if octets is None else [approximate_octets(octets)]
    if seconds is not None:
        parts.append(format_seconds(seconds))
    return " and ".join(parts) or "unlimited"
