"""R27: payments by hand and by gateway: signed, once, compared with what was expected, at most one activation."""

import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from billing import (
    accounts,
    activation,
    corrections,
    customers,
    invoices,
    ledger,
    payments,
    sales,
    suspension,
    unmatched_payments,
)
from billing.charging import PaidBy
from billing.payment_requests import Activation, Wanted, request
from billing.payments import NotPaid, Receipt
from billing.unmatched_payments import Resolution
from herotill.errors import InvalidValue, Refused
from herotill.signature import sign
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.money import (
    GATEWAY,
    PRICE,
    SECRET,
    enter_customer,
    enter_plan,
    kes,
    notice,
    order,
    paid,
)

CLEARED = Resolution("the payer telephoned", "desk")


def deliver(session: Session, body: bytes, now: datetime) -> Receipt:
    outcome = payments.receive(session, GATEWAY, body, sign(SECRET, body, now), now)
    assert isinstance(outcome, Receipt)
    return outcome


@pytest.fixture
def ann(books: OpenBooks, now: datetime) -> str:
    """Ann's account number."""
    with books() as session:
        enter_plan(session, now)
        return enter_customer(session, "ann", now).account_number


def balance(books: OpenBooks, username: str = "ann") -> int:
    with books() as session:
        return ledger.balance(session, customers.get(session, username).customer_id, "KES").minor


def test_r27_a_payment_by_hand_raises_the_balance_once(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    for repeated in (False, True):
        with books() as session:
            receipt = payments.take(session, payment=paid(700, "R-1"), now=now)
            assert (receipt.payment.state, receipt.repeated) == ("received", repeated)
    assert balance(books) == 700
    assert ask("SELECT kind, payload FROM billing.event WHERE kind LIKE 'payment.%'") == [
        {
            "kind": "payment.received",
            "payload": {"payment": 1, "amount_minor": 700, "currency": "KES", "method": "cash"},
        }
    ]


def test_r27_a_key_cannot_record_another_payment(books: OpenBooks, ann: str, now: datetime) -> None:
    with books() as session:
        payments.take(session, payment=paid(700, "R-1"), now=now)
    with pytest.raises(Refused, match=r"recorded 7\.00 KES"), books() as session:
        payments.take(session, payment=paid(800, "R-1"), now=now)


@pytest.mark.parametrize(("amount", "key"), [(0, "k"), (-5, "k"), (5, ""), (5, "x" * 201), (5, "a\nb")])
def test_r27_a_payment_that_cannot_be_is_refused(
    books: OpenBooks, ask: Ask, ann: str, now: datetime, amount: int, key: str
) -> None:
    with pytest.raises(InvalidValue), books() as session:
        payments.take(session, payment=paid(amount, key), now=now)
    assert ask("SELECT 1 FROM billing.payment") == []


def test_r27_a_gateways_payment_finds_its_customer_and_replays_are_harmless(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    body = notice("QK1", "7.50", ann, MSISDN="+254712345678")
    for repeated in (False, True):
        with books() as session:
            assert deliver(session, body, now).repeated is repeated
    assert balance(books) == 750
    sides = ask("SELECT ledger_account, amount_minor FROM billing.ledger_posting ORDER BY posting_id")
    assert [tuple(side.values()) for side in sides] == [("gateway", -750), ("customer", 750)]


def test_r27_eight_deliveries_at_once_count_once(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    outcomes: list[bool] = []
    together = threading.Barrier(8)

    def arrive() -> None:
        together.wait()
        with books() as session:
            outcomes.append(deliver(session, notice("QK1", "25", "ann"), now).repeated)

    threads = [threading.Thread(target=arrive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] + [True] * 7
    assert balance(books) == 2500


@pytest.mark.parametrize("age_seconds", [-301, 301])
def test_r27_an_old_or_early_signature_is_refused(
    books: OpenBooks, ask: Ask, ann: str, now: datetime, age_seconds: int
) -> None:
    body = notice("QK1", "25", ann)
    signature = sign(SECRET, body, now - timedelta(seconds=age_seconds))
    with pytest.raises(Refused, match="signature is wrong, or older"), books() as session:
        payments.receive(session, GATEWAY, body, signature, now)
    assert ask("SELECT 1 FROM billing.payment") == []


def test_r27_a_forged_body_or_secret_is_refused(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    body = notice("QK1", "25", ann)
    forgeries = [
        (notice("QK1", "2500", ann), sign(SECRET, body, now)),
        (body, sign(b"guessed", body, now)),
        (body, ""),
    ]
    for forged, signature in forgeries:
        with pytest.raises(Refused), books() as session:
            payments.receive(session, GATEWAY, forged, signature, now)
    assert ask("SELECT 1 FROM billing.payment") == []


def test_r27_what_is_not_paid_yet_is_no_payment(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    body = notice("QK1", "25", ann, Result="1032")
    with books() as session:
        outcome = payments.receive(session, GATEWAY, body, sign(SECRET, body, now), now)
    assert outcome == NotPaid("QK1", "1032")
    assert ask("SELECT 1 FROM billing.payment") == []


def test_r27_an_id_that_comes_again_with_another_amount_is_refused(
    books: OpenBooks, ann: str, now: datetime
) -> None:
    with books() as session:
        deliver(session, notice("QK1", "25", ann), now)
    with pytest.raises(Refused, match=r"recorded 25\.00 KES"), books() as session:
        deliver(session, notice("QK1", "26", ann), now)
    assert balance(books) == 2500


def test_r27_money_of_nobody_is_kept_apart_until_an_operator_assigns_it(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    with books() as session:
        payment = deliver(session, notice("QK1", "25", "an"), now).payment
        assert (payment.state, payment.customer_id) == ("unmatched", None)
        assert payment.unmatched_reason == (
            "reference 'an': nobody has this account number, user name, phone, e-mail or MAC"
        )
        assert unmatched_payments.queue(session) == [payment]
    assert balance(books) == 0
    with books() as session:
        unmatched_payments.assign(session, payment_id=1, customer=ann, resolution=CLEARED, now=now)
        assert unmatched_payments.queue(session) == []
    assert balance(books) == 2500
    assert ask(
        "SELECT sum(amount_minor) AS kept FROM billing.ledger_posting WHERE ledger_account = 'unmatched'"
    ) == [{"kept": 0}]
    for again in (unmatched_payments.refuse, unmatched_payments.assign):
        whose = {"customer": ann} if again is unmatched_payments.assign else {}
        with pytest.raises(Refused, match="only unmatched ones"), books() as session:
            again(session, payment_id=1, resolution=CLEARED, now=now, **whose)


def test_r27_money_of_nobody_can_be_given_back(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    with books() as session:
        deliver(session, notice("QK1", "25", "nobody"), now)
    with books() as session:
        unmatched_payments.refuse(session, payment_id=1, resolution=CLEARED, now=now)
    assert ask("SELECT state, resolution, resolved_by FROM billing.payment") == [
        {"state": "refused", "resolution": CLEARED.reason, "resolved_by": "desk"}
    ]
    rest = "SELECT DISTINCT sum(amount_minor) AS rest FROM billing.ledger_posting GROUP BY ledger_account"
    assert ask(rest) == [{"rest": 0}]


def test_r27_a_deleted_customers_payment_waits_in_the_queue(
    books: OpenBooks, ann: str, now: datetime
) -> None:
    with books() as session:
        customers.remove(session, reference="ann", now=now)
    with books() as session:
        assert deliver(session, notice("QK1", "25", ann), now).payment.state == "unmatched"


@pytest.mark.parametrize(
    ("came", "reason"),
    [
        (("24.99", "KES"), "expects 25.00 KES, 24.99 KES came"),
        (("25.01", "KES"), "expects 25.00 KES, 25.01 KES came"),
        (("25.00", "UGX"), "expects 25.00 KES, 25 UGX came"),
        (("25", "USD"), "expects 25.00 KES, 25.00 USD came"),
    ],
)
def test_r27_another_amount_or_currency_than_expected_activates_nothing(
    books: OpenBooks, ask: Ask, ann: str, now: datetime, came: tuple[str, str], reason: str
) -> None:
    with books() as session:
        expected = request(
            session, wanted=Wanted("ann", "portal", activation=Activation("p", "ann")), now=now
        )
        reference = expected.reference
    body = notice("QK1", came[0], reference, Currency=came[1])
    with books() as session:
        payment = deliver(session, body, now).payment
        assert (payment.state, payment.purchase_id) == ("unmatched", None)
        assert reason in (payment.unmatched_reason or "")
    assert ask("SELECT 1 FROM billing.purchase") == []


def test_r27_a_request_that_is_paid_activates_its_plan_once(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    with books() as session:
        expected = request(
            session, wanted=Wanted("ann", "portal", activation=Activation("p", "ann")), now=now
        )
        reference = expected.reference
    for _ in range(2):
        with books() as session:
            payment = deliver(session, notice("QK1", "25", reference.lower()), now).payment
            assert payment.purchase_id is not None
    with books() as session:
        second = deliver(session, notice("QK2", "25", reference), now).payment
        assert second.unmatched_reason == f"request {reference} was paid before, by payment 1"
    assert balance(books) == 0
    assert len(ask("SELECT 1 FROM billing.purchase")) == len(ask("SELECT 1 FROM radius.entitlement")) == 1
    with pytest.raises(Refused, match="at most once"), books() as session:
        activation.retry(session, payments.get(session, 1, lock=True), None, now=now, time_zone="UTC")


def test_r27_a_request_that_expired_is_not_paid_by_itself(books: OpenBooks, ann: str, now: datetime) -> None:
    with books() as session:
        reference = request(
            session, wanted=Wanted("ann", "portal", kes(900), valid_seconds=60), now=now
        ).reference
    with books() as session:
        late = deliver(session, notice("QK1", "9", reference), now + timedelta(seconds=60)).payment
        assert "expired on" in (late.unmatched_reason or "")


def test_r27_money_stays_when_what_it_was_for_is_refused_and_can_be_activated_later(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    with books() as session:
        receipt = payments.take(
            session, payment=paid(PRICE - 1, "R-1", activation=Activation("p", "ann")), now=now
        )
        assert receipt.payment.activation_refused is not None
        assert "balance is 24.99 KES, p costs 25.00 KES" in receipt.payment.activation_refused
    assert balance(books) == PRICE - 1
    assert ask("SELECT 1 FROM billing.purchase") == []
    assert len(ask("SELECT 1 FROM billing.event WHERE kind = 'payment.activation_refused'")) == 1
    with books() as session:
        payments.take(session, payment=paid(1, "R-2"), now=now)
        activation.retry(session, payments.get(session, 1, lock=True), None, now=now, time_zone="UTC")
    assert balance(books) == 0
    (first,) = ask("SELECT purchase_id, activation_refused FROM billing.payment WHERE payment_id = 1")
    assert ask("SELECT purchase_id FROM billing.purchase") == [{"purchase_id": first["purchase_id"]}]
    assert first["activation_refused"] is None


def test_r27_a_payment_activates_no_account_of_somebody_else(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    with books() as session:
        enter_customer(session, "bob", now)
    with pytest.raises(InvalidValue, match="no such account"), books() as session:
        payments.take(session, payment=paid(PRICE, "R-1", activation=Activation("p", "bob")), now=now)
    assert ask("SELECT 1 FROM billing.payment") == []


def test_r27_an_invoice_is_paid_by_its_number_and_in_full(books: OpenBooks, ann: str, now: datetime) -> None:
    with books() as session:
        login = accounts.Login("ann-home", "secret-1", AccountKind.MONTHLY)
        accounts.add(session, login=login, customer=customers.get(session, ann), now=now)
        bill = invoices.bill(
            session, username="ann-home", amount=kes(900), due_at=now, now=now, billed_by="desk"
        )
        number = bill.invoice_id
    with books() as session:
        part = deliver(session, notice("QK1", "8", f"INV-{number}"), now).payment
        assert part.unmatched_reason == f"invoice {number} expects 9.00 KES, 8.00 KES came"
        assert deliver(session, notice("QK2", "9", f"inv-{number}"), now).payment.state == "received"
        late = deliver(session, notice("QK4", "9", f"INV-{number}"), now).payment
        assert late.unmatched_reason == f"invoice {number} is paid already"
        late = deliver(session, notice("QK4", "9", f"INV-{number}"), now).payment
        assert late.unmatched_reason == f"invoice {number} is paid already"
        stranger = deliver(session, notice("QK3", "9", "INV-4711"), now).payment
        assert stranger.unmatched_reason == "there is no invoice 4711 of a customer"
    assert balance(books) == 0


def _unpaid(session: Session, now: datetime, *amounts: int) -> None:
    """Ann's monthly account ann-home, with bills that are due now."""
    login = accounts.Login("ann-home", "secret-1", AccountKind.MONTHLY)
    accounts.add(session, login=login, customer=customers.get(session, "ann"), now=now)
    for amount in amounts:
        invoices.bill(session, username="ann-home", amount=kes(amount), due_at=now, now=now, billed_by="desk")


def test_r27_a_payment_pays_the_oldest_bill_ends_the_suspension_and_then_activates(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    status = "SELECT status FROM billing.account WHERE username = 'ann-home'"
    with books() as session:
        _unpaid(session, now, 900, 800)
        suspension.suspend(session, username="ann-home", reason="unpaid-bill", now=now)
    with books() as session:
        payments.take(session, payment=paid(1000, "R-1"), now=now)
    bills = "SELECT paid_at FROM billing.invoice ORDER BY invoice_id"
    assert ask(bills) == [{"paid_at": now}, {"paid_at": None}]
    assert ask(status) == [{"status": "suspended"}]
    with books() as session:
        wanted = paid(700 + PRICE, "R-2", activation=Activation("p", "ann"))
        assert payments.take(session, payment=wanted, now=now).payment.purchase_id is not None
    assert ask(status) == [{"status": "active"}]
    assert balance(books) == 0


def test_r25_a_bill_is_voided_not_reversed(books: OpenBooks, ann: str, now: datetime) -> None:
    with books() as session:
        _unpaid(session, now, 900)
    with pytest.raises(Refused, match="herotill invoice void 1"), books() as session:
        corrections.reverse(session, transaction_id=1, reason="wrong", now=now, reversed_by="desk")


def test_r25_a_bounced_cheque_is_a_debt_again(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    with books() as session:
        payments.take(session, payment=paid(PRICE, "R-1", method=payments.Method.CHEQUE), now=now)
        sales.sell(session, order=order("a", paid_by=PaidBy.BALANCE), now=now)
    with books() as session:
        corrections.reverse(session, transaction_id=1, reason="it bounced", now=now, reversed_by="desk")
    assert balance(books) == -PRICE
    left = "SELECT sum(amount_minor) AS left FROM billing.ledger_posting WHERE ledger_account = 'cheque'"
    assert ask(left) == [{"left": 0}]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"TransID": "1"}', b'{"TransID": true}', b"\xff", b"[" * 60_000]
)
def test_r27_what_cannot_be_understood_writes_nothing(
    books: OpenBooks, ask: Ask, ann: str, now: datetime, body: bytes
) -> None:
    with pytest.raises(InvalidValue), books() as session:
        deliver(session, body, now)
    assert ask("SELECT 1 FROM billing.payment") == []


def test_r25_a_key_of_our_own_making_cannot_be_used_for_a_sale(
    books: OpenBooks, ann: str, now: datetime
) -> None:
    for key in ("payment:1", "voucher:1", "reseller:1:x"):
        with pytest.raises(InvalidValue, match="made by us"), books() as session:
            sales.sell(session, order=order(key, paid_by=PaidBy.CASH), now=now)
