"""Groups of customers, with a policy for their accounts and an allocation for verified prepaid members (rule R17)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from billing.checks import check_group_name, check_policy, check_time_zone, escape_like
from billing.models import Customer, CustomerGroup
from billing.projection import project_group
from herotill.allocation import Period
from herotill.errors import InvalidValue, Refused
from herotill.policy import Counting
from herotill.quantities import MAX_OCTETS, MAX_SECONDS


@dataclass(frozen=True, slots=True)
class Allocation:
    """So many octets and seconds every period for each member; `valid_seconds` None is to the period's end."""

    period: Period = Period.MONTH
    quota_octets: int | None = None
    quota_seconds: int | None = None
    valid_seconds: int | None = None
    rolls_over: bool = False
    term_starts: tuple[date, ...] = ()
    counting: Counting = Counting.SUM

    def __post_init__(self) -> None:
        """Refuse what could not be granted. Raises InvalidValue, naming the field."""
        if self.quota_octets is None and self.quota_seconds is None:
            raise InvalidValue("allocation", None, "an allocation has octets or time")
        if (self.period is Period.TERM) != bool(self.term_starts):
            raise InvalidValue(
                "term_start", self.term_starts, "the period `term`, and only it, needs first days"
            )
        limits = {"quota_octets": MAX_OCTETS, "quota_seconds": MAX_SECONDS, "valid_seconds": MAX_SECONDS}
        for name, most in limits.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise InvalidValue(name, value, f"it is a whole number from 1 to {most}")


def add(
    session: Session,
    *,
    name: str,
    now: datetime,
    allocation: Allocation | None = None,
    policy: Mapping[str, Any] | None = None,
    time_zone: str = "UTC",
) -> CustomerGroup:
    """Found a group. Raises InvalidValue for a name that is taken."""
    check_group_name(name)
    if _find(session, name) is not None:
        raise InvalidValue("name", name, "another group has this name")
    group = CustomerGroup(name=name, created_at=now)
    session.add(group)
    _apply(group, {"allocation": allocation, "policy": policy or {}, "time_zone": time_zone})
    project_group(session, name)
    return group


def get(session: Session, name: str) -> CustomerGroup:
    """Return the group of this name. Raises InvalidValue."""
    found = _find(session, name)
    if found is None:
        raise InvalidValue("group", name, "there is no such group; `herotill group list` shows them")
    return found


def listing(session: Session, *, search: str = "", limit: int = 100) -> list[CustomerGroup]:
    """Return groups by name."""
    query = select(CustomerGroup).where(CustomerGroup.name.ilike(escape_like(search)))
    return list(session.scalars(query.order_by(CustomerGroup.name).limit(limit)))


def edit(session: Session, *, name: str, changes: Mapping[str, Any]) -> CustomerGroup:
    """Change `allocation` (None takes it away), `policy` (laid over what it has) or `time_zone`."""
    group = get(session, name)
    changes = dict(changes)
    if "policy" in changes:
        changes["policy"] = group.policy | dict(changes["policy"])
    _apply(group, changes)
    project_group(session, name)
    return group


def remove(session: Session, *, name: str) -> None:
    """Dissolve an empty group. Raises Refused while it has members."""
    group = get(session, name)
    members = count_members(session, group)
    if members:
        raise Refused(f"group {name} has {members} customers; move them to another group first", "R5")
    if session.scalar(select(exists().where(Customer.group_id == group.group_id))):
        _let_go_of_the_deleted(session, group)
    session.delete(group)
    project_group(session, name)


def count_members(session: Session, group: CustomerGroup) -> int:
    """Return how many customers the group has."""
    members = select(func.count()).where(Customer.group_id == group.group_id, Customer.deleted_at.is_(None))
    return session.scalar(members) or 0


def allocation_of(group: CustomerGroup) -> Allocation | None:
    """Read the allocation back from the group's columns."""
    if group.allocation_period is None:
        return None
    return Allocation(
        period=Period(group.allocation_period),
        quota_octets=group.allocation_octets,
        quota_seconds=group.allocation_seconds,
        valid_seconds=group.allocation_valid_seconds,
        rolls_over=group.allocation_rolls_over,
        term_starts=tuple(group.allocation_term_starts),
        counting=Counting(group.allocation_counting),
    )


def _find(session: Session, name: str) -> CustomerGroup | None:
    return session.scalars(select(CustomerGroup).where(CustomerGroup.name == name)).one_or_none()


def _apply(group: CustomerGroup, changes: Mapping[str, Any]) -> None:
    if "time_zone" in changes:
        check_time_zone(changes["time_zone"])
        group.time_zone = changes["time_zone"]
    if "policy" in changes:
        check_policy(dict(changes["policy"]))
        group.policy = dict(changes["policy"])
    if "allocation" in changes:
        _apply_allocation(group, changes["allocation"])


def _apply_allocation(group: CustomerGroup, allocation: Allocation | None) -> None:
    group.allocation_period = None if allocation is None else str(allocation.period)
    group.allocation_octets = None if allocation is None else allocation.quota_octets
    group.allocation_seconds = None if allocation is None else allocation.quota_seconds
    group.allocation_valid_seconds = None if allocation is None else allocation.valid_seconds
    group.allocation_rolls_over = allocation is not None and allocation.rolls_over
    group.allocation_term_starts = [] if allocation is None else list(allocation.term_starts)
    group.allocation_counting = str(Counting.SUM if allocation is None else allocation.counting)


def _let_go_of_the_deleted(session: Session, group: CustomerGroup) -> None:
    former = select(Customer).where(Customer.group_id == group.group_id)
    for customer in session.scalars(former):
        customer.group_id = None
    session.flush()
