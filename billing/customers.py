"""Customers: persons and companies in the books, and the gate of verification (rules R3, R5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session

from billing import accounts, groups
from billing.checks import check_email, check_name, escape_like
from billing.cutting import cut_sessions
from billing.models import Account, Customer, Purchase
from billing.phones import normal_phone
from billing.projection import project_accounts
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money

_NEW_ACCOUNT_NUMBER = text("SELECT billing.new_account_number()")


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a customer."""

    name: str
    phone: str | None = None
    email: str | None = None


def add(session: Session, *, person: Person, now: datetime, group: str | None = None) -> Customer:
    """Enter a customer, unverified (rule R3). Raises InvalidValue, also for a phone that another customer has."""
    check_name("name", person.name)
    check_email(person.email)
    phone = _free_phone(session, person.phone)
    customer = Customer(
        account_number=session.scalars(_NEW_ACCOUNT_NUMBER).one(),
        name=person.name,
        phone=phone,
        email=person.email,
        group=None if group is None else groups.get(session, group),
        joined_at=now,
    )
    session.add(customer)
    session.flush()
    return customer


def get(session: Session, reference: str) -> Customer:
    """Return a customer by account number, user name, phone or e-mail address. Raises InvalidValue."""
    by_user = select(Account.customer_id).where(Account.username == reference, Account.status != "closed")
    matches = [
        Customer.account_number == reference,
        Customer.customer_id.in_(by_user),
        Customer.phone == reference,
        func.lower(Customer.email) == reference.lower(),
    ]
    query = select(Customer).where(Customer.deleted_at.is_(None), or_(*matches)).limit(2)
    found = session.scalars(query).all()
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidValue(
            "customer", reference, "several customers match; `herotill customer list` shows them"
        )
    raise unknown(reference)


def unknown(reference: str) -> InvalidValue:
    """Return the refusal of what is nobody's, or nobody's the asker may know of."""
    allowed = (
        "nobody has this account number, user name, phone or e-mail; `herotill customer list` shows them"
    )
    return InvalidValue("customer", reference, allowed)


def listing(session: Session, *, search: str = "", group: str = "", limit: int = 100) -> list[Customer]:
    """Return customers by account number; the search looks at every name and number they are known by."""
    query = select(Customer).where(Customer.deleted_at.is_(None))
    if search:
        query = query.where(_matches(escape_like(search)))
    if group:
        query = query.where(Customer.group_id == groups.get(session, group).group_id)
    return list(session.scalars(query.order_by(Customer.customer_id).limit(limit)))


def verify(session: Session, *, reference: str, now: datetime) -> Customer:
    """The operator vouches for a customer: from now on the accounts may buy and log in (rule R3)."""
    customer = get(session, reference)
    if customer.verified_at is not None:
        raise Refused(f"customer {customer.account_number} is verified already", "R3")
    customer.verified_at = now
    _project(session, customer)
    return customer


def edit(session: Session, *, reference: str, changes: Mapping[str, str | None]) -> Customer:
    """Change `name`, `phone`, `email` or `group` (a name, or None for no group)."""
    customer = get(session, reference)
    if "name" in changes:
        check_name("name", changes["name"] or "")
        customer.name = changes["name"] or ""
    if "phone" in changes:
        customer.phone = _free_phone(session, changes["phone"], customer)
    if "email" in changes:
        check_email(changes["email"])
        customer.email = changes["email"]
    if "group" in changes:
        group = changes["group"]
        customer.group = None if group is None else groups.get(session, group)
        _project(session, customer)
    session.flush()
    return customer


def disable(session: Session, *, reference: str, now: datetime) -> int:
    """Deny all of a customer's accounts and cut their sessions; return how many."""
    customer = get(session, reference)
    customer.disabled_at = customer.disabled_at or now
    usernames = _project(session, customer)
    return cut_sessions(session, usernames, reason="disabled", now=now)


def enable(session: Session, *, reference: str) -> Customer:
    """Undo `disable`."""
    customer = get(session, reference)
    customer.disabled_at = None
    _project(session, customer)
    return customer


def remove(session: Session, *, reference: str, now: datetime) -> int:
    """Delete a customer: accounts are closed and cut (return how many sessions), the books keep everything (rule R5)."""
    customer = get(session, reference)
    cut = accounts.close(session, accounts.accounts_of(session, customer), now=now)
    customer.deleted_at = now
    session.flush()
    return cut


def expenditure(session: Session, customer: Customer) -> list[Money]:
    """Return what the customer ever spent, per currency."""
    spent = (
        select(Purchase.currency, func.sum(Purchase.price_minor))
        .join(Account)
        .where(Account.customer_id == customer.customer_id)
        .group_by(Purchase.currency)
    )
    return [
        Money(int(total), currency) for currency, total in session.execute(spent.order_by(Purchase.currency))
    ]


def _project(session: Session, customer: Customer) -> list[str]:
    usernames = [account.username for account in accounts.accounts_of(session, customer)]
    project_accounts(session, usernames)
    return usernames


def _matches(pattern: str) -> ColumnElement[bool]:
    by_user = select(Account.customer_id).where(Account.username.ilike(pattern), Account.status != "closed")
    known_by = [Customer.account_number, Customer.name, Customer.phone, Customer.email]
    return or_(Customer.customer_id.in_(by_user), *(column.ilike(pattern) for column in known_by))


def _free_phone(session: Session, phone: str | None, owner: Customer | None = None) -> str | None:
    normal = normal_phone(phone)
    if normal is None:
        return None
    taken = select(Customer).where(Customer.phone == normal, Customer.deleted_at.is_(None))
    other = session.scalars(taken).one_or_none()
    if other is not None and other is not owner:
        raise InvalidValue("phone", phone, f"customer {other.account_number} has it")
    return normal
