"""The account snapshot: everything one login is decided from.

Shape of the JSON: the SQL function `radius.account_parts` (sql/0002_packet_time.sql).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from herotill.allocation import GroupAllocation, allocation_from_row
from herotill.grants import Burn, Grant, grant_from_values, required_time
from herotill.policy import ServicePolicy, read_policy
from herotill.sessions import Session, session_from_values
from herotill.usage import counted_octets

_Kind = TypeVar("_Kind")

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


def snapshot_from_json(document: Sequence[Sequence[Any]]) -> AccountSnapshot:
    """Read the document that `radius.account_snapshot` returns: parts, each a list that begins with its kind."""
    parts: dict[str, list[Sequence[Any]]] = {}
    for kind, *values in document:
        parts.setdefault(kind, []).append(values)
    found = parts.get
    ((username, kind, status, policy, group, allocation),) = parts["account"]
    last_ended = found("last_ended")
    return AccountSnapshot(
        username=username,
        kind=AccountKind(kind),
        status=AccountStatus(status),
        policy=read_policy(policy),
        group=group,
        check=_rows(found("check", ())),
        reply=_rows(found("group_reply", ())) + _rows(found("reply", ())),
        allocation=None if allocation is None else allocation_from_row(allocation),
        allocation_keys=frozenset(key for (key,) in found("allocation_key", ())),
        grants=_in_order(map(grant_from_values, found("grant", ())), lambda grant: grant.grant_id),
        last_ended=None if last_ended is None else grant_from_values(last_ended[0]),
        sessions=_in_order(map(session_from_values, found("session", ())), lambda one: one.acct_unique_id),
        reservations=_in_order(map(_reservation, found("reservation", ())), lambda one: one.login_id),
    )


def _rows(rows: Sequence[Sequence[Any]]) -> tuple[Row, ...]:
    """Attribute, operator and value, in the order of what follows them: of a group its priority, and the row's id."""
    ordered = rows if len(rows) < 2 else sorted(rows, key=lambda row: tuple(row[3:]))
    return tuple([Row(row[0], row[1], row[2]) for row in ordered])


def _in_order(some: Iterable[_Kind], key: Callable[[_Kind], Any]) -> tuple[_Kind, ...]:
    found = list(some)
    if len(found) > 1:
        found.sort(key=key)
    return tuple(found)


def _reservation(values: Sequence[Any]) -> Reservation:
    login_id, grant_id, octets, used_octets, expires_at = values
    return Reservation(login_id, grant_id, octets, used_octets, required_time(expires_at))
