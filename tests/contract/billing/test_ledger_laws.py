"""R25 to R28 as laws: whatever happens, the ledger sums to zero and says of everybody what the story says."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from billing import accounts, corrections, ledger, payments, resellers, sales, unmatched_payments
from billing.charging import PaidBy
from billing.ledger import UNMATCHED, Entry
from billing.models import Customer, LedgerPosting
from billing.payments import Receipt
from billing.resellers import Seller
from billing.unmatched_payments import Resolution
from herotill.errors import Refused
from herotill.signature import sign
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.money import (
    GATEWAY,
    PRICE,
    SECRET,
    enter_customer,
    enter_plan,
    enter_reseller,
    kes,
    lend,
    notice,
    order,
    paid,
)

LIMIT = 4000
COST_TO_RESELLER = PRICE - PRICE // 10
DECIDED = Resolution("law", "test")


class Story:
    """Does to the books what a history says, and keeps beside them what each balance must be."""

    def __init__(self, session: Session, now: datetime) -> None:
        self.session, self.now = session, now
        enter_plan(session, now)
        enter_reseller(session, "kiosk", now, groups_of=("north",), held=6000)
        self.ids = {name: enter_customer(session, name, now, "north").customer_id for name in ("ann", "bob")}
        lend(session, session.get_one(Customer, self.ids["ann"]), now, limit=LIMIT, days=3650)
        self.seller: Seller = resellers.sign_in(session, "kiosk")
        self.expected = Counter({"kiosk": 6000})
        self.done: set[Any] = set()
        self.unmatched: list[tuple[int, int]] = []

    @contextmanager
    def refusable(self, allowed: bool) -> Iterator[None]:
        """A step that must be refused when it is not allowed, and then leaves nothing."""
        try:
            with self.session.begin_nested():
                yield
        except Refused:
            assert not allowed
        else:
            assert allowed

    def pay(self, name: str, key: int, amount: int) -> None:
        known = (("pay", key) in self.done, ("pay", key, name, amount) in self.done)
        with self.refusable(known in ((False, False), (True, True))):
            receipt = payments.take(self.session, payment=paid(amount, str(key), name), now=self.now)
            assert receipt.repeated is known[0]
        if not known[0]:
            self.expected[name] += amount
            self.done |= {("pay", key), ("pay", key, name, amount)}

    def receive(self, name: str, key: int, amount: int) -> None:
        known = (("gateway", key) in self.done, ("gateway", key, name, amount) in self.done)
        body = notice(f"G{key}", f"{amount / 100:.2f}", name)
        with self.refusable(known in ((False, False), (True, True))):
            outcome = payments.receive(self.session, GATEWAY, body, sign(SECRET, body, self.now), self.now)
            assert isinstance(outcome, Receipt)
            if not known[0] and name in self.ids:
                self.expected[name] += amount
            elif not known[0]:
                self.expected[UNMATCHED] += amount
                self.unmatched.append((outcome.payment.payment_id, amount))
        self.done |= set() if known[0] else {("gateway", key), ("gateway", key, name, amount)}

    def resolve(self, name: str, key: int, amount: int) -> None:
        if not self.unmatched:
            return
        payment_id, held = self.unmatched.pop(key % len(self.unmatched))
        self.expected[UNMATCHED] -= held
        if name in self.ids:
            unmatched_payments.assign(
                self.session, payment_id=payment_id, customer=name, resolution=DECIDED, now=self.now
            )
            self.expected[name] += held
        else:
            unmatched_payments.refuse(self.session, payment_id=payment_id, resolution=DECIDED, now=self.now)

    def sell(self, name: str, key: int, amount: int) -> None:
        if name not in self.ids:
            return
        paid_by = list(PaidBy)[amount % 3]
        left = self.expected[name] - PRICE
        limit = LIMIT if name == "ann" else 0
        affordable = {PaidBy.CASH: True, PaidBy.BALANCE: left >= 0, PaidBy.CREDIT: left >= -limit}[paid_by]
        if name == "ann" and paid_by is PaidBy.CASH:
            affordable = self.expected[name] >= -LIMIT  # a bounced payment may have brought it below
        known = (("sell", key) in self.done, ("sell", key, name) in self.done)
        with self.refusable(known[1] or (affordable and not known[0])):
            sale = sales.sell(self.session, order=order(f"k{key}", name, paid_by), now=self.now)
            assert sale.repeated is known[0]
            self.expected[name] -= 0 if known[0] or paid_by is PaidBy.CASH else PRICE
            self.done |= {("sell", key), ("sell", key, name)}

    def resell(self, name: str, key: int, amount: int) -> None:
        if name not in self.ids:
            return
        known = (("resell", key) in self.done, ("resell", key, name) in self.done)
        affordable = self.expected["kiosk"] >= COST_TO_RESELLER
        with self.refusable(known[1] or (affordable and not known[0])):
            wanted = order(f"k{key}", name, PaidBy.CASH)
            sale = sales.sell(self.session, order=wanted, now=self.now, seller=self.seller)
            assert sale.repeated is known[0]
            self.expected["kiosk"] -= 0 if known[0] else COST_TO_RESELLER
            self.done |= {("resell", key), ("resell", key, name)}

    def float(self, name: str, key: int, amount: int) -> None:
        entry = Entry(f"payment:reseller:1:{key}", "", self.now, "test")
        is_new = resellers.pay_in(self.session, name="kiosk", amount=kes(amount), entry=entry, into="bank")
        assert is_new is (("float", key) not in self.done)
        self.expected["kiosk"] += amount if is_new else 0
        self.done.add(("float", key))

    def reverse(self, name: str, key: int, amount: int) -> None:
        """Undo the newest payment by hand of this key, once."""
        entry = self.session.execute(
            sqlalchemy.text("""
                SELECT transaction_id, customer_id, payment.amount_minor FROM billing.payment
                JOIN billing.ledger_transaction ON external_key = 'payment:' || payment_id
                WHERE payment_key = :key
            """),
            {"key": f"manual:{key}"},
        ).one_or_none()
        if entry is None:
            return
        with self.refusable(("reverse", key) not in self.done):
            corrections.reverse(
                self.session,
                transaction_id=entry.transaction_id,
                reason="law",
                now=self.now,
                reversed_by="test",
            )
            whose = next(each for each, number in self.ids.items() if number == entry.customer_id)
            self.expected[whose] -= entry.amount_minor
        self.done.add(("reverse", key))

    def check(self) -> None:
        """The books say what the story says, and sum to zero."""
        for name, customer_id in self.ids.items():
            assert ledger.balance(self.session, customer_id, "KES").minor == self.expected[name]
        held = resellers.balance(self.session, self.seller.reseller_id, "KES").minor
        assert held == self.expected["kiosk"]
        assert held >= 0
        sums = sqlalchemy.select(
            sqlalchemy.func.sum(LedgerPosting.amount_minor),
            sqlalchemy.func.sum(LedgerPosting.amount_minor).filter(LedgerPosting.ledger_account == UNMATCHED),
        )
        total, apart = self.session.execute(sums).one()
        assert (total, apart or 0) == (0, self.expected[UNMATCHED])


STEPS = st.tuples(
    st.sampled_from(["pay", "receive", "resolve", "sell", "resell", "float", "reverse"]),
    st.sampled_from(["ann", "bob", "nobody"]),
    st.integers(1, 3),
    st.integers(1, 6000),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(STEPS, max_size=14))
def test_r25_r26_r27_r28_the_ledger_sums_to_zero_and_balances_are_those_of_the_story(
    engine: sqlalchemy.Engine, now: datetime, history: list[tuple[str, str, int, int]]
) -> None:
    with Session(engine) as session:  # rolled back: every history begins with empty books
        story = Story(session, now)
        for step, name, key, amount in history:
            if step != "pay" or name in story.ids:
                getattr(story, step)(name, key, amount)
            story.check()
        session.execute(sqlalchemy.text("SET CONSTRAINTS ALL IMMEDIATE"))


def test_r25_an_entry_is_recorded_once_by_its_key(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        owner = enter_customer(session, "ann", now).customer_id
        entry = Entry("gateway:77", "paid", now, "gateway")
        assert ledger.post_payment(session, entry, kes(100), owner)
        assert not ledger.post_payment(session, entry, kes(100), owner)
    assert len(ask("SELECT 1 FROM billing.ledger_posting")) == 2


def test_r26_r28_eight_connections_at_once_bring_no_balance_below_its_limit(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    with books() as session:
        enter_plan(session, now)
        enter_reseller(session, "kiosk", now, groups_of=("north",), held=3 * COST_TO_RESELLER + 100)
        ann = enter_customer(session, "ann", now, "north")
        bob = enter_customer(session, "bob", now, "north")
        for owner in (ann, bob):  # another account: it is the customer's row that sales must take turns at
            login = accounts.Login(f"{owner.name}-2", "secret-1")
            accounts.add(session, login=login, customer=owner, now=now)
        lend(session, ann, now, limit=LIMIT)
        payments.take(session, payment=paid(PRICE + 10, "0"), now=now)
        payments.take(session, payment=paid(PRICE + 10, "00", "bob"), now=now)

    def act(number: int) -> None:
        chance = random.Random(number)
        for _ in range(12):
            key, name = chance.randrange(12), chance.choice(["ann", "ann-2", "bob", "bob-2"])
            with suppress(Refused), books() as session:
                match chance.randrange(4):
                    case 0:
                        seller = resellers.sign_in(session, "kiosk")
                        wanted = order(f"k{key}", name, PaidBy.CASH)
                        sales.sell(session, order=wanted, now=now, seller=seller)
                    case 1:
                        seller = resellers.sign_in(session, "kiosk")
                        payments.take(session, payment=paid(7, f"{name}{key}", name), now=now, seller=seller)
                    case 2:
                        sales.sell(session, order=order(f"{name}{key}", name, PaidBy.BALANCE), now=now)
                    case _:
                        sales.sell(session, order=order(f"{name}{key}", name, PaidBy.CREDIT), now=now)

    assert _at_once(act) == 8
    lowest = ask("""
        SELECT coalesce(name, reseller_name) AS whose, min(after) AS lowest FROM (
            SELECT customer.name, reseller.name AS reseller_name,
                   sum(amount_minor) OVER (PARTITION BY ledger_account, customer_id, reseller_id
                                           ORDER BY posting_id) AS after
            FROM billing.ledger_posting LEFT JOIN billing.customer USING (customer_id)
            LEFT JOIN billing.reseller USING (reseller_id)
            WHERE ledger_account IN ('customer', 'reseller')) AS step
        GROUP BY 1 ORDER BY 1
    """)
    depths = {row["whose"]: row["lowest"] for row in lowest}
    assert -LIMIT <= depths["ann"] < 0
    assert depths["bob"] >= 0
    assert depths["kiosk"] >= 0
    assert ask("SELECT sum(amount_minor) AS total FROM billing.ledger_posting") == [{"total": 0}]
    (counted,) = ask("""
        SELECT (SELECT count(*) FROM billing.purchase) AS sold, (SELECT count(*) FROM radius.entitlement) AS granted,
               (SELECT count(DISTINCT idempotency_key) FROM billing.purchase) AS keys
    """)
    assert counted["sold"] == counted["granted"] == counted["keys"] >= 3


def _at_once(act: Callable[[int], None]) -> int:
    """Let eight threads act at the same moment; return how many the rules did not refuse."""
    together, done = threading.Barrier(8), list[int]()

    def run(number: int) -> None:
        together.wait()
        with suppress(Refused):
            act(number)
            done.append(number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


def test_r26_eight_accounts_of_one_customer_at_once_borrow_no_more_than_the_limit(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    with books() as session:
        enter_plan(session, now)
        ann = enter_customer(session, "ann", now)
        for number in range(8):
            accounts.add(session, login=accounts.Login(f"ann-{number}", "secret-1"), customer=ann, now=now)
        lend(session, ann, now, limit=2 * PRICE)
        payments.take(session, payment=paid(PRICE, "0"), now=now)

    def buy(number: int) -> None:
        with books() as session:
            sales.sell(session, order=order(f"k{number}", f"ann-{number}", PaidBy.CREDIT), now=now)

    assert _at_once(buy) == 3
    assert len(ask("SELECT 1 FROM billing.purchase")) == 3
    balance = "SELECT sum(amount_minor) AS balance FROM billing.ledger_posting WHERE customer_id IS NOT NULL"
    assert ask(balance) == [{"balance": -2 * PRICE}]


def test_r28_eight_customers_at_once_spend_no_more_than_the_reseller_has(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    with books() as session:
        enter_plan(session, now)
        enter_reseller(session, "kiosk", now, groups_of=("north",), held=4 * COST_TO_RESELLER - 1)
        for number in range(8):
            enter_customer(session, f"c-{number}", now, "north")

    def buy(number: int) -> None:
        with books() as session:
            seller = resellers.sign_in(session, "kiosk")
            wanted = order(f"k{number}", f"c-{number}", PaidBy.CASH)
            sales.sell(session, order=wanted, now=now, seller=seller)

    assert _at_once(buy) == 3
    balance = "SELECT sum(amount_minor) AS balance FROM billing.ledger_posting WHERE reseller_id IS NOT NULL"
    assert ask(balance) == [{"balance": COST_TO_RESELLER - 1}]


def test_r25_one_key_bought_by_eight_connections_is_one_purchase_whoever_pays(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    with books() as session:
        enter_plan(session, now)
        lend(session, enter_customer(session, "ann", now), now)
    outcomes: list[bool] = []

    def buy(number: int) -> None:
        paid_by = PaidBy.CREDIT if number % 2 else PaidBy.CASH
        with books() as session:
            outcomes.append(sales.sell(session, order=order("one", "ann", paid_by), now=now).repeated)

    assert _at_once(buy) == 8
    assert sorted(outcomes) == [False] + [True] * 7
    sides = ask("SELECT count(*) AS sides FROM billing.ledger_posting")
    assert sides in ([{"sides": 2}], [{"sides": 4}])
    assert len(ask("SELECT 1 FROM billing.purchase")) == 1
