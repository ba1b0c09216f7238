"""Runs in a daemon's container: enters users who have bought so many octets. Its argument is JSON."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from billing import accounts, customers, plans, sales
from billing.terms import PlanTerms
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from sync_daemon.database import billing_engine
from sync_daemon.settings import load_settings


def enrol(books: Session, plan: str, users: list[str], password: str, quota_octets: int) -> None:
    """Enter the plan, the users, and a sale for each."""
    now = datetime.now(UTC)
    plans.add(books, name=plan, terms=PlanTerms(Money(0, "EUR"), quota_octets=quota_octets), now=now)
    for user in users:
        customer = customers.add(books, person=customers.Person(user), now=now)
        login = accounts.Login(user, password, AccountKind.PREPAID)
        accounts.add(books, login=login, now=now, customer=customer, policy={"max_sessions": 2})
        customers.verify(books, reference=user, now=now)
        sales.sell(books, order=sales.Order(plan, user, f"test:{user}", "test"), now=now)


if __name__ == "__main__":
    settings = load_settings(Path(os.environ["HEROTILL_CONFIG"]), Path(os.environ["HEROTILL_STATE"]))
    engine = billing_engine(settings, "test")
    with Session(engine) as session, session.begin():
        enrol(session, **json.loads(sys.argv[1]))
    engine.dispose()
