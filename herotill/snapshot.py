"""The account snapshot: everything one login is decided from.

Shape of the JSON: the SQL function `radius.account_snapshot` (sql/0001_packet_time.sql).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from herotill.allocation import GroupAllocation, allocation_from_row
from herotill.grants import Burn, Grant, as_time, grant_from_row
from herotill.policy import ServicePolicy, read_policy
from herotill.sessions import Session, session_from_row
from herotill.usage import counted_octets

RESERVATION_SECONDS = 1800
"""A claimed slice is held this long after its session's last report; a lost session frees it then."""


class AccountKind(StrEnum):
    """The three kinds of account (rule R1)."""

    HOTSPOT = "hotspot"
    PREPAID = "prepaid"
    MONTHLY = "monthly"


class AccountStatus(StrEnum):
    """What the books say of an account as a whole."""

    ACTIVE = "active"
    UNVERIFIED = "unverified"
    SUSPENDED = "suspended"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of radcheck, radreply or radgroupreply."""

    attribute: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """An open slice of a strict grant, promised to one login (rule R15)."""

    login_id: str
    grant_id: int
    octets: int
    used_octets: int
    expires_at: datetime

    def outstanding_octets(self, now: datetime) -> int:
        """Return what it still withholds from others."""
        return max(0, self.octets - self.used_octets) if now < self.expires_at else 0

    def settled(self, taken: Burn) -> "Reservation":
        """Return the slice after its session took something from a grant."""
        if taken.grant is None or taken.grant.grant_id != self.grant_id:
            return self
        octets = counted_octets(taken.grant.counting, taken.usage)
        return replace(self, used_octets=self.used_octets + octets)

    def held(self, reported_at: datetime) -> "Reservation":
        """Return the slice as claimed by a session that reported."""
        until = reported_at + timedelta(seconds=RESERVATION_SECONDS)
        return replace(self, expires_at=max(self.expires_at, until))


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """One account as the database had it, in one moment."""

    username: str
    kind: AccountKind
    status: AccountStatus
    policy: ServicePolicy
    group: str | None = None
    check: tuple[Row, ...] = ()
    reply: tuple[Row, ...] = ()
    allocation: GroupAllocation | None = None
    allocation_keys: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    last_ended: Grant | None = None
    sessions: tuple[Session, ...] = ()
    reservations: tuple[Reservation, ...] = ()


def snapshot_from_json(document: Mapping[str, Any]) -> AccountSnapshot:
    """Read the document that `radius.account_snapshot` returns."""
    allocation, last_ended = document["allocation"], document["last_ended"]
    return AccountSnapshot(
        username=document["username"],
        kind=AccountKind(document["kind"]),
        status=AccountStatus(document["status"]),
        policy=read_policy(document["policy"]),
        group=document["group"],
        check=_rows(document["check"]),
        reply=_rows(document["group_reply"]) + _rows(document["reply"]),
        allocation=None if allocation is None else allocation_from_row(allocation),
        allocation_keys=frozenset(document["allocation_keys"]),
        grants=tuple(grant_from_row(row) for row in document["grants"]),
        last_ended=None if last_ended is None else grant_from_row(last_ended),
        sessions=tuple(session_from_row(row) for row in document["sessions"]),
        reservations=tuple(_reservation(row) for row in document["reservations"]),
    )


def _rows(rows: Sequence[Sequence[str]]) -> tuple[Row, ...]:
    return tuple(Row(*row) for row in rows)


def _reservation(row: Mapping[str, Any]) -> Reservation:
    expires_at = as_time(row["expires_at"])
    if expires_at is None:
        raise ValueError("a reservation has expires_at")
    return Reservation(row["login_id"], row["entitlement_id"], row["octets"], row["used_octets"], expires_at)
