"""What the tests of money have in common: a hostel, its people, a plan and a gateway."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from billing import accounts, credit, customers, groups, plans, resellers
from billing.charging import PaidBy
from billing.customers import Person
from billing.gateways import Gateway, GatewayDefinition
from billing.ledger import Entry
from billing.models import Customer
from billing.payments import NewPayment
from billing.sales import Order
from billing.terms import PlanTerms
from herotill.credit import CreditLine
from herotill.quantities import Money

PRICE = 2500
DAY = 86_400
SECRET = b"what the gateway and we know"
GATEWAY = Gateway(
    GatewayDefinition(
        "mpesa",
        Path("/nowhere"),
        {
            "id": "TransID",
            "amount": "Amount",
            "reference": "BillRef",
            "status": "Result",
            "payer": "MSISDN",
            "currency": "Currency",
        },
        currency="KES",
        paid_when=("0",),
    ),
    SECRET,
)


def kes(minor: int) -> Money:
    return Money(minor, "KES")


def enter_plan(session: Session, now: datetime, **terms: Any) -> None:
    fields: dict[str, Any] = {"price": kes(PRICE), "quota_octets": 2**30, "seconds_after_purchase": DAY}
    plans.add(session, name="p", terms=PlanTerms(**(fields | terms)), now=now)


def enter_customer(session: Session, name: str, now: datetime, group: str | None = None) -> Customer:
    """A verified customer with one account of this name."""
    customer = customers.add(session, person=Person(name), group=group, now=now)
    accounts.add(session, login=accounts.Login(name, "secret-1"), customer=customer, now=now)
    customers.verify(session, reference=name, now=now)
    return customer


def enter_reseller(
    session: Session, name: str, now: datetime, *, groups_of: tuple[str, ...] = (), held: int = 0
) -> None:
    """A reseller who keeps a tenth, with these groups and this balance."""
    resellers.add(session, name=name, currency="KES", commission_basis_points=1000, now=now)
    for group in groups_of:
        groups.add(session, name=group, now=now)
        resellers.assign_group(session, name=name, group=group, now=now)
    if held:
        entry = Entry(f"payment:reseller:{name}", "float", now, "desk")
        resellers.pay_in(session, name=name, amount=kes(held), entry=entry, into="bank")


def lend(session: Session, customer: Customer, now: datetime, limit: int = 4000, days: int = 7) -> None:
    line = CreditLine(kes(limit), days * DAY)
    credit.grant(session, customer=customer, line=line, now=now, granted_by="desk")


def order(key: str, username: str = "ann", paid_by: PaidBy = PaidBy.CREDIT) -> Order:
    return Order(plan="p", username=username, key=key, sold_by="desk", paid_by=paid_by)


def paid(amount: int, key: str, customer: str = "ann", **more: Any) -> NewPayment:
    return NewPayment(customer=customer, amount=kes(amount), key=key, recorded_by="desk", **more)


def notice(gateway_id: str, amount: str, reference: str, **more: str) -> bytes:
    """What the gateway posts."""
    fields = {"TransID": gateway_id, "Amount": amount, "BillRef": reference, "Result": "0"}
    return json.dumps(fields | more).encode()
