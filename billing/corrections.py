"""Corrections: a ledger transaction that was wrong is reversed, with everything that follows from it (rule R25)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from billing import invoices, ledger, payment_reversals, suspension
from billing.events import emit
from billing.ledger import Entry, Kind
from billing.models import LedgerPosting
from billing.reopening import Reopened, reopen
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money


@dataclass(frozen=True, slots=True)
class Reversal:
    """The transaction that undoes another, and the bills whose money it took away."""

    transaction_id: int
    reopened: tuple[Reopened, ...]


def reverse(
    session: Session, *, transaction_id: int, reason: str, now: datetime, reversed_by: str
) -> Reversal:
    """Undo a transaction by its opposite, once. Bills that it had paid are open again; what was sold for it stays.

    Balances may fall below zero by it: a cheque that bounced is a debt. Raises Refused for a bill, which is voided instead,
    for a reversal, and for what was reversed before.
    """
    if not reason.strip() or not reason.isprintable():
        raise InvalidValue("reason", reason, "it says in one line why")
    wrong = ledger.get(session, transaction_id)
    if ledger.kind_of(wrong.external_key) is Kind.INVOICE:
        number = wrong.external_key.split(":")[1]
        raise Refused(f"that is bill {number}; `herotill invoice void {number}` takes it back", "R25")
    sides = ledger.postings_of(session, wrong)
    held = sorted({side.customer_id for side in sides if side.customer_id is not None})
    invoices.lock_customers(session, held)
    what = f"reversal of {transaction_id}: {reason}"
    undone = ledger.reverse(session, transaction_id=transaction_id, reason=Entry("", what, now, reversed_by))
    payment_reversals.note(session, wrong)
    reopened = _reopen(session, sides, wrong.occurred_at, now)
    suspension.settle_all(session, held, now)
    payload = {"transaction": transaction_id, "reversal": undone.transaction_id, "reason": reason}
    emit(session, "ledger.reversed", f"reversal:{transaction_id}", payload, now)
    return Reversal(undone.transaction_id, tuple(reopened))


def _reopen(
    session: Session, sides: Sequence[LedgerPosting], since: datetime, now: datetime
) -> list[Reopened]:
    """Open the bills of those who lose money by the reversal of these sides."""
    return [
        bill
        for side in sides
        if side.customer_id is not None and side.amount_minor > 0
        for bill in reopen(
            session, side.customer_id, Money(side.amount_minor, side.currency), since=since, now=now
        )
    ]
