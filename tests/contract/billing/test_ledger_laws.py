"""R25: whatever happens, the ledger sums to zero and says of each customer what was paid less what was bought."""

from datetime import datetime

import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from billing import accounts, customers, ledger, plans, sales
from billing.charging import PaidBy
from billing.customers import Person
from billing.ledger import Entry
from billing.sales import Order
from billing.terms import PlanTerms
from herotill.errors import Refused
from herotill.quantities import Money
from tests.contract.billing.conftest import Ask, OpenBooks

KEYS = st.integers(1, 4)
PAYMENTS = st.tuples(st.just("pay"), KEYS, st.integers(1, 9000), st.just(PaidBy.CASH))
SALES = st.tuples(st.just("sell"), KEYS, st.just(0), st.sampled_from(PaidBy))
PRICE = 2500


def _open(session: Session, now: datetime) -> int:
    plans.add(session, name="p", terms=PlanTerms(price=Money(PRICE, "KES")), now=now)
    owner = customers.add(session, person=Person("Owner"), now=now)
    accounts.add(session, login=accounts.Login("owner", "secret-1"), customer=owner, now=now)
    customers.verify(session, reference="owner", now=now)
    return owner.customer_id


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.one_of(PAYMENTS, SALES), max_size=12))
def test_r25_the_ledger_sums_to_zero_after_any_history(
    engine: sqlalchemy.Engine, now: datetime, history: list[tuple[str, int, int, PaidBy]]
) -> None:
    with Session(engine) as session:  # rolled back: every history begins with empty books
        owner, expected, seen = _open(session, now), 0, set[tuple[str, int]]()
        for action, key, amount, paid_by in history:
            before = ledger.balance(session, owner, "KES").minor
            assert before == expected
            if action == "pay":
                ledger.post_payment(session, Entry(f"pay:{key}", "", now, "x"), Money(amount, "KES"), owner)
                expected += 0 if (action, key) in seen else amount
            else:
                order = Order("p", "owner", f"key-{key}", "x", paid_by)
                fresh = (action, key) not in seen
                try:
                    with session.begin_nested():
                        sales.sell(session, order=order, now=now)
                except Refused:
                    refused_rightly = fresh and paid_by is PaidBy.BALANCE and before < PRICE
                    assert refused_rightly
                    continue
                expected -= PRICE if fresh and paid_by is PaidBy.BALANCE else 0
            seen.add((action, key))
        total = session.scalar(
            sqlalchemy.text("SELECT coalesce(sum(amount_minor), 0) FROM billing.ledger_posting")
        )
        assert total == 0
        session.execute(sqlalchemy.text("SET CONSTRAINTS ALL IMMEDIATE"))
        assert ledger.balance(session, owner, "KES").minor == expected


def test_r25_an_entry_is_recorded_once_by_its_key(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        owner = _open(session, now)
        entry = Entry("gateway:77", "paid", now, "gateway")
        assert ledger.post_payment(session, entry, Money(100, "KES"), owner)
        assert not ledger.post_payment(session, entry, Money(100, "KES"), owner)
    assert len(ask("SELECT 1 FROM billing.ledger_posting")) == 2
