"""Projection: what the books say becomes what RADIUS has, in the same transaction, for what changed and nothing else.

What RADIUS should have is defined by the views billing.projected_* (sql/0001_billing.sql). Rows of radcheck that these
views never produce belong to the operator and stay.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.terms import GrantClocks, PlanTerms

MAX_NOTIFY_OCTETS = 7900  # PostgreSQL refuses payloads of 8000 octets

_REWRITE_ACCOUNTS = [
    # Two transactions that project one account take turns; else both would insert its rows.
    text("""
        SELECT account_id FROM billing.account WHERE username = ANY(:usernames) ORDER BY account_id
        FOR NO KEY UPDATE
    """),
    text("""
        DELETE FROM radius.radcheck
        WHERE username = ANY(:usernames) AND attribute IN ('Cleartext-Password', 'Auth-Type')
    """),
    text("""
        INSERT INTO radius.radcheck (username, attribute, op, value)
        SELECT username, attribute, op, value FROM billing.projected_radcheck
        WHERE username = ANY(:usernames) ORDER BY username, attribute
    """),
    text("DELETE FROM radius.radusergroup WHERE username = ANY(:usernames)"),
    text("""
        INSERT INTO radius.radusergroup (username, groupname, priority)
        SELECT username, group_name, priority FROM billing.projected_radusergroup
        WHERE username = ANY(:usernames) ORDER BY username
    """),
    text("""
        DELETE FROM radius.managed_account managed WHERE username = ANY(:usernames)
          AND NOT EXISTS (SELECT FROM billing.projected_account WHERE username = managed.username)
    """),
    text("""
        INSERT INTO radius.managed_account (username, kind, status, group_name, policy)
        SELECT username, kind, status, group_name, policy FROM billing.projected_account
        WHERE username = ANY(:usernames)
        ON CONFLICT (username) DO UPDATE
        SET kind = excluded.kind, status = excluded.status, group_name = excluded.group_name,
            policy = excluded.policy, updated_at = now()
    """),
]
# A later account of the same name must not inherit rows or data of the one that is gone.
_FORGET_ACCOUNTS = [
    text("DELETE FROM radius.radcheck WHERE username = ANY(:usernames)"),
    text("DELETE FROM radius.radreply WHERE username = ANY(:usernames)"),
    text("""
        UPDATE radius.entitlement SET ended_at = :now, ended_reason = 'void'
        WHERE username = ANY(:usernames) AND ended_at IS NULL
    """),
]
_REWRITE_ALLOCATION = [
    text("DELETE FROM radius.group_allocation WHERE group_name = :group_name"),
    text("""
        INSERT INTO radius.group_allocation (group_name, period, time_zone, term_starts, quota_octets, quota_seconds,
                                             valid_seconds, rolls_over, counting, policy)
        SELECT group_name, period, time_zone, term_starts, quota_octets, quota_seconds,
               valid_seconds, rolls_over, counting, policy
        FROM billing.projected_allocation WHERE group_name = :group_name
    """),
]
_MEMBERS = text(
    "SELECT username FROM billing.projected_account WHERE group_name = :group_name ORDER BY username"
)
_GRANT = text("""
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, priority, counting, quota_octets,
                                    quota_seconds, policy, granted_at, expires_at, seconds_after_first_use,
                                    seconds_after_last_use)
    SELECT external_key, username, :source, :plan_name, :priority, :counting, :quota_octets,
           :quota_seconds, CAST(:policy AS jsonb), :granted_at, :expires_at, :seconds_after_first_use,
           :seconds_after_last_use
    FROM unnest(CAST(:external_keys AS text[]), CAST(:usernames AS text[])) AS holder (external_key, username)
    ON CONFLICT (external_key) DO NOTHING
""")
_VOID_GRANTS = text("""
    UPDATE radius.entitlement SET ended_at = :now, ended_reason = 'void'
    WHERE external_key = ANY(:external_keys) AND ended_at IS NULL
""")
_NOTIFY_ACCOUNTS = text("SELECT pg_notify('herotill_account', :payload)")


@dataclass(frozen=True, slots=True)
class Offer:
    """What is given, to one holder or to many at once."""

    source: str
    plan_name: str
    terms: PlanTerms
    clocks: GrantClocks
    granted_at: datetime


def project_accounts(session: Session, usernames: Sequence[str]) -> None:
    """Rewrite the RADIUS rows of these accounts as the books have them, and tell everybody who cached them."""
    _run(session, _REWRITE_ACCOUNTS, {"usernames": list(usernames)})
    notify_accounts(session, usernames)


def forget_accounts(session: Session, usernames: Sequence[str], *, now: datetime) -> None:
    """Remove everything RADIUS could log these closed accounts in with, and end what they had left."""
    _run(session, _FORGET_ACCOUNTS, {"usernames": list(usernames), "now": now})
    project_accounts(session, usernames)


def project_group(session: Session, group_name: str) -> None:
    """Rewrite a group's allocation and the accounts of its members, whose policy rests on the group's."""
    _run(session, _REWRITE_ALLOCATION, {"group_name": group_name})
    members = session.execute(_MEMBERS, {"group_name": group_name}).scalars().all()
    if members:
        project_accounts(session, members)


def grant(session: Session, offer: Offer, holders: Mapping[str, str]) -> None:
    """Give the offer to each of `holders` (user names by external key), once per key, and tell who cached them."""
    keys = {"external_keys": list(holders), "usernames": list(holders.values())}
    _run(session, [_GRANT], _offer_columns(offer) | keys)
    notify_accounts(session, holders.values())


def void_grants(session: Session, external_keys: Sequence[str], *, now: datetime) -> None:
    """End grants that were taken back; the caller projects or notifies their accounts."""
    session.execute(_VOID_GRANTS, {"external_keys": list(external_keys), "now": now})


def notify_accounts(session: Session, usernames: Iterable[str]) -> None:
    """NOTIFY herotill_account with JSON lists of user names; delivered when the caller commits."""
    for payload in notification_payloads(usernames):
        session.execute(_NOTIFY_ACCOUNTS, {"payload": payload})


def notification_payloads(usernames: Iterable[str]) -> Iterator[str]:
    """Cut user names into JSON lists that fit one NOTIFY each."""
    names: list[str] = []
    size = 2
    for username in usernames:
        octets = len(json.dumps(username)) + 2
        if names and size + octets > MAX_NOTIFY_OCTETS:
            yield json.dumps(names)
            names, size = [], 2
        names.append(username)
        size += octets
    if names:
        yield json.dumps(names)


def _offer_columns(offer: Offer) -> dict[str, Any]:
    return {
        "source": offer.source,
        "plan_name": offer.plan_name,
        "priority": offer.terms.priority,
        "counting": str(offer.terms.counting),
        "quota_octets": offer.terms.quota_octets,
        "quota_seconds": offer.terms.quota_seconds,
        "policy": json.dumps(offer.terms.policy.to_mapping()),
        "granted_at": offer.granted_at,
        "expires_at": offer.clocks.expires_at,
        "seconds_after_first_use": offer.clocks.seconds_after_first_use,
        "seconds_after_last_use": offer.clocks.seconds_after_last_use,
    }


def _run(session: Session, statements: Iterable[Any], values: Mapping[str, Any]) -> None:
    session.flush()
    for statement in statements:
        session.execute(statement, values)
