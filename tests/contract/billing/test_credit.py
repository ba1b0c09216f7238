"""R26: kopa on the real ledger: what is lent, since when it is owed, and that debts are paid first."""

from datetime import datetime, timedelta

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from billing import credit, customers, ledger, payments, sales, voucher_batches, vouchers
from billing.charging import PaidBy
from billing.ledger import Entry
from billing.models import LedgerTransaction
from billing.new_batches import NewBatch, SellWhen
from billing.vouchers import Buyer, Wanted
from herotill.errors import Refused
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.money import DAY, enter_customer, enter_plan, kes, lend, order, paid


@pytest.fixture
def kopa(books: OpenBooks, now: datetime) -> OpenBooks:
    """Ann may owe 40.00 KES for a week; a plan costs 25.00."""
    with books() as session:
        enter_plan(session, now)
        lend(session, enter_customer(session, "ann", now), now)
    return books


def test_r26_credit_buys_at_once_and_the_next_payment_settles_it(
    kopa: OpenBooks, ask: Ask, now: datetime
) -> None:
    with kopa() as session:
        ann = customers.get(session, "ann").customer_id
        sales.sell(session, order=order("a"), now=now)
        owing = credit.standing(session, ann, "KES")
        assert (owing.owed, owing.credit_left, owing.owed_since) == (kes(2500), kes(1500), now)
        payments.take(session, payment=paid(3000, "R-1"), now=now)
        free = credit.standing(session, ann, "KES")
        assert (free.balance, free.owed_since) == (kes(500), None)
    assert len(ask("SELECT 1 FROM radius.entitlement")) == 1


def test_r26_over_the_limit_is_refused_with_the_figures(kopa: OpenBooks, ask: Ask, now: datetime) -> None:
    with kopa() as session:
        sales.sell(session, order=order("a"), now=now)
    said = r"balance is -25\.00 KES, p costs 25\.00 KES, and the credit limit is 40\.00 KES"
    with pytest.raises(Refused, match=said) as caught, kopa() as session:
        sales.sell(session, order=order("b"), now=now)
    assert caught.value.rule == "R26"
    assert len(ask("SELECT 1 FROM billing.purchase")) == 1


def test_r26_overdue_is_refused_until_the_debt_is_paid(kopa: OpenBooks, now: datetime) -> None:
    week = now + timedelta(days=7)
    with kopa() as session:
        sales.sell(session, order=order("a"), now=now)
    with pytest.raises(Refused, match=r"25\.00 KES are owed since .* and overdue"), kopa() as session:
        sales.sell(session, order=order("b"), now=week)
    with kopa() as session:
        sales.sell(session, order=order("c", paid_by=PaidBy.CASH), now=week)
        owing = credit.standing(session, 1, "KES")
        # The cash settled the old debt; what it bought is the new one.
        assert (owing.owed, owing.owed_since) == (kes(2500), week)


def test_r26_cash_that_does_not_settle_an_overdue_debt_buys_nothing(
    kopa: OpenBooks, ask: Ask, now: datetime
) -> None:
    with kopa() as session:
        bill = Entry("purchase:old", "something dear", now, "desk")
        ledger.post_sale(session, bill, kes(3000), customers.get(session, "ann").customer_id)
    with pytest.raises(Refused, match="the debt is paid first"), kopa() as session:
        sales.sell(session, order=order("a", paid_by=PaidBy.CASH), now=now + timedelta(days=7))
    assert ask("SELECT 1 FROM billing.purchase") == []
    with kopa() as session:
        payments.take(session, payment=paid(500, "R-1"), now=now + timedelta(days=7))
        sales.sell(session, order=order("a", paid_by=PaidBy.CASH), now=now + timedelta(days=7))


def test_r25_r26_a_voucher_lowers_the_balance_and_its_expiry_changes_nothing(
    kopa: OpenBooks, ask: Ask, now: datetime
) -> None:
    with kopa() as session:
        wanted = NewBatch("p", 3, SellWhen.LATER, "desk")
        batch = voucher_batches.generate(session, wanted=wanted, now=now)
        made = vouchers.listing(session, Wanted(batch_id=batch.batch_id))
        codes = [each.code or "" for each in made]
        ann = customers.get(session, "ann").customer_id
        buyer = Buyer(ann, PaidBy.CREDIT)
        vouchers.sell(session, code=codes[0], now=now, sold_by="desk", buyer=buyer)
        assert ledger.balance(session, ann, "KES") == kes(-2500)
    with pytest.raises(Refused, match=r"credit limit is 40\.00 KES"), kopa() as session:
        vouchers.sell(session, code=codes[1], now=now, sold_by="desk", buyer=buyer)
    assert ask("SELECT state FROM billing.voucher ORDER BY voucher_id") == [
        {"state": state} for state in ("sold", "generated", "generated")
    ]
    before = ask("SELECT * FROM billing.ledger_posting")
    ask("UPDATE billing.voucher SET state = 'expired', changed_reason = 'expiry'")
    assert ask("SELECT * FROM billing.ledger_posting") == before


def test_r26_without_a_line_nothing_is_lent(books: OpenBooks, now: datetime) -> None:
    with books() as session:
        enter_plan(session, now)
        enter_customer(session, "ann", now)
    with pytest.raises(Refused, match="there is no credit in KES"), books() as session:
        sales.sell(session, order=order("a"), now=now)


def test_r26_a_line_in_another_currency_lends_nothing(kopa: OpenBooks, now: datetime) -> None:
    with kopa() as session:
        assert credit.standing(session, 1, "USD").line is None


def test_r26_a_line_that_is_withdrawn_leaves_the_debt(kopa: OpenBooks, now: datetime) -> None:
    with kopa() as session:
        sales.sell(session, order=order("a"), now=now)
        credit.withdraw(session, customer=customers.get(session, "ann"))
        owing = credit.standing(session, 1, "KES")
        assert (owing.line, owing.owed, owing.credit_left) == (None, kes(2500), kes(0))


def test_r26_what_was_reversed_is_not_owed(kopa: OpenBooks, now: datetime) -> None:
    later = now + timedelta(days=1)
    with kopa() as session:
        ledger.post_sale(session, Entry("purchase:x", "wrong", now, "desk"), kes(1000), 1)
        sales.sell(session, order=order("a"), now=later)
        wrong = next(line for line in session.scalars(sqlalchemy.select(LedgerTransaction)))
        reason = Entry("", "typed twice", later, "desk")
        ledger.reverse(session, transaction_id=wrong.transaction_id, reason=reason)
        assert credit.standing(session, 1, "KES").owed_since == later


def oldest_unsettled(amounts: list[int]) -> int | None:
    """Settle debits by what was received, oldest first; return the first that is not settled in full."""
    received = sum(amount for amount in amounts if amount > 0)
    for index, amount in enumerate(amounts):
        if amount < 0 and received < -amount:
            return index
        received += min(amount, 0)
    return None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(st.integers(-50, 50).filter(bool), max_size=10))
def test_r26_the_oldest_debt_is_found_as_by_settling_one_after_the_other(
    engine: sqlalchemy.Engine, now: datetime, amounts: list[int]
) -> None:
    with Session(engine) as session:  # rolled back
        ann = enter_customer(session, "ann", now).customer_id
        for index, amount in enumerate(amounts):
            entry = Entry(f"x:{index}", "", now + timedelta(seconds=index * DAY), "x")
            if amount > 0:
                ledger.post_payment(session, entry, kes(amount), ann)
            else:
                ledger.post_sale(session, entry, kes(-amount), ann)
        oldest = oldest_unsettled(amounts)
        expected = None if oldest is None else now + timedelta(seconds=oldest * DAY)
        assert credit.standing(session, ann, "KES").owed_since == expected
