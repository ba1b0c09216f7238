"""Corrections: a ledger transaction that was wrong is reversed, with everything that follows from it (rule R25)."""

from datetime import datetime

from sqlalchemy.orm import Session

from billing import invoices, ledger, suspension
from billing.events import emit
from billing.ledger import Entry, Kind
from billing.models import LedgerTransaction
from herotill.errors import InvalidValue, Refused


def reverse(
    session: Session, *, transaction_id: int, reason: str, now: datetime, reversed_by: str
) -> LedgerTransaction:
    """Undo a transaction by its opposite, once, and return that. What was granted for it stays.

    Balances may fall below zero by it: a cheque that bounced is a debt. Bills that a payment paid stay paid. Raises Refused
    for a bill, which is voided instead, for a reversal, and for what was reversed before.
    """
    if not reason.strip() or not reason.isprintable():
        raise InvalidValue("reason", reason, "it says in one line why")
    wrong = ledger.get(session, transaction_id)
    if ledger.kind_of(wrong.external_key) is Kind.INVOICE:
        number = wrong.external_key.split(":")[1]
        raise Refused(f"that is bill {number}; `herotill invoice void {number}` takes it back", "R25")
    customers = {side.customer_id for side in ledger.postings_of(session, wrong)} - {None}
    held = sorted(customer_id for customer_id in customers if customer_id is not None)
    invoices.lock_customers(session, held)
    what = f"reversal of {transaction_id}: {reason}"
    undone = ledger.reverse(session, transaction_id=transaction_id, reason=Entry("", what, now, reversed_by))
    suspension.settle_all(session, held, now)
    payload = {"transaction": transaction_id, "reversal": undone.transaction_id, "reason": reason}
    emit(session, "ledger.reversed", f"reversal:{transaction_id}", payload, now)
    return undone
