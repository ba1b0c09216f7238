"""Conversion: prepaid to monthly and back (rule R2). User name, password, devices and history stay.

What becomes of remaining data is always said explicitly. Live sessions get the new policy through the outbox.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing import live_service, recurring
from billing.billing_run_cycles import open_cycles
from billing.checks import check_cycle_day
from billing.cycle_grants import lock_grants
from billing.cycles import local_day
from billing.events import emit
from billing.models import Account, BillingProfile
from billing.projection import project_accounts, void_grants
from billing.recurring import Profile
from herotill.errors import InvalidValue, Refused
from herotill.snapshot import AccountKind

_LIVING = text("""
    SELECT external_key FROM radius.entitlement WHERE username = :username AND ended_at IS NULL ORDER BY entitlement_id
""")
_FORGET_USED_UP = text("DELETE FROM radius.used_up_account WHERE username = :username")


class Remainder(StrEnum):
    """What becomes of what is left."""

    KEEP = "keep"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is to become of an account; `plan` and `cycle_day` of a monthly one, whose first cycle begins today."""

    username: str
    to: AccountKind
    remainder: Remainder
    converted_by: str
    plan: str | None = None
    cycle_day: int | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of a conversion: how many grants were there, and for how many sessions something was asked of routers."""

    username: str
    was: AccountKind
    became: AccountKind
    grants: int
    remainder: Remainder
    sessions: int


def convert(session: Session, *, conversion: Conversion, now: datetime, time_zone: str) -> Converted:
    """Convert an account. Raises Refused with the rule that forbids it, InvalidValue for what cannot be."""
    account, profile = recurring.hold(session, conversion.username)
    was = AccountKind(account.kind)
    _check(account, conversion)
    lock_grants(session, [account.account_id])
    before = live_service.service_of(session, account.username, now)
    grants = session.execute(_LIVING, {"username": account.username}).scalars().all()
    if conversion.remainder is Remainder.DROP:
        void_grants(session, grants, now=now)
    if conversion.to is AccountKind.MONTHLY:
        _become_monthly(session, account, profile, conversion, now, time_zone)
    else:
        _become_prepaid(session, account, profile)
    project_accounts(session, [account.username])
    asked = live_service.follow(session, account.username, before, reason="converted", now=now)
    _announce(session, account, was, conversion, now)
    return Converted(account.username, was, conversion.to, len(grants), conversion.remainder, asked)


def living_grants(session: Session, username: str) -> int:
    """Return how many grants a conversion would keep or drop."""
    return len(session.execute(_LIVING, {"username": username}).all())


def _check(account: Account, conversion: Conversion) -> None:
    if AccountKind.HOTSPOT in (conversion.to, AccountKind(account.kind)):
        raise Refused(
            f"{account.username} is {account.kind}; prepaid and monthly accounts can be converted", "R2"
        )
    if account.kind == conversion.to:
        raise Refused(f"{account.username} is {account.kind} already", "R2")
    if account.status == "suspended":
        reason = account.suspended_reason
        raise Refused(
            f"{account.username} is suspended ({reason}); `herotill account resume` comes first", "R2"
        )
    if conversion.to is AccountKind.PREPAID and (conversion.plan or conversion.cycle_day):
        name = "plan" if conversion.plan else "cycle_day"
        raise InvalidValue(
            name, getattr(conversion, name), "a prepaid account has no plan that recurs and no cycle"
        )
    if conversion.cycle_day is not None:
        check_cycle_day(conversion.cycle_day)


def _become_monthly(
    session: Session,
    account: Account,
    profile: BillingProfile | None,
    conversion: Conversion,
    now: datetime,
    time_zone: str,
) -> None:
    _forget_profile(session, profile)
    account.kind, account.cycle_day = str(AccountKind.MONTHLY), 1
    fresh = recurring.open_profile(session, account, Profile.MONTHLY, now, time_zone)
    account.cycle_day = conversion.cycle_day or local_day(now, fresh.time_zone).day
    session.flush()
    # RADIUS must know it as monthly before it is given a cycle.
    project_accounts(session, [account.username])
    if conversion.plan is not None:
        changes = {"plan": conversion.plan}
        recurring.change(session, username=account.username, changes=changes, now=now, time_zone=time_zone)
        open_cycles(
            session,
            until=now,
            now=now,
            limit=1,
            billed_by=conversion.converted_by,
            account_id=account.account_id,
        )


def _become_prepaid(session: Session, account: Account, profile: BillingProfile | None) -> None:
    """The cycle ends, and with it the policy its plan brought. Open bills stay to be paid."""
    _forget_profile(session, profile)
    account.kind, account.cycle_day, account.plan_policy = str(AccountKind.PREPAID), None, {}
    session.flush()
    session.execute(_FORGET_USED_UP, {"username": account.username})


def _forget_profile(session: Session, profile: BillingProfile | None) -> None:
    if profile is not None:
        session.delete(profile)
        session.flush()


def _announce(
    session: Session, account: Account, was: AccountKind, conversion: Conversion, now: datetime
) -> None:
    payload = {
        "user": account.username,
        "was": str(was),
        "became": str(conversion.to),
        "data": str(conversion.remainder),
        "by": conversion.converted_by,
    }
    number = session.scalar(select(text("pg_current_xact_id()::text")))
    key = f"account.converted:{account.account_id}:{number}"
    emit(session, "account.converted", key, payload, now, account.customer_id)
