"""Buy now, pay later (kopa, rule R26): what may be bought with a balance, and beyond it with credit.

A balance below zero is a debt. Whatever is paid settles the oldest debt first.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from herotill.errors import InvalidValue
from herotill.quantities import MAX_MINOR_UNITS, MAX_SECONDS, Money


@dataclass(frozen=True, slots=True)
class CreditLine:
    """How far below zero the balance may go by buying, and how long a debt may last until nothing more is lent."""

    limit: Money
    overdue_after_seconds: int

    def __post_init__(self) -> None:
        """Refuse a line that lends nothing. Raises InvalidValue, naming the field."""
        if not 1 <= self.limit.minor <= MAX_MINOR_UNITS:
            raise InvalidValue("limit", str(self.limit), "it is more than zero; `none` takes the credit away")
        if not 1 <= self.overdue_after_seconds <= MAX_SECONDS:
            raise InvalidValue("overdue_after", self.overdue_after_seconds, "it is from 1s to 100 years")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a customer stands in one currency. `owed_since` is when the oldest debt that is not settled was made."""

    balance: Money
    owed_since: datetime | None = None
    line: CreditLine | None = None

    @property
    def owed(self) -> Money:
        """What the customer owes us."""
        return Money(max(-self.balance.minor, 0), self.balance.currency)

    @property
    def credit_left(self) -> Money:
        """How much more may be lent."""
        limit = 0 if self.line is None else self.line.limit.minor
        return Money(max(limit - self.owed.minor, 0), self.balance.currency)

    @property
    def overdue_at(self) -> datetime | None:
        """When the debt becomes overdue; None without a debt or a credit line."""
        if self.owed_since is None or self.line is None:
            return None
        return self.owed_since + timedelta(seconds=self.line.overdue_after_seconds)

    def is_overdue(self, now: datetime) -> bool:
        """Tell whether the oldest debt has lasted too long."""
        return self.overdue_at is not None and self.overdue_at <= now


def refusal_by_balance(standing: Standing, what: str, price: Money) -> str | None:
    """Say why `what` cannot be paid from the balance alone, with both figures; None when it can."""
    if standing.balance.minor >= price.minor:
        return None
    return f"the balance is {standing.balance}, {what} costs {price}"


def refusal_by_credit(standing: Standing, what: str, price: Money, now: datetime) -> str | None:
    """Say why `what` can be paid neither from the balance nor with what credit is left; None when it can."""
    short = refusal_by_balance(standing, what, price)
    if short is None:
        return None
    if standing.line is None:
        return f"{short}, and there is no credit in {price.currency}"
    if standing.is_overdue(now):
        since = f"since {standing.owed_since:%Y-%m-%d %H:%M} UTC"
        return f"{standing.owed} are owed {since} and overdue; the debt is paid first"
    if price.minor - standing.balance.minor > standing.line.limit.minor:
        return f"{short}, and the credit limit is {standing.line.limit}"
    return None
