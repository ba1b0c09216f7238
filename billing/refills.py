"""Redeeming refills: a code that is no login adds to an account or ticket, once (rules R8, R9, R10).

The answer to every code that gives nothing is the same, whether it never was, is not sold, or was used by somebody else.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing import accounts, recurring, suspension
from billing.events import emit
from billing.models import Account, RefillRedemption, Voucher
from billing.new_batches import SellWhen
from billing.projection import Offer, grant, notify_accounts
from billing.refill_attempts import Attempt, note_failure, too_many
from billing.sealed_codes import CodeKeys
from billing.terms import GrantClocks, PlanTerms, clocks_of_purchase
from billing.vouchers import UNSOLD, Sold, sell_all
from herotill.errors import Refused
from herotill.grants import Grant, grant_from_row
from herotill.refilling import Refilled, refill
from herotill.snapshot import AccountKind

NOT_VALID = "this code cannot be used"
TOO_MANY = "too many codes that cannot be used; try again in a quarter of an hour"

# As the meter locks it before it reads grants: what is read here is what is changed here.
_LOCK_ACCOUNT = text("SELECT FROM radius.managed_account WHERE username = :username FOR NO KEY UPDATE")
_GRANTS = text("""
    (SELECT * FROM radius.entitlement WHERE username = :username AND ended_at IS NULL)
    UNION ALL
    (SELECT * FROM radius.entitlement WHERE username = :username AND ended_at IS NOT NULL
     ORDER BY ended_at DESC, entitlement_id DESC LIMIT 1)
""")
_CHANGE_GRANT = text("""
    UPDATE radius.entitlement SET
        quota_octets = :quota_octets, quota_seconds = :quota_seconds, expires_at = :expires_at,
        seconds_after_first_use = :seconds_after_first_use, seconds_after_last_use = :seconds_after_last_use,
        policy = CAST(:policy AS jsonb)
    WHERE entitlement_id = :entitlement_id
""")
_TAKE_OVERUSE = text("""
    UPDATE radius.entitlement
    SET used_input_octets = :input_octets, used_output_octets = :output_octets, used_seconds = :seconds
    WHERE external_key = :external_key
""")
_END_GRANT = text("""
    UPDATE radius.entitlement SET ended_at = :ended_at, ended_reason = :ended_reason
    WHERE external_key = :external_key
""")
_USE_VOUCHER = text("""
    UPDATE billing.voucher SET state = 'in_use', changed_at = :now, changed_by = :actor, changed_reason = :reason
    WHERE voucher_id = :voucher_id AND state = 'sold'
    RETURNING voucher_id
""")
_NAME_PURCHASE = text("""
    UPDATE billing.purchase SET account_id = :account_id WHERE voucher_id = :voucher_id AND account_id IS NULL
""")


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The refill was added; `repeated` when this account had it from this very code before."""

    username: str
    plan_name: str
    serial: str
    expires_at: datetime | None
    repeated: bool


@dataclass(frozen=True, slots=True)
class NotRedeemed:
    """Nothing was added, and why, as the customer may hear it."""

    sentence: str


def redeem(
    session: Session, *, attempt: Attempt, keys: CodeKeys, now: datetime, time_zone: str = "UTC"
) -> Redeemed | NotRedeemed:
    """Add a refill to an account. Commit in either case: a failure must be remembered.

    Raises InvalidValue or Refused, before the code is looked at, where the account cannot be refilled at all.
    """
    recurring.refuse_unless_may_renew(session, accounts.get(session, attempt.username), "be refilled")
    if too_many(session, attempt, now):
        return NotRedeemed(TOO_MANY)
    voucher = _find(session, attempt, keys)
    if voucher is None:
        note_failure(session, attempt, now)
        return NotRedeemed(NOT_VALID)
    # The voucher first, then the account: in the order in which everybody holds them.
    account = accounts.get(session, attempt.username, lock=True)
    recurring.refuse_unless_may_renew(session, account, "be refilled")
    before = session.get(RefillRedemption, voucher.voucher_id)
    if before is not None and before.account_id == account.account_id:
        return _redeemed(session, voucher, account, repeated=True)
    terms = PlanTerms.from_mapping(voucher.batch.plan_terms)
    if not _take(session, voucher, attempt, terms, now):
        note_failure(session, attempt, now)
        return NotRedeemed(NOT_VALID)
    _check_kind(account, voucher, terms)
    _record(session, voucher, account, attempt, now)
    _deliver(session, voucher, account, _clocks(session, account, terms, now, time_zone), now)
    if account.status == "suspended":
        suspension.resume_after_sale(session, account, now)
    redeemed = _redeemed(session, voucher, account, repeated=False)
    _announce(session, account, redeemed, now)
    return redeemed


def _announce(session: Session, account: Account, redeemed: Redeemed, now: datetime) -> None:
    payload = {
        "username": redeemed.username,
        "plan": redeemed.plan_name,
        "serial": redeemed.serial,
        "expires_at": redeemed.expires_at,
    }
    emit(session, "refill.redeemed", f"refill:{redeemed.serial}", payload, now, account.customer_id)


def _check_kind(account: Account, voucher: Voucher, terms: PlanTerms) -> None:
    """Who holds a code that is good learns why it does not fit; the transaction takes back that it was used."""
    if AccountKind(account.kind) not in terms.kinds:
        sold_to = ", ".join(terms.kinds)
        plan = voucher.batch.plan_name
        raise Refused(f"{plan} is for {sold_to} accounts; {account.username} is {account.kind}", "R1")


def _find(session: Session, attempt: Attempt, keys: CodeKeys) -> Voucher | None:
    query = select(Voucher).where(Voucher.code_hash == keys.hash_of(attempt.code))
    locked = query.with_for_update(of=Voucher, key_share=True).execution_options(populate_existing=True)
    return session.scalars(locked).one_or_none()


def _take(session: Session, voucher: Voucher, attempt: Attempt, terms: PlanTerms, now: datetime) -> bool:
    """Put the code in use, selling it first where its use sells it; False where it gives nothing (rule R8)."""
    batch = voucher.batch
    if batch.codes_expire_at is not None and batch.codes_expire_at <= now:
        return False
    if terms.valid_until is not None and terms.valid_until <= now:
        return False
    if voucher.state in UNSOLD and batch.sell == SellWhen.FIRST_USE:
        sell_all(session, batch, [voucher.voucher_id], Sold(now, attempt.actor, "sold on first use"))
    used = {"now": now, "actor": attempt.actor, "reason": f"refilled {attempt.username}"}
    return session.execute(_USE_VOUCHER, used | {"voucher_id": voucher.voucher_id}).first() is not None


def _record(session: Session, voucher: Voucher, account: Account, attempt: Attempt, now: datetime) -> None:
    redemption = {
        "voucher_id": voucher.voucher_id,
        "account_id": account.account_id,
        "redeemed_at": now,
        "redeemed_by": attempt.actor,
    }
    session.execute(insert(RefillRedemption).values(redemption))
    session.execute(_NAME_PURCHASE, redemption)
    account.retires_at = None


def _clocks(
    session: Session, account: Account, terms: PlanTerms, now: datetime, time_zone: str
) -> GrantClocks:
    return clocks_of_purchase(terms, now, recurring.end_of_cycle(session, account, time_zone, now))


def _deliver(
    session: Session, voucher: Voucher, account: Account, clocks: GrantClocks, now: datetime
) -> None:
    """Grant the refill and change what it refills, as the plan says (rule R9)."""
    terms = PlanTerms.from_mapping(voucher.batch.plan_terms)
    fresh = _fresh_grant(voucher, terms, clocks, now)
    session.execute(_LOCK_ACCOUNT, {"username": account.username})
    rows = session.execute(_GRANTS, {"username": account.username}).mappings()
    refilled = refill([grant_from_row(dict(row)) for row in rows], fresh, terms.refill, now)
    for changed in refilled.changed:
        session.execute(_CHANGE_GRANT, _grant_columns(changed))
    _grant(session, voucher, account, refilled, (terms, now))
    notify_accounts(session, [account.username])


def _grant(
    session: Session,
    voucher: Voucher,
    account: Account,
    refilled: Refilled,
    sold: tuple[PlanTerms, datetime],
) -> None:
    terms, now = sold
    given = refilled.grant
    key = f"voucher:{voucher.voucher_id}"
    as_given = replace(
        terms, quota_octets=given.quota_octets, quota_seconds=given.quota_seconds, policy=given.policy
    )
    clocks = GrantClocks(given.expires_at, given.seconds_after_first_use, given.seconds_after_last_use)
    grant(session, Offer("voucher", voucher.batch.plan_name, as_given, clocks, now), {key: account.username})
    if given.used:
        used = {
            "input_octets": given.used.input_octets,
            "output_octets": given.used.output_octets,
            "seconds": given.used.seconds,
        }
        session.execute(_TAKE_OVERUSE, used | {"external_key": key})
    if given.ended_reason is not None:
        ended = {"ended_at": given.ended_at, "ended_reason": str(given.ended_reason)}
        session.execute(_END_GRANT, ended | {"external_key": key})


def _fresh_grant(voucher: Voucher, terms: PlanTerms, clocks: GrantClocks, now: datetime) -> Grant:
    return Grant(
        grant_id=0,
        plan_name=voucher.batch.plan_name,
        source="voucher",
        counting=terms.counting,
        priority=terms.priority,
        policy=terms.policy,
        granted_at=now,
        quota_octets=terms.quota_octets,
        quota_seconds=terms.quota_seconds,
        expires_at=clocks.expires_at,
        seconds_after_first_use=clocks.seconds_after_first_use,
        seconds_after_last_use=clocks.seconds_after_last_use,
    )


def _grant_columns(changed: Grant) -> dict[str, Any]:
    return {
        "entitlement_id": changed.grant_id,
        "quota_octets": changed.quota_octets,
        "quota_seconds": changed.quota_seconds,
        "expires_at": changed.expires_at,
        "seconds_after_first_use": changed.seconds_after_first_use,
        "seconds_after_last_use": changed.seconds_after_last_use,
        "policy": json.dumps(changed.policy.to_mapping()),
    }


def _redeemed(session: Session, voucher: Voucher, account: Account, *, repeated: bool) -> Redeemed:
    key = f"voucher:{voucher.voucher_id}"
    expires_at = session.scalar(
        text("SELECT expires_at FROM radius.entitlement WHERE external_key = :key"), {"key": key}
    )
    return Redeemed(account.username, voucher.batch.plan_name, voucher.serial, expires_at, repeated)
