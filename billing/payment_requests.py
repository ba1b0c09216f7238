"""Payments we wait for: how much from whom, what for, and the reference that comes back with the money (rule R27)."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing import accounts, customers, plans
from billing.models import Account, Customer, Invoice, PaymentRequest
from herotill.errors import InvalidValue
from herotill.quantities import Money

REFERENCE_LENGTH = 10
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # no look-alikes: people type it into telephones


@dataclass(frozen=True, slots=True)
class Activation:
    """A plan to be sold to an account as soon as the money is there."""

    plan: str
    username: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a customer is to pay: for an invoice, for a plan to be activated, or to raise the balance.

    Without an amount it is the invoice's, or the plan's price.
    """

    customer: str
    requested_by: str
    amount: Money | None = None
    invoice_id: int | None = None
    activation: Activation | None = None
    valid_seconds: int = 86_400


def request(session: Session, *, wanted: Wanted, now: datetime) -> PaymentRequest:
    """Expect a payment and return it with its reference. Raises InvalidValue for what could never be paid."""
    customer = customers.get(session, wanted.customer)
    amount = wanted.amount or _amount_due(session, customer, wanted)
    if amount.minor <= 0:
        raise InvalidValue("amount", str(amount), "it is more than zero")
    if wanted.activation is not None:
        account_of(session, customer.customer_id, wanted.activation.username)
        plans.get(session, wanted.activation.plan)
    if wanted.invoice_id is not None:
        _invoice_of(session, customer, wanted.invoice_id)
    return session.get_one(PaymentRequest, _insert(session, customer, wanted, amount, now))


def account_of(session: Session, customer_id: int, username: str) -> Account:
    """Return the customer's account of this name. Raises InvalidValue, as for no account at all when it is another's."""
    account = accounts.get(session, username)
    if account.customer_id != customer_id:
        raise accounts.unknown(username)
    return account


def _amount_due(session: Session, customer: Customer, wanted: Wanted) -> Money:
    if wanted.invoice_id is not None:
        return _invoice_of(session, customer, wanted.invoice_id).amount
    if wanted.activation is not None:
        plan = plans.get(session, wanted.activation.plan)
        return Money(plan.price_minor, plan.currency)
    raise InvalidValue("amount", None, "say how much, an invoice or a plan")


def _invoice_of(session: Session, customer: Customer, invoice_id: int) -> Invoice:
    own = select(Invoice).join(Account, Account.account_id == Invoice.account_id)
    query = own.where(Invoice.invoice_id == invoice_id, Account.customer_id == customer.customer_id)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise InvalidValue("invoice", invoice_id, f"customer {customer.account_number} has no such invoice")
    if not found.is_open:
        raise InvalidValue("invoice", invoice_id, "it is paid or void; `herotill invoice list` shows them")
    return found


def _insert(session: Session, customer: Customer, wanted: Wanted, amount: Money, now: datetime) -> int:
    activation = wanted.activation
    values = {
        "customer_id": customer.customer_id,
        "amount_minor": amount.minor,
        "currency": amount.currency,
        "invoice_id": wanted.invoice_id,
        "plan_name": None if activation is None else activation.plan,
        "username": None if activation is None else activation.username,
        "requested_at": now,
        "requested_by": wanted.requested_by,
        "expires_at": now + timedelta(seconds=wanted.valid_seconds),
    }
    while True:
        reference = "".join(secrets.choice(_ALPHABET) for _ in range(REFERENCE_LENGTH))
        new = insert(PaymentRequest).values(values | {"reference": reference}).on_conflict_do_nothing()
        added: int | None = session.scalar(new.returning(PaymentRequest.payment_request_id))
        if added is not None:
            return added
