"""What a payment was for: the plan it names is sold once, after debts are settled. The money stays in any case (R27)."""

from datetime import datetime

from sqlalchemy.orm import Session

from billing import sales
from billing.charging import PaidBy
from billing.events import emit
from billing.models import Payment
from billing.payment_requests import Activation, account_of
from billing.sales import Order, Sale
from herotill.errors import InvalidValue, Refused

REVERSED = "reversed"


def activate(session: Session, payment: Payment, *, now: datetime, time_zone: str) -> Sale:
    """Sell the plan the payment names, from the customer's balance and credit. Raises Refused, InvalidValue.

    However often it is called: one payment sells at most one plan.
    """
    if payment.customer_id is None or payment.plan_name is None or payment.username is None:
        raise Refused(f"payment {payment.payment_id} names no plan of a customer", "R27")
    if payment.state == REVERSED:
        raise Refused(f"payment {payment.payment_id} was reversed; it buys nothing", "R27")
    account_of(session, payment.customer_id, payment.username)
    order = Order(
        plan=payment.plan_name,
        username=payment.username,
        key=f"payment:{payment.payment_id}",
        sold_by=payment.recorded_by,
        paid_by=PaidBy.CREDIT,
        time_zone=time_zone,
    )
    sale = sales.sell_once(session, order=order, now=now)
    payment.purchase_id, payment.activation_refused = sale.purchase_id, None
    session.flush()
    return sale


def try_to_activate(session: Session, payment: Payment, *, now: datetime, time_zone: str) -> None:
    """Activate, or write down why the rules refuse: the payment itself stands."""
    try:
        with session.begin_nested():
            activate(session, payment, now=now, time_zone=time_zone)
    except (Refused, InvalidValue) as error:
        payment.activation_refused = str(error)
        session.flush()
        payload = {"payment": payment.payment_id, "plan": payment.plan_name, "reason": str(error)}
        key = f"payment:{payment.payment_id}:activation-refused"
        emit(session, "payment.activation_refused", key, payload, now, payment.customer_id)


def retry(
    session: Session, payment: Payment, wanted: Activation | None, *, now: datetime, time_zone: str
) -> Sale:
    """Activate what was refused before, or another plan instead. Raises Refused when the payment has activated one."""
    if payment.purchase_id is not None:
        name = f"payment {payment.payment_id}"
        raise Refused(f"{name} has activated {payment.plan_name}; a payment activates at most once", "R27")
    if wanted is not None:
        payment.plan_name, payment.username = wanted.plan, wanted.username
    return activate(session, payment, now=now, time_zone=time_zone)
