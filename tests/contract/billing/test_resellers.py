"""R28: resellers sell from a balance to the customers of their own groups, and see nobody else."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing import accounts, confinement, customers, groups, ledger, models, payments, resellers, sales
from billing.charging import PaidBy
from billing.ledger import Entry
from billing.models import Base
from billing.payment_requests import Activation
from billing.resellers import Seller
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.money import (
    PRICE,
    enter_customer,
    enter_plan,
    enter_reseller,
    kes,
    order,
    paid,
)

COST = PRICE - PRICE // 10


@pytest.fixture
def shops(books: OpenBooks, now: datetime) -> OpenBooks:
    """Kiosk has the group north with ann and 50.00 KES; rival has south with bob; carol is in no group."""
    with books() as session:
        enter_plan(session, now)
        enter_reseller(session, "kiosk", now, groups_of=("north",), held=5000)
        enter_reseller(session, "rival", now, groups_of=("south",), held=5000)
        for name, group in (("ann", "north"), ("bob", "south"), ("carol", None)):
            enter_customer(session, name, now, group)
    return books


@contextmanager
def acting(books: OpenBooks, name: str, *, confined: bool = True) -> Iterator[tuple[Session, Seller]]:
    """A transaction of this reseller; not confined, only the use cases' own checks stand in the way."""
    with books() as session:
        seller = resellers.sign_in(session, name)
        if confined:
            confinement.confine(session, seller)
        yield session, seller


def test_r28_a_sale_costs_the_reseller_the_price_less_the_commission(
    shops: OpenBooks, ask: Ask, now: datetime
) -> None:
    with acting(shops, "kiosk") as (session, seller):
        sale = sales.sell(session, order=order("a", paid_by=PaidBy.CASH), now=now, seller=seller)
    with shops() as session:
        assert resellers.balance(session, seller.reseller_id, "KES") == kes(5000 - COST)
        assert ledger.balance(session, customers.get(session, "ann").customer_id, "KES") == kes(0)
        assert resellers.totals(session, resellers.get(session, "kiosk")) == {
            "sold": kes(PRICE),
            "earned": kes(PRICE - COST),
        }
    assert ask("SELECT sold_by, reseller_id FROM billing.purchase") == [
        {"sold_by": "kiosk", "reseller_id": seller.reseller_id}
    ]
    assert ask("SELECT external_key FROM radius.entitlement") == [
        {"external_key": f"purchase:{sale.purchase_id}"}
    ]


def test_r28_a_key_sells_once_for_each_reseller(shops: OpenBooks, ask: Ask, now: datetime) -> None:
    for name, username in (("kiosk", "ann"), ("kiosk", "ann"), ("rival", "bob")):
        with acting(shops, name) as (session, seller):
            sales.sell(session, order=order("1", username, PaidBy.CASH), now=now, seller=seller)
    assert len(ask("SELECT 1 FROM billing.purchase")) == 2


def test_r28_not_enough_balance_shows_both_figures(shops: OpenBooks, ask: Ask, now: datetime) -> None:
    with acting(shops, "kiosk") as (session, seller):
        for key in ("a", "b"):
            sales.sell(session, order=order(key, paid_by=PaidBy.CASH), now=now, seller=seller)
    said = r"balance of kiosk is 5\.00 KES, p costs it 22\.50 KES"
    with pytest.raises(Refused, match=said), acting(shops, "kiosk") as (session, seller):
        sales.sell(session, order=order("c", paid_by=PaidBy.CASH), now=now, seller=seller)
    assert len(ask("SELECT 1 FROM billing.purchase")) == 2


def test_r28_a_reseller_does_not_spend_its_customers_balance(shops: OpenBooks, now: datetime) -> None:
    for paid_by in (PaidBy.BALANCE, PaidBy.CREDIT):
        with pytest.raises(Refused, match="its own balance"), acting(shops, "kiosk") as (session, seller):
            sales.sell(session, order=order("a", paid_by=paid_by), now=now, seller=seller)


@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize("username", ["bob", "carol", "nobody"])
def test_r28_others_customers_do_not_exist_for_a_reseller(
    shops: OpenBooks, ask: Ask, now: datetime, username: str, confined: bool
) -> None:
    with (
        pytest.raises(InvalidValue, match="there is no such account"),
        acting(shops, "kiosk", confined=confined) as (session, seller),
    ):
        sales.sell(session, order=order("a", username, PaidBy.CASH), now=now, seller=seller)
    with (
        pytest.raises(InvalidValue, match="nobody has this"),
        acting(shops, "kiosk", confined=confined) as (session, seller),
    ):
        payments.take(session, payment=paid(100, "a", username), now=now, seller=seller)
    assert ask("SELECT 1 FROM billing.purchase") == ask("SELECT 1 FROM billing.payment") == []


def test_r28_a_reseller_takes_payments_from_its_own_balance(shops: OpenBooks, now: datetime) -> None:
    with acting(shops, "kiosk") as (session, seller):
        activated = paid(PRICE, "1", activation=Activation("p", "ann"))
        receipt = payments.take(session, payment=activated, now=now, seller=seller)
        assert (receipt.payment.method, receipt.payment.purchase_id is not None) == ("reseller", True)
    said = r"balance of kiosk is 25\.00 KES, the payment is 25\.01 KES"
    with pytest.raises(Refused, match=said), acting(shops, "kiosk") as (session, seller):
        payments.take(session, payment=paid(2501, "2"), now=now, seller=seller)


def test_r28_a_payment_through_a_reseller_activates_no_account_of_others(
    shops: OpenBooks, ask: Ask, now: datetime
) -> None:
    aimed = paid(PRICE, "1", activation=Activation("p", "bob"))
    for confined in (True, False):
        with (
            pytest.raises(InvalidValue, match="there is no such account"),
            acting(shops, "kiosk", confined=confined) as (session, seller),
        ):
            payments.take(session, payment=aimed, now=now, seller=seller)
    assert ask("SELECT 1 FROM billing.payment") == []


def test_r28_a_reseller_sees_its_own_rows_of_every_table_and_no_others(
    shops: OpenBooks, now: datetime
) -> None:
    for name, username in (("kiosk", "ann"), ("rival", "bob")):
        with acting(shops, name) as (session, seller):
            sales.sell(session, order=order("1", username, PaidBy.CASH), now=now, seller=seller)
            payments.take(session, payment=paid(100, "1", username), now=now, seller=seller)
    with acting(shops, "kiosk") as (session, seller):
        assert [each.name for each in customers.listing(session)] == ["ann"]
        assert [each.username for each in accounts.listing(session)] == ["ann"]
        assert [each.name for each in groups.listing(session)] == ["north"]
        assert [each.name for each in resellers.listing(session)] == ["kiosk"]
        assert [each.account.username for each in session.scalars(select(models.Purchase))] == ["ann"]
        assert [each.reference for each in payments.listing(session)] == ["100016"]
        named = {each.customer_id for each in session.scalars(select(models.LedgerPosting))}
        assert named == {None, customers.get(session, "ann").customer_id}
        whose = {each.reseller_id for each in session.scalars(select(models.LedgerPosting))}
        assert whose == {None, seller.reseller_id}
        for reference in ("bob", "carol"):
            with pytest.raises(InvalidValue):
                customers.get(session, reference)
            with pytest.raises(InvalidValue):
                accounts.get(session, reference)


def test_r28_a_table_that_nobody_thought_of_is_not_seen(shops: OpenBooks, ask: Ask, now: datetime) -> None:
    with acting(shops, "rival") as (session, seller):
        sales.sell(session, order=order("1", "bob", PaidBy.CASH), now=now, seller=seller)
    seen: dict[str, int] = {}
    with acting(shops, "kiosk") as (session, seller):
        for mapper in Base.registry.mappers:
            seen[mapper.class_.__name__] = len(session.scalars(select(mapper.class_)).all())
    assert {name for name, count in seen.items() if count} == {
        *("Plan", "CustomerGroup", "ResellerGroup", "Reseller", "Customer", "Account"),
        *("LedgerTransaction", "LedgerPosting"),
    }


def test_r28_a_group_is_one_resellers_and_leaves_with_its_customers(shops: OpenBooks, now: datetime) -> None:
    with pytest.raises(Refused, match="belongs to reseller rival"), shops() as session:
        resellers.assign_group(session, name="kiosk", group="south", now=now)
    with shops() as session:
        resellers.release_group(session, name="rival", group="south")
        resellers.assign_group(session, name="kiosk", group="south", now=now)
    with acting(shops, "kiosk") as (session, seller):
        sales.sell(session, order=order("1", "bob", PaidBy.CASH), now=now, seller=seller)
    with shops() as session:
        customers.edit(session, reference="bob", changes={"group": None})
    with pytest.raises(InvalidValue), acting(shops, "kiosk") as (session, seller):
        sales.sell(session, order=order("2", "bob", PaidBy.CASH), now=now, seller=seller)


def test_r28_a_reseller_with_a_balance_is_not_removed(shops: OpenBooks, now: datetime) -> None:
    with pytest.raises(Refused, match=r"has a balance of 50\.00 KES"), shops() as session:
        resellers.close(session, name="kiosk", now=now)
    with shops() as session:
        entry = Entry("payment:reseller:back", "back", now, "desk")
        resellers.pay_in(session, name="kiosk", amount=kes(-5000), entry=entry, into="cash")
        resellers.close(session, name="kiosk", now=now)
    with pytest.raises(InvalidValue, match="there is no such reseller"), acting(shops, "kiosk"):
        pass


def test_r28_a_reseller_is_paid_back_no_more_than_it_has(shops: OpenBooks, now: datetime) -> None:
    entry = Entry("payment:reseller:back", "back", now, "desk")
    with pytest.raises(Refused, match="cannot be paid back"), shops() as session:
        resellers.pay_in(session, name="kiosk", amount=kes(-5001), entry=entry, into="cash")
    with pytest.raises(Refused, match="not USD"), shops() as session:
        resellers.pay_in(session, name="kiosk", amount=Money(1, "USD"), entry=entry, into="cash")


@pytest.mark.parametrize(
    ("share", "price", "kept"), [(0, 999, 0), (1000, 999, 99), (10_000, 999, 999), (1, 99, 0)]
)
def test_r28_a_commission_is_rounded_down(share: int, price: int, kept: int) -> None:
    assert Seller(1, "kiosk", "KES", share).commission(kes(price)) == kes(kept)


@pytest.mark.parametrize("share", [-1, 10_001])
def test_r28_a_commission_that_cannot_be_is_refused(books: OpenBooks, now: datetime, share: int) -> None:
    with pytest.raises(InvalidValue, match="from 0% to 100%"), books() as session:
        resellers.add(session, name="x", currency="KES", commission_basis_points=share, now=now)
