"""R24, R25, R27: money that was taken back pays nothing: the bills it had paid are open again, and what follows follows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from billing import activation, corrections, customers, ledger, payments, unmatched_payments
from billing.corrections import Reversal
from billing.ledger import Entry
from billing.payments import NewPayment
from billing.unmatched_payments import Resolution
from herotill.errors import Refused
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.money import enter_customer, kes, notice
from tests.contract.billing.monthly import PRICE, add_account, add_plan, run
from tests.contract.billing.test_payments import deliver

NOW = datetime(2026, 11, 10, 5, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CLEARED = Resolution("the payer telephoned", "desk")


@pytest.fixture
def office(books: OpenBooks) -> int:
    """A monthly customer with the bill of the present cycle."""
    add_plan(books, NOW)
    owner = add_account(books, NOW, "office", plan="home")
    run(books, NOW)
    return owner


def take(books: OpenBooks, minor: int, now: datetime, key: str) -> int:
    """Take a cheque; returns its ledger transaction."""
    with books() as session:
        payment = NewPayment("office", kes(minor), key, "desk", payments.Method.CHEQUE)
        receipt = payments.take(session, payment=payment, now=now)
        return transaction_of(session, f"payment:{receipt.payment.payment_id}")


def transaction_of(session: Session, key: str) -> int:
    found = [each for each in range(1, 100) if _key_of(session, each) == key]
    return found[0]


def _key_of(session: Session, number: int) -> str:
    try:
        return ledger.get(session, number).external_key
    except ValueError:
        return ""


def bounce(books: OpenBooks, transaction_id: int, now: datetime) -> Reversal:
    with books() as session:
        return corrections.reverse(
            session, transaction_id=transaction_id, reason="it bounced", now=now, reversed_by="desk"
        )


def open_bills(ask: Ask) -> Sequence[int]:
    rows = ask("SELECT invoice_id FROM billing.invoice WHERE paid_at IS NULL ORDER BY 1")
    return [row["invoice_id"] for row in rows]


def status(ask: Ask) -> dict[str, Any]:
    (row,) = ask("SELECT status, suspended_reason FROM billing.account WHERE username = 'office'")
    return row


def test_r24_r25_a_cheque_that_bounces_opens_its_bill_and_the_ordinary_run_suspends(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    cheque = take(books, PRICE, NOW + DAY, "R-1")
    assert (open_bills(ask), run(books, NOW + 9 * DAY).counts["suspended"]) == ([], 0)

    undone = bounce(books, cheque, NOW + 10 * DAY)

    assert [(bill.invoice_id, bill.username) for bill in undone.reopened] == [(1, "office")]
    assert (open_bills(ask), status(ask)["status"]) == ([1], "active")
    assert ask("SELECT state FROM billing.payment") == [{"state": "reversed"}]
    assert ask("SELECT sum(amount_minor) AS left FROM billing.ledger_posting") == [{"left": 0}]
    assert run(books, NOW + 10 * DAY).counts["suspended"] == 1
    assert status(ask) == {"status": "suspended", "suspended_reason": "unpaid-bill"}

    take(books, PRICE, NOW + 11 * DAY, "R-2")

    assert (open_bills(ask), status(ask)["status"]) == ([], "active")
    kinds = "SELECT kind, count(*) AS n FROM billing.event WHERE kind ~ '^invoice' GROUP BY 1 ORDER BY 1"
    assert {row["kind"]: row["n"] for row in ask(kinds)} == {
        "invoice.issued": 1,
        "invoice.paid": 2,
        "invoice.reopened": 1,
    }


def test_r25_before_the_payment_date_nothing_ends(books: OpenBooks, ask: Ask, office: int) -> None:
    bounce(books, take(books, PRICE, NOW + DAY, "R-1"), NOW + 2 * DAY)
    assert run(books, NOW + 3 * DAY).counts["suspended"] == 0
    assert ask("SELECT expires_at > :now AS lives FROM radius.entitlement", now=NOW + 3 * DAY) == [
        {"lives": True}
    ]


def test_r25_other_money_still_pays_the_oldest_bill(books: OpenBooks, ask: Ask, office: int) -> None:
    first = take(books, PRICE, NOW + DAY, "R-1")
    take(books, PRICE, NOW + 2 * DAY, "R-2")
    run(books, NOW + 31 * DAY)
    assert open_bills(ask) == []
    bounce(books, first, NOW + 32 * DAY)
    assert open_bills(ask) == [2]


def test_r25_a_bill_that_was_paid_before_the_money_came_stays_paid(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    take(books, PRICE, NOW + DAY, "R-1")
    second = take(books, PRICE, NOW + 2 * DAY, "R-2")
    owe(books, office, PRICE, NOW + 3 * DAY)
    assert bounce(books, second, NOW + 4 * DAY).reopened == ()
    assert open_bills(ask) == []


def test_r26_a_debt_by_buying_opens_no_more_than_was_taken_back(
    books: OpenBooks, ask: Ask, office: int
) -> None:
    part = take(books, 1000, NOW + DAY, "R-1")
    take(books, 2 * PRICE - 1000, NOW + DAY, "R-2")
    run(books, NOW + 31 * DAY)
    owe(books, office, 5 * PRICE, NOW + 31 * DAY)
    assert open_bills(ask) == []
    assert [bill.invoice_id for bill in bounce(books, part, NOW + 32 * DAY).reopened] == [2]


def owe(books: OpenBooks, customer_id: int, minor: int, now: datetime) -> None:
    with books() as session:
        ledger.post_sale(session, Entry("purchase:x", "on credit", now, "desk"), kes(minor), customer_id)


def test_r25_a_sale_that_is_reversed_opens_nothing(books: OpenBooks, ask: Ask, office: int) -> None:
    take(books, PRICE, NOW + DAY, "R-1")
    owe(books, office, 500, NOW + DAY)
    with books() as session:
        sale = transaction_of(session, "purchase:x")
    assert bounce(books, sale, NOW + 2 * DAY).reopened == ()


def test_r27_a_reversed_payment_activates_nothing(books: OpenBooks, office: int) -> None:
    bounce(books, take(books, PRICE, NOW, "R-1"), NOW)
    with books() as session:
        payment = payments.get(session, 1)
        payment.plan_name, payment.username = "home", "office"
        with pytest.raises(Refused, match="was reversed"):
            activation.activate(session, payment, now=NOW, time_zone="UTC")


def test_r27_money_given_to_the_wrong_customer_goes_back_to_the_queue(books: OpenBooks, ask: Ask) -> None:
    with books() as session:
        enter_customer(session, "ann", NOW)
        enter_customer(session, "bob", NOW)
        deliver(session, notice("QK1", "25", "nobody"), NOW)
        unmatched_payments.assign(session, payment_id=1, customer="ann", resolution=CLEARED, now=NOW)
    with pytest.raises(Refused, match="assigned by transaction 2; reverse that first"):
        bounce(books, 1, NOW)
    bounce(books, 2, NOW + DAY)
    with books() as session:
        assert [each.payment_id for each in unmatched_payments.queue(session)] == [1]
        unmatched_payments.assign(session, payment_id=1, customer="bob", resolution=CLEARED, now=NOW + DAY)
        balances = {
            name: ledger.balance(session, customers.get(session, name).customer_id, "KES").minor
            for name in ("ann", "bob")
        }
    assert balances == {"ann": 0, "bob": 2500}
