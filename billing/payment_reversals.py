"""What becomes of a payment when its ledger entry is reversed (rules R25, R27): a bounced cheque, money of somebody else.

A payment that was assigned has two entries; they are taken back in the opposite order.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import payments
from billing.models import LedgerTransaction, Payment
from billing.payments import PaymentState
from herotill.errors import Refused


def note(session: Session, wrong: LedgerTransaction) -> None:
    """Give the payment of this entry the state it has without it. Raises Refused for an entry on which another rests."""
    payment_id, step = _parts(wrong.external_key)
    if payment_id is None:
        return
    payment = payments.get(session, payment_id, lock=True)
    if step == "received":
        _check_last(session, payment)
        payment.state = str(PaymentState.REVERSED)
    else:
        payment.state, payment.customer = str(PaymentState.UNMATCHED), None
        payment.resolution = payment.resolved_at = payment.resolved_by = None
    session.flush()


def _parts(external_key: str) -> tuple[int | None, str]:
    """Read whose entry it is: of a payment that was received, assigned or given back, or of no payment."""
    match external_key.split(":"):
        case ["payment", number] if number.isdigit():
            return int(number), "received"
        case ["payment", "assigned", number, *_] | ["refund", number, *_] if number.isdigit():
            return int(number), "resolved"
    return None, ""


def _check_last(session: Session, payment: Payment) -> None:
    if payment.resolved_at is None:
        return
    keys = [f"payment:assigned:{payment.payment_id}", f"refund:{payment.payment_id}"]
    query = select(LedgerTransaction.transaction_id, LedgerTransaction.external_key)
    rests = [LedgerTransaction.external_key.like(f"{key}%") for key in keys]
    newest = query.where(rests[0] | rests[1]).order_by(LedgerTransaction.transaction_id.desc()).limit(1)
    found = session.execute(newest).first()
    if found is not None:
        what = "assigned" if found.external_key.startswith("payment") else "given back"
        name = f"payment {payment.payment_id}"
        raise Refused(f"{name} was {what} by transaction {found.transaction_id}; reverse that first", "R25")
