"""Invitations: a code for every member of a group who has no password yet, many at a time (rule R4).

Whoever was imported got a password nobody knows. An invitation is a code to reset it that is good for longer than others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import groups
from billing.events import emit_all
from billing.verification import (
    KINDS,
    Channel,
    ContactKey,
    Purpose,
    Sent,
    event_key,
    expire_codes,
    new_code,
    payload_of,
)

INVITED_AT_ONCE = 5000
GOOD_FOR = timedelta(days=7)

# Who has a code that is still good needs no other.
_WAITING = """
    FROM billing.account JOIN billing.customer USING (customer_id)
    WHERE customer.group_id = :group_id AND must_reset_secret AND account.status <> 'closed'
      AND account.disabled_at IS NULL AND customer.disabled_at IS NULL AND deleted_at IS NULL
      AND NOT EXISTS (SELECT FROM billing.contact_code code
                      WHERE code.account_id = account.account_id AND code.ended_at IS NULL)
"""
_TO_INVITE = text(f"""
    SELECT account_id, customer_id, username, CASE :channel WHEN 'email' THEN email ELSE phone END AS address
    {_WAITING} AND CASE :channel WHEN 'email' THEN email ELSE phone END IS NOT NULL
    ORDER BY account_id LIMIT :limit FOR NO KEY UPDATE OF account
""")
_UNREACHABLE = text(f"SELECT count(*) {_WAITING}")
_ADD = text("""
    INSERT INTO billing.contact_code (customer_id, purpose, account_id, channel, address, code_hash, sent_at, expires_at)
    SELECT customer_id, 'reset', account_id, :channel, address, code_hash, :now, :expires_at
    FROM unnest(CAST(:customer_ids AS bigint[]), CAST(:account_ids AS bigint[]), CAST(:addresses AS text[]),
                CAST(:hashes AS bytea[])) AS invited (customer_id, account_id, address, code_hash)
    ORDER BY account_id RETURNING contact_code_id, account_id
""")


@dataclass(frozen=True, slots=True)
class Invited:
    """How many codes are on their way, and how many members this channel does not reach."""

    sent: int
    unreachable: int


def invite(session: Session, *, group: str, channel: Channel, key: ContactKey, now: datetime) -> Invited:
    """Send every member without a password of its own a code to choose one; who has a good code gets no other."""
    group_id = groups.get(session, group).group_id
    while expire_codes(session, now):
        pass
    count = 0
    wanted = {"group_id": group_id, "channel": str(channel), "limit": INVITED_AT_ONCE}
    while rows := session.execute(_TO_INVITE, wanted).all():
        _send(session, rows, channel=channel, key=key, now=now)
        count += len(rows)
    return Invited(count, session.scalar(_UNREACHABLE, {"group_id": group_id}) or 0)


def _send(session: Session, rows: Sequence[Any], *, channel: Channel, key: ContactKey, now: datetime) -> None:
    expires_at = now + GOOD_FOR
    codes = {row.account_id: new_code() for row in rows}
    values = {
        "channel": str(channel),
        "now": now,
        "expires_at": expires_at,
        "customer_ids": [row.customer_id for row in rows],
        "account_ids": [row.account_id for row in rows],
        "addresses": [row.address for row in rows],
        "hashes": [key.hash_of(codes[row.account_id], row.customer_id) for row in rows],
    }
    ids = {account_id: code_id for code_id, account_id in session.execute(_ADD, values)}
    happened = [
        (
            event_key(ids[row.account_id]),
            payload_of(codes[row.account_id], channel, Sent(row.address, expires_at))
            | {"username": row.username},
            row.customer_id,
        )
        for row in rows
    ]
    emit_all(session, KINDS[Purpose.RESET], happened, now)
