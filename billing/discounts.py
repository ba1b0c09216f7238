"""What a batch costs less than its plan: a share or an amount. Pure."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from herotill.errors import InvalidValue
from herotill.quantities import Money, parse_money

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)\s*%", re.ASCII)


@dataclass(frozen=True, slots=True)
class Discount:
    """Either a share in hundredths of a per cent, or an amount."""

    share: int | None = None
    amount: Money | None = None

    def price_of(self, price: Money) -> Money:
        """Return what is left of a price, half a minor unit rounded up. Raises InvalidValue for more than the price."""
        if self.amount is None:
            left = Decimal(price.minor) * (10_000 - (self.share or 0)) / 10_000
            return Money(int(left.quantize(Decimal(1), ROUND_HALF_UP)), price.currency)
        if self.amount.currency != price.currency or self.amount.minor > price.minor:
            raise InvalidValue("discount", str(self.amount), f"it is at most the price, {price}")
        return Money(price.minor - self.amount.minor, price.currency)


def parse_discount(text: str, field: str, currency: str) -> Discount:
    """Read `10%`, `12.5%` or an amount of money like `5KES`. Raises InvalidValue."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        return Discount(amount=parse_money(text, field, currency))
    share = int(Decimal(match[1]) * 100)
    if not 0 < share <= 10_000:
        raise InvalidValue(field, text, "it is a share up to 100% or an amount like 5KES")
    return Discount(share=share)
