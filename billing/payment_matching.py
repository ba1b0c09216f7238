"""Whose a payment is, by what the payer wrote, and whether it is what was expected (rule R27)."""

import re
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import customers
from billing.models import Account, Invoice, Payment, PaymentRequest
from herotill.errors import InvalidValue
from herotill.quantities import Money

INVOICE_REFERENCE = re.compile(r"INV-?([0-9]{1,15})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Match:
    """The customer a payment is of, and the request it answers; or why nobody can tell."""

    customer_id: int | None = None
    request: PaymentRequest | None = None
    unmatched_reason: str | None = None


def match(session: Session, reference: str, amount: Money, now: datetime) -> Match:
    """Find whose a payment is: by the reference of a request, an invoice, or by what a customer is known by.

    Where a certain amount was expected, another amount or currency does not match.
    """
    request = _request(session, reference)
    if request is not None:
        return _match_request(session, request, amount, now)
    number = INVOICE_REFERENCE.fullmatch(reference)
    if number is not None:
        return _match_invoice(session, int(number[1]), amount)
    try:
        return Match(customers.get(session, reference).customer_id)
    except InvalidValue as error:
        return Match(unmatched_reason=f"reference {reference!r}: {error.allowed.split(';')[0]}")


def _request(session: Session, reference: str) -> PaymentRequest | None:
    # Held, so that of two payments for one request the second sees the first.
    query = select(PaymentRequest).where(PaymentRequest.reference == reference.upper())
    return session.scalars(query.with_for_update(key_share=True)).one_or_none()


def _match_request(session: Session, request: PaymentRequest, amount: Money, now: datetime) -> Match:
    paid = select(Payment.payment_id).where(Payment.payment_request_id == request.payment_request_id)
    before = session.scalar(paid)
    reason = _difference(f"request {request.reference}", request.amount, amount)
    if before is not None:
        reason = f"request {request.reference} was paid before, by payment {before}"
    elif reason is None and request.expires_at <= now:
        reason = f"request {request.reference} expired on {request.expires_at:%Y-%m-%d %H:%M} UTC"
    return Match(request.customer_id, request) if reason is None else Match(unmatched_reason=reason)


def _match_invoice(session: Session, invoice_id: int, amount: Money) -> Match:
    owner = select(Invoice, Account.customer_id).join(Account, Account.account_id == Invoice.account_id)
    row = session.execute(owner.where(Invoice.invoice_id == invoice_id)).one_or_none()
    name = f"invoice {invoice_id}"
    if row is None or row.customer_id is None:
        return Match(unmatched_reason=f"there is no {name} of a customer")
    invoice = row[0]
    if not invoice.is_open:
        return Match(unmatched_reason=f"{name} is {'void' if invoice.paid_at is None else 'paid already'}")
    reason = _difference(name, invoice.amount, amount)
    return Match(row.customer_id) if reason is None else Match(unmatched_reason=reason)


def _difference(what: str, expected: Money, amount: Money) -> str | None:
    return None if expected == amount else f"{what} expects {expected}, {amount} came"
