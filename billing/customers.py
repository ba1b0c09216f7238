"""Customers: persons and companies in the books, and the gate of verification (rules R3, R5)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, cast, column, func, or_, select, table, text
from sqlalchemy.dialects.postgresql import MACADDR
from sqlalchemy.orm import Session

from billing import accounts, groups
from billing.checks import check_email, check_name, check_one_line, escape_like
from billing.cutting import cut_sessions
from billing.doubles import STRICT, Tolerance, check_email_is_clear
from billing.models import Account, Customer, Purchase
from billing.phones import normal_phone
from billing.projection import project_accounts
from herotill.devices import normal_mac
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money

MAX_REASON_CHARACTERS = 200
_NEW_ACCOUNT_NUMBER = text("SELECT billing.new_account_number()")


_DEVICE = table("device", column("username", Text), column("mac", MACADDR), schema="radius")
_PHONE_DIGITS = re.compile(r"[+(]?[0-9][0-9 ().-]{4,}", re.ASCII)
_MAC_PART = re.compile(r"(?=.*[:-])[0-9A-Fa-f:-]{4,17}", re.ASCII)


class Standing(StrEnum):
    """How a customer stands."""

    ACTIVE = "active"
    UNVERIFIED = "unverified"
    DISABLED = "disabled"


class Sort(StrEnum):
    """In which order customers are listed."""

    NUMBER = "number"
    NAME = "name"
    JOINED = "joined"  # the newest first


_STANDINGS = {
    Standing.ACTIVE: and_(Customer.disabled_at.is_(None), Customer.verified_at.is_not(None)),
    Standing.UNVERIFIED: and_(Customer.disabled_at.is_(None), Customer.verified_at.is_(None)),
    Standing.DISABLED: Customer.disabled_at.is_not(None),
}
_ORDERS: dict[Sort, tuple[Any, ...]] = {
    Sort.NUMBER: (Customer.customer_id,),
    Sort.NAME: (func.lower(Customer.name), Customer.customer_id),
    Sort.JOINED: (Customer.joined_at.desc(), Customer.customer_id.desc()),
}


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of a customer."""

    name: str
    phone: str | None = None
    email: str | None = None


def add(
    session: Session,
    *,
    person: Person,
    now: datetime,
    group: str | None = None,
    region: str | None = None,
    tolerance: Tolerance = STRICT,
) -> Customer:
    """Enter a customer, unverified (rule R3). Raises InvalidValue, also for a phone that another customer has.

    An e-mail address that another has, or that looks like theirs, is refused but for `tolerance` (billing.doubles).
    `region` is where a phone without a country code is (billing.phones).
    """
    check_name("name", person.name)
    check_email(person.email)
    check_email_is_clear(session, person.email, tolerance)
    phone = _free_phone(session, normal_phone(person.phone, region))
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
    """Return a customer by account number, user name, phone, e-mail or MAC address. Raises InvalidValue."""
    by_user = select(Account.customer_id).where(Account.username == reference, Account.status != "closed")
    matches = [
        Customer.account_number == reference,
        Customer.customer_id.in_(by_user),
        Customer.phone == reference,
        func.lower(Customer.email) == reference.lower(),
    ]
    if (mac := normal_mac(reference)) is not None:
        matches.append(Customer.customer_id.in_(_used_on(_DEVICE.c.mac == mac)))
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
        "nobody has this account number, user name, phone, e-mail or MAC; `herotill customer list` shows them"
    )
    return InvalidValue("customer", reference, allowed)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which customers a list shows, in which order; the search looks at every name and number they are known by."""

    search: str = ""
    group: str = ""
    standing: Standing | None = None
    sort: Sort = Sort.NUMBER
    limit: int = 100
    page: int = 1


def listing(session: Session, wanted: Wanted = Wanted()) -> list[Customer]:
    """Return one page of the customers that are wanted."""
    query = select(Customer).where(Customer.deleted_at.is_(None))
    if wanted.search:
        query = query.where(_matches(wanted.search))
    if wanted.group:
        query = query.where(Customer.group_id == groups.get(session, wanted.group).group_id)
    if wanted.standing is not None:
        query = query.where(_STANDINGS[wanted.standing])
    query = query.order_by(*_ORDERS[wanted.sort]).limit(wanted.limit)
    return list(session.scalars(query.offset((wanted.page - 1) * wanted.limit)))


def standing_of(customer: Customer) -> Standing:
    """Return how a customer stands; disabled comes before unverified."""
    if customer.disabled_at is not None:
        return Standing.DISABLED
    return Standing.UNVERIFIED if customer.verified_at is None else Standing.ACTIVE


def verify(
    session: Session, *, reference: str, now: datetime, by: str = "operator", reason: str | None = None
) -> Customer:
    """An operator vouches for a customer: from now on the accounts may buy and log in (rule R3)."""
    customer = get(session, reference)
    if reason is not None:
        check_one_line("reason", reason, MAX_REASON_CHARACTERS)
    if customer.verified_at is not None:
        raise Refused(f"customer {customer.account_number} is verified already", "R3")
    customer.verified_reason = reason
    mark_verified(session, customer, by=f"operator:{by}", now=now)
    return customer


def mark_verified(session: Session, customer: Customer, *, by: str, now: datetime) -> None:
    """Open the gate of verification; `by` says who or what opened it."""
    customer.verified_at, customer.verified_by = now, by
    usernames = _project(session, customer)
    # Whoever waits in the pool of the unverified comes back as a full customer.
    cut_sessions(session, usernames, reason="resumed", now=now)


def edit(
    session: Session,
    *,
    reference: str,
    changes: Mapping[str, str | None],
    region: str | None = None,
    tolerance: Tolerance = STRICT,
) -> Customer:
    """Change `name`, `phone`, `email` or `group` (a name, or None for no group).

    Who leaves a group gets no more of its allocations (rule R17).
    """
    customer = get(session, reference)
    if "name" in changes:
        check_name("name", changes["name"] or "")
        customer.name = changes["name"] or ""
    if "phone" in changes:
        customer.phone = _free_phone(session, normal_phone(changes["phone"], region), customer)
    if "email" in changes:
        check_email(changes["email"])
        check_email_is_clear(session, changes["email"], tolerance, customer.customer_id)
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


def _matches(search: str) -> ColumnElement[bool]:
    pattern = escape_like(search)
    by_user = select(Account.customer_id).where(Account.username.ilike(pattern), Account.status != "closed")
    known_by = [Customer.account_number, Customer.name, Customer.phone, Customer.email]
    found = [Customer.customer_id.in_(by_user), *(column.ilike(pattern) for column in known_by)]
    if _PHONE_DIGITS.fullmatch(search):
        # However it is written: the country code stands in the books, a trunk zero does not.
        digits = re.sub(r"[^0-9]", "", search).lstrip("0")
        found.append(Customer.phone.ilike(escape_like(digits)))
    if (mac := normal_mac(search)) is not None:
        found.append(Customer.customer_id.in_(_used_on(_DEVICE.c.mac == mac)))
    elif _MAC_PART.fullmatch(search):
        part = escape_like(search.replace("-", ":"))
        found.append(Customer.customer_id.in_(_used_on(cast(_DEVICE.c.mac, Text).ilike(part))))
    return or_(*found)


def _used_on(devices: ColumnElement[bool]) -> Select[Any]:
    """Select the customers of accounts that were used on these devices."""
    return (
        select(Account.customer_id)
        .join(_DEVICE, _DEVICE.c.username == Account.username)
        .where(devices, Account.customer_id.is_not(None), Account.status != "closed")
    )


def _free_phone(session: Session, phone: str | None, owner: Customer | None = None) -> str | None:
    if phone is None:
        return None
    taken = select(Customer).where(Customer.phone == phone, Customer.deleted_at.is_(None))
    other = session.scalars(taken).one_or_none()
    if other is not None and other is not owner:
        raise InvalidValue("phone", phone, f"customer {other.account_number} has it")
    return phone
