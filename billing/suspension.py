"""Suspension: by hand, by the billing run when rule R24 says so, at the end of a daily account (rule R23), and its undoing.

A suspension, what RADIUS then has and the cutting of live sessions are one transaction. Customers are locked before their
accounts, so that a payment and a suspension of one customer take turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from billing import accounts, invoices
from billing.cutting import cut_sessions
from billing.cycle_grants import align_grants, lock_grants
from billing.events import emit_all
from billing.invoices import Paid
from billing.models import Account
from billing.projection import project_accounts
from billing.suspension_statements import (
    ACCOUNTS_OF,
    ARREARS,
    CANDIDATES,
    RESUMABLE,
    RESUME,
    SUSPEND,
    TRY_TOPUPS_AGAIN,
)
from herotill.errors import InvalidValue, Refused
from herotill.snapshot import AccountKind, AccountStatus
from herotill.suspension import UNPAID_BILL, Arrears, explain_suspension


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account that is to be looked at again when its customer is held."""

    account_id: int
    customer_id: int | None


@dataclass(frozen=True, slots=True)
class Changed:
    """An account that was suspended or resumed just now."""

    account_id: int
    username: str
    customer_id: int | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What a customer's money led to."""

    paid: tuple[Paid, ...]
    resumed: tuple[str, ...]


def suspend(session: Session, *, username: str, reason: str, now: datetime) -> int:
    """Suspend an account, cut its sessions and return how many.

    A monthly one may connect again and gets the suspended pool, the others may not. `unpaid-bill` needs a bill whose
    date has passed: no bill, no suspension (rule R24).
    """
    account = accounts.get(session, username, lock=True)
    if not reason.strip() or not reason.isprintable():
        raise InvalidValue("reason", reason, "it says in one line why, for example unpaid-bill")
    if account.status != "active":
        raise Refused(f"{username} is {account.status} already", "R24")
    arrears = arrears_of(session, account, now)
    if reason == UNPAID_BILL and not (arrears.has_open_bill and arrears.payment_date_has_passed):
        raise Refused(f"{username} has no unpaid bill whose date has passed: no bill, no suspension", "R24")
    account.status, account.suspended_reason = "suspended", reason
    project_accounts(session, [username])
    return cut_sessions(session, [username], reason="suspended", now=now)


def resume(session: Session, *, username: str, now: datetime) -> int:
    """End a suspension; sessions in the suspended pool are cut, so that they come back with full service."""
    account = accounts.get(session, username, lock=True)
    if account.status != "suspended":
        raise Refused(f"{username} is not suspended", "R24")
    account.status, account.suspended_reason = "active", None
    project_accounts(session, [username])
    return cut_sessions(session, [username], reason="resumed", now=now)


def arrears_of(session: Session, account: Account, now: datetime) -> Arrears:
    """Return how an account stands to the four conditions of rule R24."""
    session.flush()
    row = session.execute(ARREARS, {"account_id": account.account_id, "now": now}).one()
    return Arrears(
        has_expired=row.has_expired,
        has_open_bill=row.due_at is not None,
        payment_date_has_passed=row.due_at is not None and row.due_at <= now,
        automatic_suspend=row.automatic_suspend,
        automatic_bill=row.automatic_bill,
        bill_due_at=row.due_at,
    )


def explain(session: Session, username: str, now: datetime) -> tuple[str, ...]:
    """Say in sentences how an account stands to suspension; nothing of who has no account."""
    try:
        account = accounts.get(session, username)
    except InvalidValue:
        return ()
    if accounts.status_of(account) not in (AccountStatus.ACTIVE, AccountStatus.SUSPENDED):
        return ()
    is_monthly = account.kind == AccountKind.MONTHLY
    return explain_suspension(account.suspended_reason, arrears_of(session, account, now), is_monthly)


def settle(session: Session, customer_id: int, now: datetime) -> Settled:
    """Do what a customer's balance allows after a payment: pay the oldest bills, prolong what they are for, end suspensions.

    Paying moves no cycle (rule R24). Call it in the transaction that raised the balance.
    """
    return settle_all(session, [customer_id], now)


def settle_all(session: Session, customer_ids: Sequence[int], now: datetime) -> Settled:
    """Do as `settle` for many customers."""
    paid = invoices.settle(session, customer_ids, now)
    values = {"customer_ids": list(customer_ids)}
    account_ids = session.execute(ACCOUNTS_OF, values).scalars().all()
    lock_grants(session, account_ids)
    align_grants(session, sorted({each.account_id for each in paid}), now)
    session.execute(TRY_TOPUPS_AGAIN, values)
    resumed = _resume(session, account_ids, now)
    return Settled(tuple(paid), tuple(each.username for each in resumed))


def to_suspend(session: Session, *, reason: str, now: datetime) -> list[Candidate]:
    """Return the accounts that must be suspended; `reason` is UNPAID_BILL or ENDED."""
    session.flush()
    return [Candidate(*row) for row in session.execute(CANDIDATES[reason], {"now": now})]


def suspend_all(
    session: Session, candidates: Sequence[Candidate], *, reason: str, now: datetime
) -> list[Changed]:
    """Suspend those of the candidates that still must be, now that they are held, and return them."""
    _hold(session, candidates)
    values = {"account_ids": [each.account_id for each in candidates], "now": now}
    changed = [Changed(*row) for row in session.execute(SUSPEND[reason], values)]
    _tell(session, changed, "suspended", {"reason": reason}, now)
    return changed


def to_resume(session: Session, *, now: datetime) -> list[Candidate]:
    """Return the accounts whose suspension has lost its cause."""
    session.flush()
    return [Candidate(*row) for row in session.execute(RESUMABLE, {"now": now})]


def resume_all(session: Session, candidates: Sequence[Candidate], *, now: datetime) -> list[Changed]:
    """Resume those of the candidates that still may be, and return them."""
    _hold(session, candidates)
    return _resume(session, [each.account_id for each in candidates], now)


def resume_after_sale(session: Session, account: Account, now: datetime) -> None:
    """End the suspension a daily account met at its end, now that it has bought something (rule R23)."""
    _resume(session, [account.account_id], now)
    session.refresh(account)


def _resume(session: Session, account_ids: Sequence[int], now: datetime) -> list[Changed]:
    if not account_ids:
        return []
    session.flush()
    rows = session.execute(RESUME, {"account_ids": list(account_ids), "now": now})
    changed = [Changed(*row) for row in rows]
    _tell(session, changed, "resumed", {}, now)
    return changed


def _hold(session: Session, candidates: Sequence[Candidate]) -> None:
    owners = sorted({each.customer_id for each in candidates if each.customer_id is not None})
    if owners:
        invoices.lock_customers(session, owners)
    lock_grants(session, [each.account_id for each in candidates])


def _tell(
    session: Session, changed: Sequence[Changed], what: str, said: dict[str, str], now: datetime
) -> None:
    """Tell RADIUS, the routers with live sessions, and whoever listens to events."""
    if not changed:
        return
    session.expire_all()
    usernames = sorted(each.username for each in changed)
    project_accounts(session, usernames)
    cut_sessions(session, usernames, reason=what, now=now)
    happened = [
        (
            f"account.{what}:{each.account_id}:{now.isoformat()}",
            {"user": each.username} | said,
            each.customer_id,
        )
        for each in changed
    ]
    emit_all(session, f"account.{what}", happened, now)
