"""Top-ups: an operator gives an account data or time for nothing, with a reason, once per key (rule R19).

Every kind of account can be topped up. What is given is a grant of its own; it has the rates and endings the account has
now, so that a top-up changes how much, never how fast.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing import accounts
from billing.checks import check_one_line
from billing.events import emit
from billing.models import Account, TopUp
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from billing.projection import Offer, grant
from billing.terms import GrantClocks, PlanTerms
from herotill.errors import InvalidValue, Refused
from herotill.policy import Counting, ServicePolicy
from herotill.quantities import MAX_OCTETS, MAX_SECONDS, Money, format_octets, format_seconds
from herotill.snapshot import AccountStatus

PLAN_NAME = "top-up"
MAX_KEY_CHARACTERS = 200
NO_CURRENCY = "XXX"  # ISO 4217: no currency is involved

# What the account has now: of the grants that live the one sold last, else the one that ended last, else its own policy.
_STANDING = text("""
    SELECT counting, policy FROM (
        SELECT counting, policy, ended_at, granted_at, entitlement_id FROM radius.entitlement
        WHERE username = :username AND ended_reason IS DISTINCT FROM 'void'
        UNION ALL
        SELECT 'sum', policy, '-infinity', '-infinity', 0 FROM billing.projected_account
        WHERE username = :username) AS known
    ORDER BY ended_at DESC NULLS FIRST, granted_at DESC, entitlement_id DESC LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Gift:
    """What is to be given, to whom, and why. The same `key` gives it once; without `valid_seconds` it does not expire."""

    username: str
    key: str
    given_by: str
    reason: str
    octets: int | None = None
    seconds: int | None = None
    valid_seconds: int | None = None

    @property
    def amount(self) -> str:
        """What is given, in words."""
        parts = [] if self.octets is None else [format_octets(self.octets)]
        return " and ".join(parts if self.seconds is None else [*parts, format_seconds(self.seconds)])


@dataclass(frozen=True, slots=True)
class Given:
    """What came of it; `repeated` when its key was given before and nothing happened now."""

    top_up_id: int
    username: str
    octets: int | None
    seconds: int | None
    expires_at: datetime | None
    given_at: datetime
    repeated: bool


def top_up(session: Session, *, gift: Gift, now: datetime) -> Given:
    """Give it. Raises InvalidValue for an impossible amount or an unknown account, Refused where the rules forbid it."""
    _check(gift)
    before = _find(session, gift)
    if before is not None:
        return _given(before, gift.username, repeated=True)
    account = accounts.get(session, gift.username, lock=True)
    _check_account(account)
    added = _record(session, gift, account, now)
    if added is None:
        return _given_meanwhile(session, gift)
    made = session.get_one(TopUp, added)
    account.retires_at = None
    _deliver(session, made, account, gift)
    return _given(made, account.username, repeated=False)


SORT_KEYS: SortKeys = {
    "user": Account.username,
    "octets": TopUp.quota_octets,
    "time": TopUp.quota_seconds,
    "given_at": TopUp.topped_up_at,
}


def listing(session: Session, *, username: str = "", page: Page = FIRST_PAGE) -> list[TopUp]:
    """Return top-ups, newest first."""
    query = select(TopUp).join(Account)
    if username:
        query = query.where(Account.username == username)
    return list(session.scalars(paged(query, page, SORT_KEYS, TopUp.top_up_id.desc())))


def _check(gift: Gift) -> None:
    if gift.octets is None and gift.seconds is None:
        raise InvalidValue("octets", None, "say how much: octets, seconds, or both")
    limits = {"octets": MAX_OCTETS, "seconds": MAX_SECONDS, "valid_seconds": MAX_SECONDS}
    for name, most in limits.items():
        value = getattr(gift, name)
        if value is not None and not 1 <= value <= most:
            raise InvalidValue(name, value, f"it is a whole number from 1 to {most}")
    check_one_line("reason", gift.reason, 500)
    check_one_line("key", gift.key, MAX_KEY_CHARACTERS)


def _check_account(account: Account) -> None:
    if accounts.status_of(account) is AccountStatus.UNVERIFIED:
        raise Refused(f"{account.username} is not verified; `herotill customer verify` comes first", "R3")
    if account.status == "stored":
        raise Refused(f"{account.username} is a code that is not sold yet", "R8")


def _find(session: Session, gift: Gift) -> TopUp | None:
    found = session.scalars(select(TopUp).where(TopUp.idempotency_key == gift.key)).one_or_none()
    if found is None:
        return None
    had = (found.account.username, found.quota_octets, found.quota_seconds, found.valid_seconds)
    if had != (gift.username, gift.octets, gift.seconds, gift.valid_seconds):
        raise Refused(f"key {gift.key} gave {had[0]} something else before; use another key", "R19")
    return found


def _record(session: Session, gift: Gift, account: Account, now: datetime) -> int | None:
    new = insert(TopUp).values(
        idempotency_key=gift.key,
        account_id=account.account_id,
        quota_octets=gift.octets,
        quota_seconds=gift.seconds,
        valid_seconds=gift.valid_seconds,
        reason=gift.reason,
        topped_up_at=now,
        topped_up_by=gift.given_by,
    )
    return session.scalar(new.on_conflict_do_nothing().returning(TopUp.top_up_id))


def _given_meanwhile(session: Session, gift: Gift) -> Given:
    """Another transaction committed the same key between our look and our insert."""
    found = _find(session, gift)
    if found is None:
        raise Refused(f"key {gift.key} is being used by somebody else; try again", "R19")
    return _given(found, gift.username, repeated=True)


def _given(made: TopUp, username: str, *, repeated: bool) -> Given:
    expires_at = _expires_at(made)
    return Given(
        made.top_up_id,
        username,
        made.quota_octets,
        made.quota_seconds,
        expires_at,
        made.topped_up_at,
        repeated,
    )


def _expires_at(made: TopUp) -> datetime | None:
    return None if made.valid_seconds is None else made.topped_up_at + timedelta(seconds=made.valid_seconds)


def _deliver(session: Session, made: TopUp, account: Account, gift: Gift) -> None:
    counting, policy = _standing(session, account.username)
    terms = PlanTerms(
        price=Money(0, NO_CURRENCY),
        quota_octets=made.quota_octets,
        quota_seconds=made.quota_seconds,
        counting=counting,
        policy=policy,
    )
    clocks = GrantClocks(_expires_at(made), None, None)
    key = f"topup:{made.top_up_id}"
    grant(session, Offer("topup", PLAN_NAME, terms, clocks, made.topped_up_at), {key: account.username})
    payload: dict[str, Any] = {
        "username": account.username,
        "given": gift.amount,
        "given_octets": made.quota_octets,
        "given_seconds": made.quota_seconds,
        "expires_at": clocks.expires_at,
        "reason": made.reason,
        "given_by": made.topped_up_by,
    }
    emit(session, "topup", key, payload, made.topped_up_at, account.customer_id)


def _standing(session: Session, username: str) -> tuple[Counting, ServicePolicy]:
    row = session.execute(_STANDING, {"username": username}).one_or_none()
    if row is None:
        return Counting.SUM, ServicePolicy()
    policy = json.loads(row.policy) if isinstance(row.policy, str) else row.policy
    return Counting(row.counting), ServicePolicy.from_mapping(policy)
