"""Payments: money that came in by hand, through a reseller or a gateway, once per key (rules R25, R27, R28).

What was paid raises the balance, then the oldest invoices are settled and what that allows is done. Money that matches
nobody is kept apart until an operator says whose it is (billing/unmatched_payments.py).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing import credit, customers, resellers, suspension
from billing.activation import try_to_activate
from billing.events import emit
from billing.gateways import Gateway, read_notice
from billing.ledger import CUSTOMER, RESELLER, UNMATCHED, Entry, Posting, post
from billing.models import Customer, Payment
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from billing.payment_matching import Match, match
from billing.payment_requests import Activation, account_of
from billing.resellers import Seller
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.signature import is_signed

MAX_KEY_CHARACTERS = 200


class Method(StrEnum):
    """How money came, when it came by hand; it lies in the ledger account of that name."""

    CASH = "cash"
    BANK = "bank"
    CARD = "card"
    CHEQUE = "cheque"
    MOBILE_MONEY = "mobile-money"


GATEWAY = "gateway"


class PaymentState(StrEnum):
    """Whose a payment is: a customer's, not known, given back, or not money after all."""

    RECEIVED = "received"
    UNMATCHED = "unmatched"
    REFUSED = "refused"
    REVERSED = "reversed"  # a cheque that bounced


@dataclass(frozen=True, slots=True)
class NewPayment:
    """Money taken by hand. `key` is the number of the receipt: it counts once, however often it is entered."""

    customer: str
    amount: Money
    key: str
    recorded_by: str
    method: Method = Method.CASH
    activation: Activation | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a payment; `repeated` when its key was recorded before and nothing happened now."""

    payment: Payment
    repeated: bool


@dataclass(frozen=True, slots=True)
class NotPaid:
    """A gateway told of something that is no money: pending, failed, cancelled. Nothing is recorded."""

    gateway_id: str
    status: str


@dataclass(frozen=True, slots=True)
class _Incoming:
    key: str
    method: str
    amount: Money
    reference: str
    recorded_by: str
    time_zone: str
    payer: str = ""
    gateway: str | None = None
    seller: Seller | None = None
    activation: Activation | None = None


def take(session: Session, *, payment: NewPayment, now: datetime, seller: Seller | None = None) -> Receipt:
    """Record a payment of a known customer. Raises InvalidValue for unknown names, Refused for a key used otherwise.

    A `seller` has the customer's money and pays from its own balance, for its own customers only.
    """
    _check(payment)
    customer = _customer(session, payment.customer, seller)
    if payment.activation is not None:
        account_of(session, customer.customer_id, payment.activation.username)
    origin = "manual:" if seller is None else f"reseller:{seller.reseller_id}:"
    incoming = _Incoming(
        key=origin + payment.key,
        method=str(payment.method) if seller is None else RESELLER,
        amount=payment.amount,
        reference=customer.account_number,
        recorded_by=payment.recorded_by if seller is None else seller.name,
        time_zone=payment.time_zone,
        seller=seller,
        activation=payment.activation,
    )
    return _enter(session, incoming, Match(customer.customer_id), now)


def receive(
    session: Session, gateway: Gateway, body: bytes, signature: str, now: datetime
) -> Receipt | NotPaid:
    """Record what a gateway says, once per its id. Raises Refused for a signature that is wrong or too old.

    Also Refused: an id that came before with another amount. InvalidValue: a body that cannot be understood.
    """
    tolerance_seconds = gateway.definition.tolerance_seconds
    if not is_signed(gateway.secret, body, signature, now, tolerance_seconds):
        raise Refused(
            f"gateway {gateway.name}: the signature is wrong, or older than {tolerance_seconds} s", "R27"
        )
    notice = read_notice(gateway.definition, body)
    if not notice.is_paid:
        return NotPaid(notice.gateway_id, notice.status)
    incoming = _Incoming(
        key=f"gateway:{gateway.name}:{notice.gateway_id}",
        method=GATEWAY,
        amount=notice.amount,
        reference=notice.reference,
        recorded_by=gateway.name,
        time_zone=gateway.time_zone,
        payer=notice.payer,
        gateway=gateway.name,
    )
    before = _find(session, incoming.key)
    if before is not None:
        return _repeated(before, incoming)
    return _enter(session, incoming, match(session, notice.reference, notice.amount, now), now)


def get(session: Session, payment_id: int, *, lock: bool = False) -> Payment:
    """Return a payment; `lock` holds it for this transaction. Raises InvalidValue."""
    query = select(Payment).where(Payment.payment_id == payment_id)
    if lock:
        query = query.with_for_update(of=Payment).execution_options(populate_existing=True)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise InvalidValue("payment", payment_id, "there is no such payment; `herotill pay list` shows them")
    return found


SORT_KEYS: SortKeys = {
    "received_at": Payment.received_at,
    "amount": Payment.amount_minor,
    "method": Payment.method,
    "state": Payment.state,
}


def listing(
    session: Session, *, customer: str = "", state: str = "", page: Page = FIRST_PAGE
) -> list[Payment]:
    """Return payments, newest first."""
    query = select(Payment)
    if customer:
        query = query.where(Payment.customer_id == customers.get(session, customer).customer_id)
    if state:
        query = query.where(Payment.state == state)
    return list(session.scalars(paged(query, page, SORT_KEYS, Payment.payment_id.desc())))


def after_payment(session: Session, payment: Payment, *, now: datetime, time_zone: str) -> None:
    """Do what a customer's money allows: settle the oldest invoices, end a suspension, activate the plan it was for."""
    if payment.customer_id is None:
        raise Refused(f"payment {payment.payment_id} is nobody's yet", "R27")
    suspension.settle(session, payment.customer_id, now)
    payload = {
        "payment": payment.payment_id,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "method": payment.method,
    }
    key = f"payment:{payment.payment_id}:received"
    emit(session, "payment.received", key, payload, now, payment.customer_id)
    if payment.plan_name is not None:
        try_to_activate(session, payment, now=now, time_zone=time_zone)


def _check(payment: NewPayment) -> None:
    if not 1 <= len(payment.key) <= MAX_KEY_CHARACTERS or not payment.key.isprintable():
        raise InvalidValue("key", payment.key, f"it is 1 to {MAX_KEY_CHARACTERS} printable characters")
    if payment.amount.minor <= 0:
        raise InvalidValue(
            "amount", str(payment.amount), "it is more than zero; `herotill ledger reverse` undoes"
        )


def _customer(session: Session, reference: str, seller: Seller | None) -> Customer:
    customer = customers.get(session, reference)
    if seller is not None and not resellers.serves(session, seller, customer):
        raise customers.unknown(reference)
    return customer


def _enter(session: Session, incoming: _Incoming, found: Match, now: datetime) -> Receipt:
    payment_id = _insert(session, incoming, found, now)
    if payment_id is None:
        before = _find(session, incoming.key)
        if before is None:
            raise Refused(f"key {incoming.key} is being recorded by somebody else; try again", "R27")
        return _repeated(before, incoming)
    payment = get(session, payment_id)
    if found.customer_id is not None:
        credit.lock(session, found.customer_id)
    _post(session, payment, incoming, now)
    if found.customer_id is not None:
        after_payment(session, payment, now=now, time_zone=incoming.time_zone)
    else:
        payload = {"payment": payment_id, "reason": payment.unmatched_reason, "gateway": payment.gateway}
        emit(session, "payment.unmatched", f"payment:{payment_id}:unmatched", payload, now)
    return Receipt(payment, repeated=False)


def _insert(session: Session, incoming: _Incoming, found: Match, now: datetime) -> int | None:
    request = found.request
    activation = incoming.activation
    if request is not None and request.plan_name is not None and request.username is not None:
        activation = Activation(request.plan_name, request.username)
    state = PaymentState.UNMATCHED if found.customer_id is None else PaymentState.RECEIVED
    new = insert(Payment).values(
        payment_key=incoming.key,
        method=incoming.method,
        gateway=incoming.gateway,
        reseller_id=None if incoming.seller is None else incoming.seller.reseller_id,
        amount_minor=incoming.amount.minor,
        currency=incoming.amount.currency,
        reference=incoming.reference,
        payer=incoming.payer,
        state=str(state),
        unmatched_reason=found.unmatched_reason,
        customer_id=found.customer_id,
        payment_request_id=None if request is None else request.payment_request_id,
        received_at=now,
        recorded_by=incoming.recorded_by,
        plan_name=None if activation is None else activation.plan,
        username=None if activation is None else activation.username,
    )
    conflict = new.on_conflict_do_nothing(index_elements=["payment_key"])
    return session.scalar(conflict.returning(Payment.payment_id))


def _post(session: Session, payment: Payment, incoming: _Incoming, now: datetime) -> None:
    amount, seller = incoming.amount, incoming.seller
    if seller is not None:
        _check_reseller(session, seller, amount)
    reseller_id = None if seller is None else seller.reseller_id
    owner = CUSTOMER if payment.customer_id is not None else UNMATCHED
    sides = [
        Posting(payment.method, -amount.minor, amount.currency, reseller_id=reseller_id),
        Posting(owner, amount.minor, amount.currency, customer_id=payment.customer_id),
    ]
    what = f"payment {payment.payment_id} by {payment.gateway or payment.method}"
    post(session, Entry(f"payment:{payment.payment_id}", what, now, incoming.recorded_by), sides)


def _check_reseller(session: Session, seller: Seller, amount: Money) -> None:
    resellers.get(session, seller.name, lock=True)
    held = resellers.balance(session, seller.reseller_id, amount.currency)
    if held.minor < amount.minor:
        raise Refused(f"the balance of {seller.name} is {held}, the payment is {amount}", "R25")


def _find(session: Session, key: str) -> Payment | None:
    return session.scalars(select(Payment).where(Payment.payment_key == key)).one_or_none()


def _repeated(before: Payment, incoming: _Incoming) -> Receipt:
    if (before.amount, before.reference) != (incoming.amount, incoming.reference):
        was = f"{before.amount} for {before.reference}"
        raise Refused(f"{incoming.key} recorded {was} before; another payment has another key", "R27")
    return Receipt(before, repeated=True)
