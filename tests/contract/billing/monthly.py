"""What the tests of monthly billing have in common: customers with a recurring plan, money, a run."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import accounts, billing_run, customers, ledger, plans, recurring, suspension
from billing.accounts import Login
from billing.billing_run import Options, Report
from billing.customers import Person
from billing.ledger import Entry
from billing.suspension import Settled
from billing.terms import PlanTerms
from herotill.policy import ServicePolicy
from herotill.quantities import Money
from herotill.snapshot import AccountKind

GIB = 2**30
PRICE = 3000_00
ZONE = "Africa/Nairobi"

_numbers = count(1)

OpenBooks = Callable[[], AbstractContextManager[Session]]


def terms(**changes: Any) -> PlanTerms:
    fields: dict[str, Any] = {
        "price": Money(PRICE, "KES"),
        "kinds": (AccountKind.MONTHLY,),
        "quota_octets": 30 * GIB,
        "policy": ServicePolicy(download_bits_per_second=10_000_000, suspended_pool="walled-garden"),
    }
    return PlanTerms(**(fields | changes))


def add_plan(books: OpenBooks, now: datetime, name: str = "home", **changes: Any) -> None:
    with books() as session:
        plans.add(session, name=name, terms=terms(**changes), now=now)


def add_account(
    books: OpenBooks, now: datetime, username: str, kind: AccountKind = AccountKind.MONTHLY, **profile: Any
) -> int:
    """Open a verified customer's account; `profile` is what is changed of its billing profile. Returns the customer."""
    with books() as session:
        owner = customers.add(session, person=Person(username.title()), now=now)
        accounts.add(session, login=Login(username, "secret-1", kind), customer=owner, now=now)
        customers.verify(session, reference=username, now=now)
        if profile:
            recurring.change(session, username=username, changes=profile, now=now, time_zone=ZONE)
        return owner.customer_id


def run(books: OpenBooks, now: datetime, **options: Any) -> Report:
    return billing_run.run(books, options.pop("until", now), now, options=Options(**options))


def pay(books: OpenBooks, customer_id: int, minor: int, now: datetime) -> Settled:
    with books() as session:
        entry = Entry(f"payment:{next(_numbers)}", "paid", now, "desk")
        ledger.post_payment(session, entry, Money(minor, "KES"), customer_id)
        return suspension.settle(session, customer_id, now)


def use(books: OpenBooks, external_key: str, octets: int, now: datetime | None = None) -> None:
    """Use octets of a grant, as the meter would; with a time, that was the end of it."""
    with books() as session:
        session.execute(
            text("""
                UPDATE radius.entitlement SET used_input_octets = :octets, ended_at = :at,
                       ended_reason = CASE WHEN CAST(:at AS timestamptz) IS NOT NULL THEN 'quota' END
                WHERE external_key = :key"""),
            {"octets": octets, "key": external_key, "at": now},
        )
