"""What packet time did, entered in the books: a first use sells its ticket, once (rules R8, R17)."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import usage_bills
from billing.holding import hold_accounts, hold_vouchers
from billing.notices import book_usage_notice
from billing.vouchers import Sold, get_batch, sell_all

BATCH_SIZE = 500
_VOUCHER_KEY = re.compile(r"(?:voucher|free):([0-9]+)")

# SKIP LOCKED: several daemons may book at once, each takes its own.
_TAKE_EVENTS = text("""
    SELECT event.access_event_id, event.event_key, event.kind, event.username, event.occurred_at, event.details,
           entitlement.external_key
    FROM radius.access_event event LEFT JOIN radius.entitlement entitlement USING (entitlement_id)
    WHERE event.booked_at IS NULL
    ORDER BY event.access_event_id LIMIT :batch_size
    FOR UPDATE OF event SKIP LOCKED
""")
_MARK_BOOKED = text("UPDATE radius.access_event SET booked_at = :now WHERE access_event_id = ANY(:event_ids)")
_BATCH_OF = text("SELECT batch_id FROM billing.voucher WHERE voucher_id = :voucher_id")
_MARK_IN_USE = text("""
    UPDATE billing.voucher SET state = 'in_use', changed_at = :at, changed_by = 'radius', changed_reason = 'first use'
    WHERE voucher_id = :voucher_id AND state = 'sold'
""")
# A free account is never sold.
_MARK_FREE_IN_USE = text("""
    UPDATE billing.voucher SET state = 'in_use', changed_at = :at, changed_by = 'radius', changed_reason = 'first use'
    WHERE voucher_id = :voucher_id AND state IN ('generated', 'printed')
""")
# One whose first use is not booked yet waits, so that a ticket is sold before it is used up.
_TAKE_ENDED = text("""
    SELECT entitlement_id, external_key, username FROM radius.ended_grant waiting
    WHERE NOT EXISTS (SELECT FROM radius.access_event
                      WHERE event_key = 'first_use:' || waiting.entitlement_id AND booked_at IS NULL)
    ORDER BY entitlement_id LIMIT :batch_size FOR UPDATE SKIP LOCKED
""")
# The number in an entitlement's key is the voucher's; the grant's end is the voucher's. A voided grant was voided with
# its voucher.
_SETTLE_ENDED = text("""
    WITH ended AS (
        DELETE FROM radius.ended_grant WHERE entitlement_id = ANY(:entitlement_ids)
        RETURNING entitlement_id, username, external_key, ended_at, ended_reason,
                  CASE WHEN external_key ~ '^(voucher|free):[0-9]+' THEN split_part(external_key, ':', 2)::bigint END
                  AS voucher_id),
    retiring AS (
        UPDATE billing.account SET retires_at = CASE
            WHEN coalesce(given.grant_policy ->> CASE ended.ended_reason WHEN 'expiry' THEN 'at_expiry' ELSE 'at_quota' END,
                          'reject') = 'reject' THEN ended.ended_at + :grace
            WHEN ended.ended_reason <> 'expiry' THEN expires_at + :grace END
        FROM ended JOIN (SELECT entitlement_id, policy AS grant_policy, expires_at FROM radius.entitlement) AS given
             USING (entitlement_id)
        WHERE account.username = ended.username AND account.status = 'active' AND account.kind = 'hotspot'
          AND NOT EXISTS (SELECT FROM radius.login_limit WHERE login_limit.username = ended.username)),
    last_bill AS (
        UPDATE billing.usage_account SET next_bill_at = LEAST(next_bill_at, ended.ended_at)
        FROM ended WHERE usage_account.voucher_id = ended.voucher_id AND next_bill_at IS NOT NULL),
    used_up_turn AS (
        UPDATE radius.login_limit SET paused_until = ended.ended_at + make_interval(secs => pause_seconds)
        FROM ended WHERE ended.external_key = 'free:' || login_limit.voucher_id || ':' || turn
          AND login_limit.voucher_id = ended.voucher_id AND paused_until IS NULL)
    UPDATE billing.voucher
    SET state = CASE ended_reason WHEN 'expiry' THEN 'expired' ELSE 'used_up' END,
        changed_at = ended_at, changed_by = 'radius', changed_reason = ended_reason
    FROM ended
    WHERE voucher.voucher_id = ended.voucher_id AND ended.external_key LIKE 'voucher:%'
      AND (state IN ('sold', 'in_use') OR (state IN ('generated', 'printed') AND ended_reason = 'expiry'))
    RETURNING voucher.voucher_id
""")
# A hotspot account is gone when it is used up (rule R1), but so long its user hears why, and may still refill it.
GRACE = timedelta(days=1)
MAX_SETTLED = 10_000


def book_access_events(session: Session, now: datetime) -> int:
    """Book what packet time did since the last call and return how many events; nothing is booked twice.

    A first use sells a ticket that was to be sold so and puts it in use. An allocation costs nothing: it is only marked.
    A mark of use that a grant has passed becomes an event (rule R21).
    Call again while it returns BATCH_SIZE.
    """
    events = session.execute(_TAKE_EVENTS, {"batch_size": BATCH_SIZE}).all()
    hold_vouchers(session, _vouchers_of(event.external_key or "" for event in events))
    for event in events:
        if event.kind == "first_use":
            _book_first_use(session, event.external_key or "", event.occurred_at)
        elif event.kind == "usage_notice":
            book_usage_notice(session, event.event_key, event.username, event.details, event.occurred_at)
    if events:
        taken = [event.access_event_id for event in events]
        session.execute(_MARK_BOOKED, {"event_ids": taken, "now": now})
    return len(events)


def settle_ended_vouchers(session: Session) -> int:
    """Give vouchers whose grant has ended their last state: used up or expired. Return how many.

    What else hangs on that end is set going: the last bill of a usage-based account, the pause of a free one, and the
    farewell of a hotspot account.
    """
    ended = session.execute(_TAKE_ENDED, {"batch_size": MAX_SETTLED}).all()
    if not ended:
        return 0
    hold_vouchers(session, _vouchers_of(row.external_key for row in ended))
    hold_accounts(session, {row.username for row in ended})
    those = {"entitlement_ids": [row.entitlement_id for row in ended], "grace": GRACE}
    return len(session.execute(_SETTLE_ENDED, those).all())


def _vouchers_of(external_keys: Iterable[str]) -> list[int]:
    found = (_VOUCHER_KEY.match(key) for key in external_keys)
    return sorted({int(match[1]) for match in found if match is not None})


def _book_first_use(session: Session, external_key: str, at: datetime) -> None:
    source, *rest = external_key.split(":")
    if source == "free":
        session.execute(_MARK_FREE_IN_USE, {"voucher_id": int(rest[0]), "at": at})
    if source != "voucher":
        return
    voucher_id = int(rest[0])
    batch_id = session.execute(_BATCH_OF, {"voucher_id": voucher_id}).scalar_one()
    sell_all(session, get_batch(session, batch_id), [voucher_id], Sold(at, "radius", "sold on first use"))
    session.execute(_MARK_IN_USE, {"voucher_id": voucher_id, "at": at})
    usage_bills.begin(session, voucher_id, at)
