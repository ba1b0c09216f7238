"""Resellers: they hold a balance, sell to the customers of their own groups, and see nobody else (rule R28)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing import groups, ledger
from billing.checks import check_name, escape_like
from billing.ledger import RESELLER, Entry, Posting
from billing.models import Customer, CustomerGroup, Reseller, ResellerGroup
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money

WHOLE_IN_BASIS_POINTS = 10_000

_TOTALS = text("""
    SELECT coalesce(sum(price_minor), 0) AS sold,
           coalesce(sum((SELECT -sum(amount_minor)
                         FROM billing.ledger_transaction JOIN billing.ledger_posting USING (transaction_id)
                         WHERE external_key = 'payment:purchase:' || purchase_id
                           AND ledger_account = 'commission')), 0) AS earned
    FROM billing.purchase WHERE reseller_id = :reseller_id
""")


@dataclass(frozen=True, slots=True)
class Seller:
    """A reseller at work: the actor of a use case, who reaches its own customers only."""

    reseller_id: int
    name: str
    currency: str
    commission_basis_points: int

    def commission(self, price: Money) -> Money:
        """What the reseller keeps of a price, rounded down to the minor unit."""
        return Money(price.minor * self.commission_basis_points // WHOLE_IN_BASIS_POINTS, price.currency)


def add(
    session: Session, *, name: str, currency: str, now: datetime, commission_basis_points: int = 0
) -> Reseller:
    """Enter a reseller. Raises InvalidValue for a name that is taken."""
    check_name("name", name)
    _check_commission(commission_basis_points)
    if session.scalar(select(Reseller).where(func.lower(Reseller.name) == name.lower())) is not None:
        raise InvalidValue("name", name, "another reseller has, or had, this name")
    new = Reseller(
        name=name, currency=currency, commission_basis_points=commission_basis_points, created_at=now
    )
    session.add(new)
    session.flush()
    return new


def get(session: Session, name: str, *, lock: bool = False) -> Reseller:
    """Return the reseller of this name; `lock` holds it for this transaction. Raises InvalidValue."""
    query = select(Reseller).where(func.lower(Reseller.name) == name.lower(), Reseller.closed_at.is_(None))
    if lock:
        query = query.with_for_update(key_share=True)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise InvalidValue("reseller", name, "there is no such reseller; `herotill reseller list` shows them")
    return found


def sign_in(session: Session, name: str) -> Seller:
    """Return the actor for a reseller. Raises InvalidValue for one that is not, or no more."""
    found = get(session, name)
    return Seller(found.reseller_id, found.name, found.currency, found.commission_basis_points)


def listing(session: Session, *, search: str = "", limit: int = 100) -> list[Reseller]:
    """Return the resellers by name."""
    query = select(Reseller).where(Reseller.closed_at.is_(None), Reseller.name.ilike(escape_like(search)))
    return list(session.scalars(query.order_by(func.lower(Reseller.name)).limit(limit)))


def edit(session: Session, *, name: str, changes: Mapping[str, Any]) -> Reseller:
    """Change `commission_basis_points`, for what will be sold from now on."""
    reseller = get(session, name, lock=True)
    if "commission_basis_points" in changes:
        _check_commission(changes["commission_basis_points"])
        reseller.commission_basis_points = changes["commission_basis_points"]
    session.flush()
    return reseller


def close(session: Session, *, name: str, now: datetime) -> None:
    """End a reseller's work; the groups go back to the operator. Raises Refused while there is a balance."""
    reseller = get(session, name, lock=True)
    left = [money for money in ledger.balances_of_reseller(session, reseller.reseller_id) if money.minor]
    if left:
        held = ", ".join(str(money) for money in left)
        raise Refused(f"reseller {name} has a balance of {held}; pay it back first", "R28")
    for group in groups_of(session, reseller):
        release_group(session, name=name, group=group.name)
    reseller.closed_at = now
    session.flush()


def assign_group(session: Session, *, name: str, group: str, now: datetime) -> None:
    """Make a group the reseller's own. Raises Refused when it is another's."""
    reseller, found = get(session, name), groups.get(session, group)
    owner = _owner_of(session, found)
    if owner is not None:
        raise Refused(f"group {group} belongs to reseller {owner.name}; release it there first", "R28")
    session.add(ResellerGroup(group_id=found.group_id, reseller_id=reseller.reseller_id, assigned_at=now))
    session.flush()


def release_group(session: Session, *, name: str, group: str) -> None:
    """Take a group away from a reseller."""
    reseller, found = get(session, name), groups.get(session, group)
    own = select(ResellerGroup).where(
        ResellerGroup.group_id == found.group_id, ResellerGroup.reseller_id == reseller.reseller_id
    )
    row = session.scalars(own).one_or_none()
    if row is None:
        raise Refused(f"group {group} does not belong to reseller {name}", "R28")
    session.delete(row)
    session.flush()


def groups_of(session: Session, reseller: Reseller) -> list[CustomerGroup]:
    """Return a reseller's groups by name."""
    query = select(CustomerGroup).join(ResellerGroup, ResellerGroup.group_id == CustomerGroup.group_id)
    own = query.where(ResellerGroup.reseller_id == reseller.reseller_id)
    return list(session.scalars(own.order_by(CustomerGroup.name)))


def serves(session: Session, seller: Seller, customer: Customer | None) -> bool:
    """Tell whether a customer is of one of the reseller's groups."""
    if customer is None or customer.group_id is None:
        return False
    own = select(ResellerGroup.group_id).where(
        ResellerGroup.group_id == customer.group_id, ResellerGroup.reseller_id == seller.reseller_id
    )
    return session.scalar(own) is not None


def pay_in(session: Session, *, name: str, amount: Money, entry: Entry, into: str) -> bool:
    """Raise a reseller's balance by what it paid us; False when the key was recorded before.

    A negative amount pays back. Raises Refused for more than there is, and for another currency.
    """
    reseller = get(session, name, lock=True)
    if amount.currency != reseller.currency:
        raise Refused(f"reseller {name} has its balance in {reseller.currency}, not {amount.currency}", "R28")
    if amount.minor == 0:
        raise InvalidValue("amount", str(amount), "it is not zero")
    held = balance(session, reseller.reseller_id, reseller.currency)
    if held.minor + amount.minor < 0 and not ledger.is_recorded(session, entry.external_key):
        raise Refused(f"the balance of reseller {name} is {held}, {amount} cannot be paid back", "R25")
    sides = [
        Posting(into, -amount.minor, amount.currency),
        Posting(RESELLER, amount.minor, amount.currency, reseller_id=reseller.reseller_id),
    ]
    return ledger.post(session, entry, sides)


def balance(session: Session, reseller_id: int, currency: str) -> Money:
    """Return a reseller's balance."""
    return ledger.in_currency(ledger.balances_of_reseller(session, reseller_id), currency)


def totals(session: Session, reseller: Reseller) -> dict[str, Money]:
    """Return what the reseller ever `sold` and what it `earned` by that."""
    row = session.execute(_TOTALS, {"reseller_id": reseller.reseller_id}).one()
    return {
        "sold": Money(int(row.sold), reseller.currency),
        "earned": Money(int(row.earned), reseller.currency),
    }


def _owner_of(session: Session, group: CustomerGroup) -> Reseller | None:
    query = select(Reseller).join(ResellerGroup, ResellerGroup.reseller_id == Reseller.reseller_id)
    return session.scalars(query.where(ResellerGroup.group_id == group.group_id)).one_or_none()


def _check_commission(basis_points: int) -> None:
    if not 0 <= basis_points <= WHOLE_IN_BASIS_POINTS:
        raise InvalidValue("commission", basis_points, "it is from 0% to 100%")
