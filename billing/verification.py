"""Codes by e-mail and SMS: they verify a customer, and let the owner of an account choose a new password (rule R3).

A code goes out as an event and is kept here as a keyed hash. It is good once, for a while, for so many tries, and only as
long as the address it went to is still the customer's. A wrong, an old and a missing code get the same answer.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing import accounts, customers
from billing.checks import check_secret
from billing.events import emit
from billing.models import Account, ContactCode, Customer
from herotill.errors import Refused

CODE_DIGITS = 8
MOST_ATTEMPTS = 5
MOST_CODES = 5
CODES_WITHIN = timedelta(hours=1)
GONE = "(ended)"  # what an event says in the place of a code that is good no more

# A code stands in its event until it has ended.
_HIDE_CODES = text("""
    UPDATE billing.event SET payload = payload || jsonb_build_object('code', CAST(:gone AS text))
    WHERE event_key = ANY(:keys)
""")
_EXPIRE = text("""
    UPDATE billing.contact_code SET ended_at = :now, ended_reason = 'expired'
    WHERE contact_code_id IN (SELECT contact_code_id FROM billing.contact_code
                              WHERE ended_at IS NULL AND expires_at <= :now
                              ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING contact_code_id
""")


class Channel(StrEnum):
    """How a code gets to a customer."""

    EMAIL = "email"
    SMS = "sms"


class Purpose(StrEnum):
    """What a code is good for."""

    VERIFY = "verify"
    RESET = "reset"


KINDS = {Purpose.VERIFY: "verification.code", Purpose.RESET: "password.reset"}
LIFETIMES = {Purpose.VERIFY: timedelta(hours=24), Purpose.RESET: timedelta(minutes=30)}


@dataclass(frozen=True, slots=True, repr=False)
class ContactKey:
    """The key codes are hashed with; it is not in the database."""

    key: bytes

    @classmethod
    def of_secret(cls, secret: str) -> "ContactKey":
        """Derive it from a hexadecimal setting."""
        return cls(hmac.digest(bytes.fromhex(secret), b"contact codes", hashlib.sha256))

    def hash_of(self, code: str, customer_id: int) -> bytes:
        """Return what is kept of a code; blanks and dashes do not matter."""
        plain = "".join(code.split()).replace("-", "")
        return hmac.digest(self.key, f"{customer_id}:{plain}".encode("utf-8", "replace"), hashlib.sha256)


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a code is on its way to, and until when it is good."""

    address: str
    expires_at: datetime


def new_code() -> str:
    """Return a fresh code, as people type it from a telephone."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def address_of(customer: Customer, channel: Channel) -> str | None:
    """Return where this channel reaches a customer."""
    return customer.email if channel is Channel.EMAIL else customer.phone


def send_verification(
    session: Session, *, reference: str, channel: Channel, key: ContactKey, now: datetime
) -> Sent:
    """Send a customer a code that verifies it. Raises Refused, also when it has had too many of late."""
    customer = _locked(session, customers.get(session, reference))
    if customer.verified_at is not None:
        raise Refused(f"customer {customer.account_number} is verified already", "R3")
    return _send(session, customer, None, channel=channel, key=key, now=now)


def send_reset(session: Session, *, username: str, channel: Channel, key: ContactKey, now: datetime) -> Sent:
    """Send an account's customer a code with which it chooses a new password. Raises Refused."""
    account = accounts.get(session, username)
    if account.customer is None:
        raise Refused(
            f"{username} belongs to no customer; `herotill account password` sets its password", "R3"
        )
    return _send(session, _locked(session, account.customer), account, channel=channel, key=key, now=now)


def verify_by_code(session: Session, *, reference: str, code: str, key: ContactKey, now: datetime) -> bool:
    """Verify a customer who knows the code; False when it is not a good one. The caller commits either way."""
    customer = _locked(session, customers.get(session, reference))
    channel = _redeem(session, customer, None, typed=key.hash_of(code, customer.customer_id), now=now)
    if channel is None:
        return False
    _verify(session, customer, channel, now)
    return True


def reset_by_code(
    session: Session, *, username: str, code: str, secret: str, key: ContactKey, now: datetime
) -> bool:
    """Give an account the password its owner chose; False when the code is not a good one. The caller commits either way.

    Who got a code there owns the address, so the customer is verified too.
    """
    check_secret(secret)
    account = accounts.get(session, username)
    if account.customer is None:
        return False
    customer = _locked(session, account.customer)
    typed = key.hash_of(code, customer.customer_id)
    channel = _redeem(session, customer, account, typed=typed, now=now)
    if channel is None:
        return False
    accounts.set_secret(session, username=username, secret=secret)
    if customer.verified_at is None:
        _verify(session, customer, channel, now)
    return True


def expire_codes(session: Session, now: datetime, limit: int = 1000) -> int:
    """End codes whose time has passed and forget what they were; return how many. Call again while it returns `limit`."""
    ended = session.scalars(_EXPIRE, {"now": now, "limit": limit}).all()
    hide(session, ended)
    return len(ended)


def hide(session: Session, code_ids: Sequence[int]) -> None:
    """Take codes that have ended out of their events."""
    if code_ids:
        keys = [event_key(code_id) for code_id in code_ids]
        session.execute(_HIDE_CODES, {"keys": keys, "gone": GONE})


def event_key(contact_code_id: int) -> str:
    """Return the key of the event a code went out with."""
    return f"contact_code:{contact_code_id}"


def _locked(session: Session, customer: Customer) -> Customer:
    """Hold a customer, so that tries are counted one by one."""
    query = (
        select(Customer)
        .where(Customer.customer_id == customer.customer_id)
        .with_for_update(of=Customer, key_share=True)
    )
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _send(
    session: Session,
    customer: Customer,
    account: Account | None,
    *,
    channel: Channel,
    key: ContactKey,
    now: datetime,
) -> Sent:
    purpose = Purpose.VERIFY if account is None else Purpose.RESET
    address = _check_may_send(session, customer, channel, now)
    _end(session, _open(session, customer, account), "replaced", now)
    code = new_code()
    sent = Sent(address, now + LIFETIMES[purpose])
    row = ContactCode(
        customer_id=customer.customer_id,
        purpose=str(purpose),
        account_id=None if account is None else account.account_id,
        channel=str(channel),
        address=address,
        code_hash=key.hash_of(code, customer.customer_id),
        sent_at=now,
        expires_at=sent.expires_at,
    )
    session.add(row)
    session.flush()
    payload = payload_of(code, channel, sent) | ({} if account is None else {"username": account.username})
    emit(session, KINDS[purpose], event_key(row.contact_code_id), payload, now, customer.customer_id)
    return sent


def payload_of(code: str, channel: Channel, sent: Sent) -> dict[str, object]:
    """Return what the event of a code says; the address goes under `email` or `phone`."""
    where = "email" if channel is Channel.EMAIL else "phone"
    return {"code": code, "channel": str(channel), where: sent.address, "expires_at": sent.expires_at}


def _check_may_send(session: Session, customer: Customer, channel: Channel, now: datetime) -> str:
    address = address_of(customer, channel)
    if customer.disabled_at is not None:
        raise Refused(f"customer {customer.account_number} is disabled", "R3")
    if address is None:
        what = "e-mail address" if channel is Channel.EMAIL else "phone"
        raise Refused(
            f"customer {customer.account_number} has no {what}; `herotill customer edit` adds it", "R3"
        )
    lately = select(func.count()).where(
        ContactCode.customer_id == customer.customer_id, ContactCode.sent_at > now - CODES_WITHIN
    )
    if (session.scalar(lately) or 0) >= MOST_CODES:
        raise Refused(
            f"customer {customer.account_number} was sent {MOST_CODES} codes within the hour; wait a little",
            "R3",
        )
    return address


def _open(session: Session, customer: Customer, account: Account | None) -> ContactCode | None:
    query = select(ContactCode).where(
        ContactCode.customer_id == customer.customer_id,
        ContactCode.ended_at.is_(None),
        ContactCode.account_id.is_(None) if account is None else ContactCode.account_id == account.account_id,
    )
    return session.scalars(query.with_for_update()).one_or_none()


def _redeem(
    session: Session, customer: Customer, account: Account | None, *, typed: bytes, now: datetime
) -> Channel | None:
    """Use up the open code and return how it came, or count a failed try and return None."""
    sent = _open(session, customer, account)
    # Compared whatever else is wrong, so that the time it takes tells nothing.
    is_right = hmac.compare_digest(typed, sent.code_hash if sent is not None else bytes(len(typed)))
    if sent is None:
        return None
    if now >= sent.expires_at:
        _end(session, sent, "expired", now)
    elif sent.address != address_of(customer, Channel(sent.channel)) or customer.disabled_at is not None:
        _end(session, sent, "replaced", now)
    elif is_right:
        _end(session, sent, "used", now)
        return Channel(sent.channel)
    else:
        sent.failed_attempts += 1
        if sent.failed_attempts >= MOST_ATTEMPTS:
            _end(session, sent, "attempts", now)
    session.flush()
    return None


def _end(session: Session, sent: ContactCode | None, reason: str, now: datetime) -> None:
    if sent is None:
        return
    sent.ended_at, sent.ended_reason = now, reason
    session.flush()
    hide(session, [sent.contact_code_id])


def _verify(session: Session, customer: Customer, channel: Channel, now: datetime) -> None:
    if customer.verified_at is None:
        customers.mark_verified(session, customer, by=str(channel), now=now)
