"""What a plan promises: price, quota, clocks, policy. Pure; the snapshot a purchase keeps (rule R12)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from billing.models import Plan
from herotill.errors import InvalidValue, Refused
from herotill.policy import Counting, Ending, ServicePolicy
from herotill.quantities import MAX_MINOR_UNITS, MAX_OCTETS, MAX_SECONDS, Money
from herotill.refilling import RefillExpiry, RefillRates, RefillTerms
from herotill.snapshot import AccountKind

_LIMITS = {
    "quota_octets": MAX_OCTETS,
    "quota_seconds": MAX_SECONDS,
    "seconds_after_purchase": MAX_SECONDS,
    "seconds_after_first_use": MAX_SECONDS,
    "seconds_after_last_use": MAX_SECONDS,
}
ALL_KINDS = tuple(AccountKind)


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """A plan without its name. A quota of None is unlimited; a clock of None does not run (rule R13).

    A plan that recurs may roll over what a cycle leaves, and be topped up by itself with `topup_plan`, at most `topups_max`
    times in a cycle (rule R18).
    """

    price: Money
    kinds: tuple[AccountKind, ...] = ALL_KINDS
    quota_octets: int | None = None
    quota_seconds: int | None = None
    seconds_after_purchase: int | None = None
    seconds_after_first_use: int | None = None
    seconds_after_last_use: int | None = None
    valid_until: datetime | None = None
    ends_with_cycle: bool = False
    counting: Counting = Counting.SUM
    priority: int = 100
    policy: ServicePolicy = field(default_factory=ServicePolicy)
    refill: RefillTerms = field(default_factory=RefillTerms)
    rolls_over: bool = False
    topup_plan: str | None = None
    topups_max: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no grant could hold. Raises InvalidValue, naming the field."""
        if not 0 <= self.price.minor <= MAX_MINOR_UNITS:
            raise InvalidValue("price", str(self.price), "it is zero or more")
        if not self.kinds:
            raise InvalidValue("kinds", "", f"at least one of {', '.join(AccountKind)}")
        if self.ends_with_cycle and self.kinds != (AccountKind.MONTHLY,):
            raise InvalidValue(
                "kinds", ",".join(self.kinds), "only monthly accounts have a billing cycle (rule R24)"
            )
        self._check_recurrence()
        if not 0 <= self.priority <= 1_000_000:
            raise InvalidValue("priority", self.priority, "it is a whole number from 0 to 1000000")
        for name, most in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise InvalidValue(name, value, f"it is a whole number from 1 to {most}")

    def _check_recurrence(self) -> None:
        """Rule R18: only monthly accounts have a next cycle. Raises Refused for another kind."""
        wished = [("rollover", self.rolls_over), ("automatic top-up", self.topup_plan is not None)]
        for what, is_wished in wished:
            if is_wished and self.kinds != (AccountKind.MONTHLY,):
                kinds = ", ".join(self.kinds)
                reason = f"is for monthly accounts only, for they alone have cycles; this plan is for {kinds}"
                raise Refused(f"{what} {reason}", "R18")
        if self.topups_max is not None and (self.topup_plan is None or self.topups_max < 1):
            raise InvalidValue("topups_max", self.topups_max, "it is 1 or more, of a plan with a top-up plan")

    def to_columns(self) -> dict[str, Any]:
        """Return the columns of billing.plan."""
        plain = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        return plain | {
            "price_minor": self.price.minor,
            "currency": self.price.currency,
            "kinds": [str(kind) for kind in self.kinds],
            "counting": str(self.counting),
            "policy": self.policy.to_mapping(),
            "refill_expiry": str(self.refill.expiry),
            "refill_rates": str(self.refill.rates),
            "refill_counts_overuse": self.refill.counts_overuse,
        }

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON object a purchase keeps."""
        columns = self.to_columns()
        columns["valid_until"] = self.valid_until and self.valid_until.isoformat()
        return {name: value for name, value in columns.items() if value is not None}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read what `to_columns` or `to_mapping` wrote."""
        values = {name: mapping[name] for name in _PLAIN_FIELDS if mapping.get(name) is not None}
        if isinstance(values.get("valid_until"), str):
            values["valid_until"] = datetime.fromisoformat(values["valid_until"])
        return cls(
            price=Money(mapping["price_minor"], mapping["currency"]),
            kinds=tuple(AccountKind(kind) for kind in mapping["kinds"]),
            counting=Counting(mapping["counting"]),
            policy=ServicePolicy.from_mapping(mapping["policy"]),
            refill=_refill_terms(mapping),
            **values,
        )

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Read the terms of a plan in the books."""
        return cls.from_mapping({name: getattr(plan, name) for name in _COLUMNS})


_RECURRENCE = ("rolls_over", "topup_plan", "topups_max")
_PLAIN_FIELDS = (*_LIMITS, "valid_until", "ends_with_cycle", "priority", *_RECURRENCE)
_REFILL_FIELDS = ("refill_expiry", "refill_rates", "refill_counts_overuse")
_COLUMNS = (*_PLAIN_FIELDS, *_REFILL_FIELDS, "price_minor", "currency", "kinds", "counting", "policy")


def _refill_terms(mapping: Mapping[str, Any]) -> RefillTerms:
    """Read a plan's choice; what was sold before there was one has the default."""
    if "refill_expiry" not in mapping:
        return RefillTerms()
    return RefillTerms(
        RefillExpiry(mapping["refill_expiry"]),
        RefillRates(mapping["refill_rates"]),
        mapping["refill_counts_overuse"],
    )


@dataclass(frozen=True, slots=True)
class GrantClocks:
    """When a grant ends: the fixed end, and the clocks that have yet to start."""

    expires_at: datetime | None
    seconds_after_first_use: int | None
    seconds_after_last_use: int | None


def clocks_of_purchase(terms: PlanTerms, purchased_at: datetime, cycle_end: datetime | None) -> GrantClocks:
    """Return the clocks of what was sold at `purchased_at`; `cycle_end` where the plan ends with the cycle."""
    ends = [] if terms.valid_until is None else [terms.valid_until]
    if terms.seconds_after_purchase is not None:
        ends.append(purchased_at + timedelta(seconds=terms.seconds_after_purchase))
    if terms.ends_with_cycle and cycle_end is not None:
        ends.append(cycle_end)
    return GrantClocks(min(ends, default=None), terms.seconds_after_first_use, terms.seconds_after_last_use)


def daily_terms(terms: PlanTerms) -> PlanTerms:
    """Return what a plan means to a daily account (rule R23): time counts from the purchase, and its end is an end."""
    clocks = [terms.seconds_after_purchase, terms.seconds_after_first_use]
    after_purchase = min((clock for clock in clocks if clock is not None), default=None)
    policy = replace(terms.policy, at_expiry=Ending.REJECT)
    return replace(terms, seconds_after_purchase=after_purchase, seconds_after_first_use=None, policy=policy)


def clocks_of_first_use_sale(terms: PlanTerms) -> GrantClocks:
    """Return the clocks of a ticket that is sold when it is first used: that moment is its purchase (rule R8)."""
    clocks = [terms.seconds_after_purchase, terms.seconds_after_first_use]
    after_first_use = min((clock for clock in clocks if clock is not None), default=None)
    return GrantClocks(terms.valid_until, after_first_use, terms.seconds_after_last_use)
