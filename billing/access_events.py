"""What packet time did, entered in the books: a first use sells its ticket, once (rules R8, R17)."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.vouchers import Sold, get_batch, sell_all

BATCH_SIZE = 500

# SKIP LOCKED: several daemons may book at once, each takes its own.
_TAKE_EVENTS = text("""
    SELECT event.access_event_id, event.kind, event.occurred_at, entitlement.external_key
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
# The code of an entitlement's key; the grant's end is the voucher's. A voided grant was voided with its voucher.
_SETTLE_ENDED = text("""
    UPDATE billing.voucher
    SET state = CASE ended_reason WHEN 'expiry' THEN 'expired' ELSE 'used_up' END,
        changed_at = ended_at, changed_by = 'radius', changed_reason = ended_reason
    FROM radius.entitlement
    WHERE external_key = 'voucher:' || voucher_id AND ended_reason IN ('quota', 'time', 'expiry')
      AND (state IN ('sold', 'in_use') OR (state IN ('generated', 'printed') AND ended_reason = 'expiry'))
    RETURNING voucher_id
""")


def book_access_events(session: Session, now: datetime) -> int:
    """Book what packet time did since the last call and return how many events; nothing is booked twice.

    A first use sells a ticket that was to be sold so and puts it in use. An allocation costs nothing: it is only marked.
    Call again while it returns BATCH_SIZE.
    """
    events = session.execute(_TAKE_EVENTS, {"batch_size": BATCH_SIZE}).all()
    for event in events:
        if event.kind == "first_use":
            _book_first_use(session, event.external_key or "", event.occurred_at)
    if events:
        taken = [event.access_event_id for event in events]
        session.execute(_MARK_BOOKED, {"event_ids": taken, "now": now})
    return len(events)


def settle_ended_vouchers(session: Session) -> int:
    """Give vouchers whose grant has ended their last state: used up or expired. Return how many."""
    return len(session.execute(_SETTLE_ENDED).all())


def _book_first_use(session: Session, external_key: str, at: datetime) -> None:
    source, _, number = external_key.partition(":")
    if source != "voucher":
        return
    voucher_id = int(number)
    batch_id = session.execute(_BATCH_OF, {"voucher_id": voucher_id}).scalar_one()
    sell_all(session, get_batch(session, batch_id), [voucher_id], Sold(at, "radius", "sold on first use"))
    session.execute(_MARK_IN_USE, {"voucher_id": voucher_id, "at": at})
