"""Payments that matched nobody: an operator says whose they are, or that the money was given back (rule R27)."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import credit, customers, payments
from billing.events import emit
from billing.ledger import CUSTOMER, UNMATCHED, Entry, Posting, post
from billing.models import Payment
from billing.payments import PaymentState
from herotill.errors import InvalidValue, Refused


@dataclass(frozen=True, slots=True)
class Resolution:
    """Who decided, and why."""

    reason: str
    resolved_by: str


def queue(session: Session, *, limit: int = 100) -> list[Payment]:
    """Return what waits for an operator, oldest first."""
    query = select(Payment).where(Payment.state == str(PaymentState.UNMATCHED))
    return list(session.scalars(query.order_by(Payment.payment_id).limit(limit)))


def assign(
    session: Session,
    *,
    payment_id: int,
    customer: str,
    resolution: Resolution,
    now: datetime,
    time_zone: str = "UTC",
) -> Payment:
    """Give the money to the customer whose it is. Raises Refused when somebody resolved it before."""
    owner = customers.get(session, customer)
    payment = _unresolved(session, payment_id)
    payment.customer = owner
    _resolve(payment, PaymentState.RECEIVED, resolution, now)
    session.flush()
    credit.lock(session, owner.customer_id)
    sides = [
        Posting(UNMATCHED, -payment.amount_minor, payment.currency),
        Posting(CUSTOMER, payment.amount_minor, payment.currency, owner.customer_id),
    ]
    what = f"payment {payment_id} by {payment.gateway or payment.method}, assigned: {resolution.reason}"
    post(
        session, Entry(_once(f"payment:assigned:{payment_id}", now), what, now, resolution.resolved_by), sides
    )
    payments.after_payment(session, payment, now=now, time_zone=time_zone)
    return payment


def refuse(session: Session, *, payment_id: int, resolution: Resolution, now: datetime) -> Payment:
    """Note that the money was given back the way it came. Raises Refused when somebody resolved it before."""
    payment = _unresolved(session, payment_id)
    _resolve(payment, PaymentState.REFUSED, resolution, now)
    session.flush()
    sides = [
        Posting(UNMATCHED, -payment.amount_minor, payment.currency),
        Posting(payment.method, payment.amount_minor, payment.currency),
    ]
    what = f"payment {payment_id} given back: {resolution.reason}"
    post(session, Entry(_once(f"refund:{payment_id}", now), what, now, resolution.resolved_by), sides)
    payload = {"payment": payment_id, "reason": resolution.reason, "gateway": payment.gateway}
    emit(session, "payment.refused", f"payment:{payment_id}:refused", payload, now)
    return payment


def _once(key: str, now: datetime) -> str:
    """Return the key of this resolution: one that was reversed may be made again. The state lets it be made once."""
    return f"{key}:{now.isoformat()}"


def _unresolved(session: Session, payment_id: int) -> Payment:
    payment = payments.get(session, payment_id, lock=True)
    if payment.state != PaymentState.UNMATCHED:
        raise Refused(f"payment {payment_id} is {payment.state}; only unmatched ones are resolved", "R27")
    return payment


def _resolve(payment: Payment, state: PaymentState, resolution: Resolution, now: datetime) -> None:
    if not resolution.reason.strip() or not resolution.reason.isprintable():
        raise InvalidValue("reason", resolution.reason, "it says in one line why")
    payment.state, payment.resolution = str(state), resolution.reason
    payment.resolved_at, payment.resolved_by = now, resolution.resolved_by
