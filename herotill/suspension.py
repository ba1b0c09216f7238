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


def explain_suspension(suspended_reason: str | None, arrears: Arrears, is_monthly: bool) -> tuple[str, ...]:
    """Say how an account stands to suspension, as far as anybody would ask: expired, but why not suspended?"""
    if suspended_reason is not None:
        return (f"It is suspended ({suspended_reason}).{_ENDED_BY.get(suspended_reason, '')}",)
    if not is_monthly:
        return ()
    if arrears.must_be_suspended:
        return ("It has expired and a bill is overdue: the next billing run suspends it (rule R24).",)
    if arrears.has_expired:
        return ("It has expired, but is not suspended (rule R24).", *why_not_suspended(arrears))
    if arrears.has_open_bill and arrears.payment_date_has_passed:
        return (
            "A bill is overdue, but the account is not suspended (rule R24).",
            *why_not_suspended(arrears),
        )
    return ()


_ENDED_BY = {
    UNPAID_BILL: " Paying its overdue bills ends that at once (rule R24).",
    ENDED: " Its plan has ended; buying another ends that at once (rule R23).",
}
