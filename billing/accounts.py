"""Accounts: what logs in. Every change is projected into RADIUS and, where it restricts, cuts live sessions at once."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from billing.checks import check_cycle_day, check_policy, check_secret, check_username, escape_like
from billing.cutting import cut_sessions
from billing.models import Account, Customer, CustomerGroup
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from billing.projection import forget_accounts, project_accounts
from herotill.errors import InvalidValue, Refused
from herotill.snapshot import AccountKind, AccountStatus

SECRET_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - no look-alikes: 0/o, 1/l/i
SECRET_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Login:
    """A user name, its secret and its kind; the secret is not shown."""

    username: str
    secret: str = field(repr=False)
    kind: AccountKind = AccountKind.PREPAID


def generate_secret(length: int = SECRET_LENGTH) -> str:
    """Return a random password people can read to each other."""
    return "".join(secrets.choice(SECRET_ALPHABET) for _ in range(length))


def add(
    session: Session,
    *,
    login: Login,
    now: datetime,
    customer: Customer | None = None,
    policy: Mapping[str, Any] | None = None,
    cycle_day: int | None = None,
) -> Account:
    """Open an account. Raises InvalidValue for a name in use, Refused where the kind cannot be without a customer."""
    _check_login(session, login)
    if customer is None and login.kind is not AccountKind.HOTSPOT:
        raise Refused(f"a {login.kind} account belongs to a customer; only hotspot accounts have none", "R1")
    monthly = login.kind is AccountKind.MONTHLY
    if cycle_day is not None:
        _check_cycle(login.kind, cycle_day)
    account = Account(
        username=login.username,
        secret=login.secret,
        kind=str(login.kind),
        customer=customer,
        cycle_day=(cycle_day or now.day) if monthly else None,
        policy=dict(policy or {}),
        created_at=now,
    )
    _check_policies(account)
    session.add(account)
    project_accounts(session, [account.username])
    return account


def get(session: Session, username: str, *, lock: bool = False) -> Account:
    """Return the living account of this name; `lock` holds it for this transaction. Raises InvalidValue."""
    query = select(Account).where(Account.username == username, Account.status != "closed")
    if lock:
        query = query.with_for_update(of=Account).execution_options(populate_existing=True)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise unknown(username)
    return found


def unknown(username: str) -> InvalidValue:
    """Return the refusal of a name that is no account's, or none the asker may know of."""
    return InvalidValue("user", username, "there is no such account; `herotill account list` shows them")


SORT_KEYS: SortKeys = {
    "user": func.lower(Account.username),
    "kind": Account.kind,
    "customer": func.lower(Customer.name),
    "account_number": Customer.account_number,
    "created_at": Account.created_at,
}


def listing(session: Session, *, search: str = "", kind: str = "", page: Page = FIRST_PAGE) -> list[Account]:
    """Return living accounts by name; the search also looks at the customer's name and number."""
    pattern = escape_like(search)
    query = select(Account).outerjoin(Customer).where(Account.status != "closed")
    if search:
        found = [Account.username, Customer.name, Customer.account_number]
        query = query.where(or_(*(column.ilike(pattern) for column in found)))
    if kind:
        query = query.where(Account.kind == kind)
    return list(session.scalars(paged(query, page, SORT_KEYS, func.lower(Account.username))))


def status_of(account: Account) -> AccountStatus:
    """Return the status RADIUS is told: a disabled account is that first, then unverified, then suspended."""
    customer = account.customer
    if account.disabled_at is not None or (customer is not None and customer.disabled_at is not None):
        return AccountStatus.DISABLED
    if customer is not None and customer.verified_at is None:
        return AccountStatus.UNVERIFIED
    return AccountStatus.SUSPENDED if account.status == "suspended" else AccountStatus.ACTIVE


def set_secret(session: Session, *, username: str, secret: str) -> Account:
    """Give an account a new password."""
    check_secret(secret)
    account = get(session, username, lock=True)
    account.secret, account.must_reset_secret = secret, False
    project_accounts(session, [username])
    return account


def edit_policy(session: Session, *, username: str, policy: Mapping[str, Any]) -> Account:
    """Lay these fields over the account's own policy."""
    account = get(session, username, lock=True)
    account.policy = account.policy | dict(policy)
    _check_policies(account)
    project_accounts(session, [username])
    return account


def disable(session: Session, *, username: str, now: datetime) -> int:
    """Deny an account every login and cut its sessions; return how many."""
    account = get(session, username, lock=True)
    account.disabled_at = account.disabled_at or now
    project_accounts(session, [username])
    return cut_sessions(session, [username], reason="disabled", now=now)


def enable(session: Session, *, username: str) -> Account:
    """Undo `disable`."""
    account = get(session, username, lock=True)
    account.disabled_at = None
    project_accounts(session, [username])
    return account


def close(session: Session, accounts: Sequence[Account], *, now: datetime) -> int:
    """Close accounts for good: RADIUS forgets them, their sessions are cut, the books keep them. Return how many cut."""
    living = [account for account in accounts if account.status != "closed"]
    for account in living:
        account.status, account.closed_at, account.suspended_reason = "closed", now, None
    usernames = [account.username for account in living]
    forget_accounts(session, usernames, now=now)
    return cut_sessions(session, usernames, reason="deleted", now=now)


def accounts_of(session: Session, customer: Customer) -> list[Account]:
    """Return a customer's living accounts."""
    query = select(Account).where(Account.customer_id == customer.customer_id, Account.status != "closed")
    return list(session.scalars(query.order_by(Account.username)))


def _check_login(session: Session, login: Login) -> None:
    check_username(login.username)
    check_secret(login.secret)
    taken = select(Account.username).where(
        func.lower(Account.username) == login.username.lower(), Account.status != "closed"
    )
    other = session.scalar(taken)
    if other is not None:
        raise InvalidValue(
            "user", login.username, f"the user name {other} is in use; upper and lower case are one"
        )


def _check_cycle(kind: AccountKind, cycle_day: int) -> None:
    if kind is not AccountKind.MONTHLY:
        raise Refused(f"a {kind} account has no billing cycle; only monthly accounts have", "R24")
    check_cycle_day(cycle_day)


def _check_policies(account: Account) -> None:
    group: CustomerGroup | None = account.customer.group if account.customer is not None else None
    check_policy({} if group is None else group.policy, account.plan_policy or {}, account.policy)
