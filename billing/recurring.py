"""Billing profiles: how an account is billed, and the plan that recurs (rules R18, R23, R24).

A monthly account without a row in the books has the defaults and nothing recurs. What a profile leads to is done by the
billing run; this module says what it is to do. Locks are taken in the order profile, customer, account.
"""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing import accounts, credit, plans
from billing.checks import check_cycle_day, check_policy
from billing.cycles import CycleLength, CycleRule, first_instant, local_day, next_begin
from billing.models import Account, BillingCycle, BillingProfile
from billing.terms import PlanTerms
from herotill.errors import InvalidValue, Refused
from herotill.snapshot import AccountKind, AccountStatus
from herotill.suspension import ENDED

MAX_PAYMENT_TERMS_DAYS = 365
DEFAULT_PAYMENT_TERMS_DAYS = 7

_PLAIN = ("automatic_bill", "automatic_suspend", "automatic_topup", "payment_terms_days")
_MONTHLY_ONLY = {
    "plan": ("a recurring plan", "R24"),
    "automatic_bill": ("automatic bill", "R23"),
    "automatic_suspend": ("automatic suspend", "R24"),
    "automatic_topup": ("automatic top-up", "R18"),
    "payment_terms_days": ("payment terms", "R23"),
    "cycle_length": ("a billing cycle", "R24"),
    "cycle_day": ("a billing cycle", "R24"),
    "ends_with_month": ("a billing cycle", "R24"),
    "begins_on": ("a billing cycle", "R24"),
}
FIELDS = ("profile", *_MONTHLY_ONLY)


class Profile(StrEnum):
    """The kinds of billing profile."""

    DAILY = "daily"
    MONTHLY = "monthly"


def profile_of(session: Session, account: Account) -> BillingProfile | None:
    """Return the account's billing profile, if it has one."""
    return session.get(BillingProfile, account.account_id)


def is_daily(session: Session, account: Account) -> bool:
    """Tell whether the account has the daily profile (rule R23)."""
    found = profile_of(session, account)
    return found is not None and found.profile == Profile.DAILY


def may_renew(session: Session, account: Account) -> bool:
    """Tell a daily account that is suspended only because it has ended: buying ends that (rule R23)."""
    has_ended = account.status == "suspended" and account.suspended_reason == ENDED
    return has_ended and is_daily(session, account)


def refuse_unless_may_renew(session: Session, account: Account, wish: str) -> None:
    """Raise Refused where an account is given nothing more: unverified, or not active and no daily one that has ended.

    `wish` follows "cannot", as "buy" does.
    """
    status = accounts.status_of(account)
    if status is AccountStatus.UNVERIFIED:
        raise Refused(f"{account.username} is not verified; `herotill customer verify` comes first", "R3")
    renews = status is AccountStatus.SUSPENDED and may_renew(session, account)
    if (status is not AccountStatus.ACTIVE or account.status != "active") and not renews:
        reason = account.suspended_reason or status
        raise Refused(f"{account.username} cannot {wish}: {account.status} ({reason})", "R23")


def recurs(session: Session, account: Account) -> bool:
    """Tell whether the account has a plan that recurs, which then brings its policy."""
    found = profile_of(session, account)
    return found is not None and found.plan_id is not None


def rule_of(profile: BillingProfile, cycle_day: int | None) -> CycleRule:
    """Return when this profile's cycles begin."""
    return CycleRule(CycleLength(profile.cycle_length), cycle_day or 1, profile.anchor_on)


def end_of_cycle(session: Session, account: Account, time_zone: str, now: datetime) -> datetime | None:
    """Return when the account's present cycle ends; None where it has no cycles. `time_zone` where it has no own."""
    if account.cycle_day is None:
        return None
    profile = profile_of(session, account)
    if profile is not None and profile.next_cycle_at is not None and profile.next_cycle_at > now:
        return profile.next_cycle_at
    zone = _zone(account, profile, time_zone)
    rule = CycleRule(day=account.cycle_day) if profile is None else rule_of(profile, account.cycle_day)
    return first_instant(next_begin(rule, local_day(now, zone)), zone)


def change(
    session: Session, *, username: str, changes: Mapping[str, Any], now: datetime, time_zone: str
) -> BillingProfile | None:
    """Change fields of a billing profile, making one where there is none. What a cycle has begun with stays.

    `changes` are of FIELDS: `profile` (a Profile, or None to be without one), `plan` (a name, or None: nothing recurs from
    the next cycle on), `begins_on` (the first day, not in the past), `cycle_length`, `cycle_day`, `ends_with_month`, and the
    columns of the table. Raises InvalidValue, and Refused where the kind of account cannot have what is asked for.
    """
    account, profile = hold(session, username)
    changes = dict(changes)
    if "profile" in changes:
        wanted: Profile | None = changes.pop("profile")
        if wanted is None:
            _close_profile(session, account, profile)
            profile = None
        else:
            _check_fits(account, wanted)
            profile = profile or open_profile(session, account, wanted, now, time_zone)
    _check_kind(account, changes)
    if not changes:
        return profile
    profile = profile or open_profile(session, account, Profile.MONTHLY, now, time_zone)
    _change_plain(profile, changes)
    _change_cycle(account, profile, changes, now)
    if "plan" in changes:
        _change_plan(session, account, profile, changes, now)
    session.flush()
    return profile


def hold(session: Session, username: str) -> tuple[Account, BillingProfile | None]:
    """Hold an account with its profile and its customer, in the order in which everybody takes these locks."""
    account = accounts.get(session, username)
    profile = session.get(
        BillingProfile, account.account_id, with_for_update={"of": BillingProfile}, populate_existing=True
    )
    if account.customer_id is not None:
        credit.lock(session, account.customer_id)
    return accounts.get(session, username, lock=True), profile


def open_profile(
    session: Session, account: Account, profile: Profile, now: datetime, time_zone: str
) -> BillingProfile:
    """Give an account a profile with the defaults."""
    zone = _zone(account, None, time_zone)
    today = local_day(now, zone)
    new = BillingProfile(
        account_id=account.account_id,
        profile=str(profile),
        opened_on=today,
        anchor_on=today,
        time_zone=zone,
    )
    session.add(new)
    session.flush()
    return new


def _zone(account: Account, profile: BillingProfile | None, time_zone: str) -> str:
    if profile is not None:
        return profile.time_zone
    group = None if account.customer is None else account.customer.group
    return time_zone if group is None else group.time_zone


def _check_fits(account: Account, wanted: Profile) -> None:
    """Each kind of account has one profile that fits (rules R1, R23, R24)."""
    fitting = {AccountKind.PREPAID: Profile.DAILY, AccountKind.MONTHLY: Profile.MONTHLY}
    if fitting.get(AccountKind(account.kind)) is wanted:
        return
    rule, kind = ("R23", "prepaid") if wanted is Profile.DAILY else ("R24", "monthly")
    hint = "" if account.kind == AccountKind.HOTSPOT else "; `herotill account convert` changes the kind"
    raise Refused(
        f"{account.username} is {account.kind}; the {wanted} profile is for {kind} accounts{hint}", rule
    )


def _close_profile(session: Session, account: Account, profile: BillingProfile | None) -> None:
    if account.kind == AccountKind.MONTHLY:
        raise Refused(f"{account.username} is monthly and has the monthly profile", "R24")
    if profile is not None:
        session.delete(profile)
        session.flush()


def _check_kind(account: Account, changes: Mapping[str, Any]) -> None:
    for name in changes:
        if name not in _MONTHLY_ONLY:
            raise InvalidValue(name, changes[name], f"a billing profile has {', '.join(FIELDS)}")
        what, rule = _MONTHLY_ONLY[name]
        if account.kind != AccountKind.MONTHLY:
            reason = f"{account.username} is {account.kind}, and {what} is for monthly accounts only"
            raise Refused(f"{reason}: they alone have billing cycles", rule)


def _change_plain(profile: BillingProfile, changes: Mapping[str, Any]) -> None:
    days = changes.get("payment_terms_days", 0)
    if not 0 <= days <= MAX_PAYMENT_TERMS_DAYS:
        raise InvalidValue("payment_terms_days", days, f"it is 0 to {MAX_PAYMENT_TERMS_DAYS} days")
    for name in _PLAIN:
        if name in changes:
            setattr(profile, name, changes[name])


def _change_cycle(
    account: Account, profile: BillingProfile, changes: Mapping[str, Any], now: datetime
) -> None:
    """Change how cycles are cut from the next one on; the one that runs keeps its end."""
    today = local_day(now, profile.time_zone)
    begins_on = changes.get("begins_on") or profile.next_cycle_on or today
    if begins_on < today:
        raise InvalidValue("begins_on", str(begins_on), f"it is today, {today}, or later")
    if "begins_on" in changes and profile.next_cycle_on is not None:
        raise Refused("the cycles have begun and stay where they are; `--cycle-day` moves the next", "R24")
    if "cycle_length" in changes:
        profile.cycle_length = str(CycleLength(changes["cycle_length"]))
        profile.anchor_on = begins_on
    if changes.get("ends_with_month") and changes.get("cycle_day", 1) != 1:
        raise InvalidValue(
            "cycle_day", changes["cycle_day"], "a cycle that ends with the month begins on the 1st"
        )
    if "ends_with_month" in changes:
        account.cycle_day = 1 if changes["ends_with_month"] else begins_on.day
    if "cycle_day" in changes:
        check_cycle_day(changes["cycle_day"])
        account.cycle_day = changes["cycle_day"]


def _change_plan(
    session: Session, account: Account, profile: BillingProfile, changes: Mapping[str, Any], now: datetime
) -> None:
    if changes["plan"] is None:
        profile.plan_id = profile.next_cycle_on = profile.next_cycle_at = None
        profile.paused = False
        return
    plan = plans.get(session, changes["plan"])
    terms = PlanTerms.of(plan)
    if AccountKind.MONTHLY not in terms.kinds:
        raise Refused(f"{plan.name} is sold to {', '.join(terms.kinds)} accounts, not to monthly ones", "R1")
    check_policy(terms.policy.to_mapping(), account.policy or {})
    profile.plan_id = plan.plan_id
    if profile.next_cycle_on is None and not profile.paused:
        _begin(profile, changes.get("begins_on") or _free_from(session, profile, now))


def _begin(profile: BillingProfile, on: date) -> None:
    if profile.cycle_length == CycleLength.THIRTY_DAYS:
        profile.anchor_on = on
    profile.next_cycle_on, profile.next_cycle_at = on, first_instant(on, profile.time_zone)


def _free_from(session: Session, profile: BillingProfile, now: datetime) -> date:
    """Return the first day no cycle that was opened before covers, today at the earliest."""
    ends = select(func.max(BillingCycle.ends_at)).where(
        BillingCycle.account_id == profile.account_id, BillingCycle.began_on >= profile.opened_on
    )
    last_end = session.scalar(ends)
    return local_day(now if last_end is None else max(now, last_end), profile.time_zone)
