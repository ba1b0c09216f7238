"""When a monthly account is suspended for not paying, and when not, and why (rule R24)."""

from dataclasses import dataclass
from datetime import datetime

UNPAID_BILL = "unpaid-bill"
"""The reason of a suspension a payment ends."""

ENDED = "expired"
"""The reason of the suspension a daily account meets at its end, which a purchase ends (rule R23)."""


@dataclass(frozen=True, slots=True)
class Arrears:
    """The four things that must come together. `bill_due_at` is the payment date of the oldest open bill."""

    has_expired: bool
    has_open_bill: bool
    payment_date_has_passed: bool
    automatic_suspend: bool
    automatic_bill: bool = True
    bill_due_at: datetime | None = None

    @property
    def must_be_suspended(self) -> bool:
        """Whether all four hold; no bill, no suspension."""
        return (
            self.has_expired
            and self.has_open_bill
            and self.payment_date_has_passed
            and self.automatic_suspend
        )


def why_not_suspended(arrears: Arrears) -> tuple[str, ...]:
    """Say in sentences what keeps a monthly account from being suspended; nothing when all four hold."""
    reasons = []
    if not arrears.has_expired:
        reasons.append("It has not expired.")
    if not arrears.has_open_bill:
        off = "" if arrears.automatic_bill else " (automatic bill is off)"
        reasons.append(f"There is no unpaid bill{off}: no bill, no suspension.")
    elif not arrears.payment_date_has_passed:
        reasons.append("There is a bill, but its payment date has not passed yet.")
    if not arrears.automatic_suspend:
        reasons.append("Automatic suspend is off.")
    return tuple(reasons)
