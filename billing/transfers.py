"""Transfers: unused octets go from one account to another, once per key, where what was sold allows it (rule R20).

What one account loses the other gets, to the octet, whatever is used or given at the same moment: both accounts are locked
as the meter locks them. What was given keeps its plan, its policy and its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing import accounts, credit
from billing.charging import Charge, PaidBy, charge
from billing.checks import check_one_line
from billing.cutting import cut_sessions
from billing.events import emit
from billing.models import Account, Transfer, TransferPart
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from billing.projection import Offer, grant, notify_accounts
from billing.terms import GrantClocks, PlanTerms
from herotill.errors import InvalidValue, Refused
from herotill.grants import Grant, burn_order, grant_from_row
from herotill.quantities import MAX_OCTETS, Money, format_octets
from herotill.snapshot import AccountStatus
from herotill.transferring import Part, take_octets, transferable_octets

MAX_KEY_CHARACTERS = 200

# In one order, as the meter locks accounts before it reads their grants.
_LOCK_ACCOUNTS = text("""
    SELECT username FROM radius.managed_account WHERE username = ANY(:usernames) ORDER BY username FOR NO KEY UPDATE
""")
# Locked, as the login does that promises a slice.
_GRANTS = text("""
    SELECT * FROM radius.entitlement WHERE username = :username AND ended_at IS NULL ORDER BY entitlement_id FOR UPDATE
""")
_PROMISED = text("""
    SELECT entitlement_id, sum(GREATEST(octets - used_octets, 0))::bigint AS octets FROM radius.reservation
    WHERE username = :username AND released_at IS NULL AND expires_at > :now GROUP BY entitlement_id
""")
_SHRINK = text("""
    UPDATE radius.entitlement
    SET quota_octets = quota_octets - :octets,
        ended_at = CASE WHEN quota_octets - :octets <= used_octets THEN CAST(:now AS timestamptz) END,
        ended_reason = CASE WHEN quota_octets - :octets <= used_octets THEN 'quota' END
    WHERE entitlement_id = :entitlement_id
    RETURNING external_key, ended_at IS NOT NULL AS has_ended
""")
# Told already: for `herotill explain`, which reads the schema radius alone.
_TELL = text("""
    INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at, booked_at, details)
    VALUES (:event_key, 'transfer', :username, :entitlement_id, :now, :now,
            jsonb_build_object('octets', CAST(:octets AS bigint), 'to', CAST(:to AS text)))
    ON CONFLICT (event_key) DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be transferred. The same `key` does it once. The fee is taken from the giver's balance."""

    giver: str
    receiver: str
    octets: int
    key: str
    by: str
    fee: Money


@dataclass(frozen=True, slots=True)
class Transferred:
    """What came of it; `repeated` when its key was used before and nothing happened now."""

    transfer_id: int
    giver: str
    receiver: str
    octets: int
    fee: Money
    transferred_at: datetime
    repeated: bool


def transfer(session: Session, *, wish: Wish, now: datetime) -> Transferred:
    """Transfer octets. Raises Refused with both figures where there are not enough, InvalidValue for unknown names."""
    _check(wish)
    before = _find(session, wish)
    if before is not None:
        return _as_transferred(before, repeated=True)
    giver, receiver = _held(session, wish)
    _check_accounts(giver, receiver)
    added = _record(session, wish, (giver, receiver), now)
    if added is None:
        return _transferred_meanwhile(session, wish)
    made = session.get_one(Transfer, added)
    _charge(session, made, giver)
    _move(session, made)
    _announce(session, made)
    return _as_transferred(made, repeated=False)


SORT_KEYS: SortKeys = {"octets": Transfer.octets, "transferred_at": Transfer.transferred_at}


def listing(session: Session, *, username: str = "", page: Page = FIRST_PAGE) -> list[Transfer]:
    """Return transfers from or to an account, or all, newest first."""
    query = select(Transfer)
    if username:
        named = select(Account.account_id).where(Account.username == username)
        query = query.where(or_(Transfer.from_account_id.in_(named), Transfer.to_account_id.in_(named)))
    return list(session.scalars(paged(query, page, SORT_KEYS, Transfer.transfer_id.desc())))


def _check(wish: Wish) -> None:
    if not 1 <= wish.octets <= MAX_OCTETS:
        raise InvalidValue("octets", wish.octets, f"it is a whole number from 1 to {MAX_OCTETS}")
    if wish.giver == wish.receiver:
        raise InvalidValue("to", wish.receiver, "it is another account")
    if wish.fee.minor < 0:
        raise InvalidValue("fee", str(wish.fee), "it is zero or more")
    check_one_line("key", wish.key, MAX_KEY_CHARACTERS)


def _held(session: Session, wish: Wish) -> tuple[Account, Account]:
    """Lock customers, then accounts, each in the order of their numbers: the order everybody takes these locks in."""
    found = [accounts.get(session, name) for name in (wish.giver, wish.receiver)]
    if wish.fee.minor and found[0].customer_id is not None:
        credit.lock(session, found[0].customer_id)
    for account in sorted(found, key=lambda account: account.account_id):
        accounts.get(session, account.username, lock=True)
    return found[0], found[1]


def _check_accounts(giver: Account, receiver: Account) -> None:
    for account in (giver, receiver):
        status = accounts.status_of(account)
        if status is AccountStatus.UNVERIFIED:
            raise Refused(f"{account.username} is not verified; `herotill customer verify` comes first", "R3")
        if status is not AccountStatus.ACTIVE or account.status != "active":
            why = account.suspended_reason or status
            raise Refused(f"{account.username} takes no part in transfers: {account.status} ({why})", "R20")


def _find(session: Session, wish: Wish) -> Transfer | None:
    found = session.scalars(select(Transfer).where(Transfer.idempotency_key == wish.key)).one_or_none()
    if found is None:
        return None
    had = (found.from_account.username, found.to_account.username, found.octets)
    if had != (wish.giver, wish.receiver, wish.octets):
        raise Refused(f"key {wish.key} transferred something else before; use another key", "R20")
    return found


def _record(session: Session, wish: Wish, between: tuple[Account, Account], now: datetime) -> int | None:
    new = insert(Transfer).values(
        idempotency_key=wish.key,
        from_account_id=between[0].account_id,
        to_account_id=between[1].account_id,
        octets=wish.octets,
        fee_minor=wish.fee.minor,
        currency=wish.fee.currency,
        transferred_at=now,
        transferred_by=wish.by,
    )
    return session.scalar(new.on_conflict_do_nothing().returning(Transfer.transfer_id))


def _transferred_meanwhile(session: Session, wish: Wish) -> Transferred:
    """Another transaction committed the same key between our look and our insert."""
    found = _find(session, wish)
    if found is None:
        raise Refused(f"key {wish.key} is being used by somebody else; try again", "R20")
    return _as_transferred(found, repeated=True)


def _as_transferred(made: Transfer, *, repeated: bool) -> Transferred:
    names = (made.from_account.username, made.to_account.username)
    fee = Money(made.fee_minor, made.currency)
    return Transferred(made.transfer_id, *names, made.octets, fee, made.transferred_at, repeated)


def _charge(session: Session, made: Transfer, giver: Account) -> None:
    if not made.fee_minor:
        return
    if giver.customer_id is None:
        raise Refused(f"{giver.username} belongs to no customer and has no balance to pay a fee from", "R25")
    fee = Money(made.fee_minor, made.currency)
    description = f"transfer of {format_octets(made.octets)} to {made.to_account.username}"
    key, by, at = f"transfer:{made.transfer_id}", made.transferred_by, made.transferred_at
    charge(session, Charge("the transfer", fee, key, description, by, at), giver.customer_id, PaidBy.BALANCE)


def _move(session: Session, made: Transfer) -> None:
    """Take from the giver's grants in the order they burn, and give each part to the receiver as it was."""
    giver, receiver = made.from_account.username, made.to_account.username
    now = made.transferred_at
    session.flush()
    session.execute(_LOCK_ACCOUNTS, {"usernames": [giver, receiver]})
    grants = _living(session, giver, now)
    parts = take_octets(grants, _promised(session, giver, now), made.octets)
    if parts is None:
        _refuse(giver, made.octets, grants, _promised(session, giver, now))
    for number, part in enumerate(parts or (), 1):
        _move_part(session, made, number, part)
    notify_accounts(session, [giver])
    if not _living(session, giver, now):
        cut_sessions(session, [giver], reason="transferred", now=now)


def _living(session: Session, username: str, now: datetime) -> list[Grant]:
    rows = session.execute(_GRANTS, {"username": username}).mappings()
    return burn_order([grant_from_row(dict(row)) for row in rows], now)


def _promised(session: Session, username: str, now: datetime) -> dict[int, int]:
    rows = session.execute(_PROMISED, {"username": username, "now": now})
    return {row.entitlement_id: row.octets for row in rows}


def _refuse(giver: str, wanted: int, grants: Sequence[Grant], promised: Mapping[int, int]) -> None:
    available = sum(transferable_octets(each, promised.get(each.grant_id, 0)) for each in grants)
    reason = (
        "" if available or not grants else "; no plan it has allows transfers, or its rest is not limited"
    )
    raise Refused(
        f"{giver} can give {format_octets(available)}, {format_octets(wanted)} were asked for{reason}", "R20"
    )


def _move_part(session: Session, made: Transfer, number: int, part: Part) -> None:
    now, source = made.transferred_at, part.grant
    change = {"entitlement_id": source.grant_id, "octets": part.octets, "now": now}
    shrunk = session.execute(_SHRINK, change).one()
    session.add(
        TransferPart(
            transfer_id=made.transfer_id, part=number, from_grant_key=shrunk.external_key, octets=part.octets
        )
    )
    key = f"transfer:{made.transfer_id}:{number}"
    grant(session, _offer(part, now), {key: made.to_account.username})
    told = {"event_key": key, "username": made.from_account.username, "to": made.to_account.username}
    session.execute(_TELL, change | told)


def _offer(part: Part, now: datetime) -> Offer:
    source = part.grant
    terms = PlanTerms(
        price=Money(0, "XXX"),
        quota_octets=part.octets,
        counting=source.counting,
        priority=source.priority,
        policy=source.policy,
    )
    # A clock that was started goes on; one that was not starts with the receiver's first use.
    after_first_use = source.seconds_after_first_use if source.first_used_at is None else None
    clocks = GrantClocks(source.expires_at, after_first_use, source.seconds_after_last_use)
    return Offer("transfer", source.plan_name, terms, clocks, now)


def _announce(session: Session, made: Transfer) -> None:
    giver, receiver = made.from_account, made.to_account
    payload: dict[str, Any] = {
        "from_username": giver.username,
        "username": receiver.username,
        "given_octets": made.octets,
        "fee_minor": made.fee_minor,
        "currency": made.currency,
        "by": made.transferred_by,
    }
    key, at = f"transfer:{made.transfer_id}", made.transferred_at
    emit(session, "transfer.sent", f"{key}:sent", payload, at, giver.customer_id)
    emit(session, "transfer.received", f"{key}:received", payload, at, receiver.customer_id)
