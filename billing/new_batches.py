"""What may be asked of a batch of codes, each kind with what it alone needs (rules R7, R8, R10). Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.checks import check_time_zone, check_username
from billing.codes import Alphabet, check_length, safe_length
from billing.discounts import Discount
from billing.terms import PlanTerms
from herotill.errors import InvalidValue, Refused
from herotill.quantities import MAX_MINOR_UNITS, MAX_OCTETS, MAX_SECONDS, Money
from herotill.snapshot import AccountKind
from herotill.usage_intervals import UsageInterval

MAX_BATCH = 1_000_000
MAX_NUMBER = 10**12
DEFAULT_PASSWORD_LENGTH = 10


class CodeType(StrEnum):
    """What a code is."""

    USER = "user"  # a user name with a running number, and a password
    TICKET = "ticket"  # the code is the login
    REFILL = "refill"  # no login: it adds to an account or ticket
    USAGE = "usage"  # a user name that counts up and is billed
    FREE = "free"  # a user name without a price, so many logins at a time

    @property
    def is_named(self) -> bool:
        """Whether it is a user name with a running number and a password of its own."""
        return self in (CodeType.USER, CodeType.USAGE, CodeType.FREE)


class SellWhen(StrEnum):
    """When a batch's codes are sold."""

    NOW = "now"
    LATER = "later"
    FIRST_USE = "first-use"


class UsageUnit(StrEnum):
    """What a usage-based account is billed by."""

    OCTETS = "octets"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class FreeTerms:
    """So many logins, then a pause; then again."""

    logins_max: int
    pause_seconds: int


@dataclass(frozen=True, slots=True)
class UsageTerms:
    """Each begun unit of `unit_size` octets or seconds costs `unit_price`. Bills go to `customer`, where there is one."""

    unit: UsageUnit
    unit_size: int
    unit_price: Money
    interval: UsageInterval
    time_zone: str = "UTC"
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What to generate.

    Without a `length` codes have 60 bits; without a `password_length` a ticket's password is its code. Without a `start`
    running numbers go on where they ended.
    """

    plan: str
    count: int
    sell: SellWhen
    created_by: str
    type: CodeType = CodeType.TICKET
    length: int | None = None
    alphabet: Alphabet = Alphabet.CLEAR
    password_length: int | None = None
    prefix: str | None = None
    start: int | None = None
    discount: Discount | None = None
    codes_expire_at: datetime | None = None
    free: FreeTerms | None = None
    usage: UsageTerms | None = None

    @property
    def code_length(self) -> int:
        """How many random characters guessing has to find: of the password, where the name has a running number."""
        if self.type.is_named:
            return self.password_length or DEFAULT_PASSWORD_LENGTH
        return self.length or safe_length(self.alphabet)

    @property
    def name_prefix(self) -> str:
        """What user names begin with."""
        return self.type.upper() if self.prefix is None else self.prefix

    @property
    def guessable_count(self) -> int:
        """How many codes one guess may hit: a password is guessed for one name at a time."""
        return 1 if self.type.is_named else self.count


Progress = Callable[[int], None]


def no_progress(_count: int) -> None:
    """Tell nobody how far it is."""


def check_batch(wanted: NewBatch, now: datetime) -> None:
    """Refuse what no batch can be. Raises InvalidValue, naming the option."""
    if not 1 <= wanted.count <= MAX_BATCH:
        raise InvalidValue("count", wanted.count, f"it is a whole number from 1 to {MAX_BATCH}")
    _check_fitting(wanted)
    field = "password_length" if wanted.type.is_named else "length"
    check_length(field, wanted.code_length, wanted.guessable_count, wanted.alphabet)
    if wanted.password_length is not None and not wanted.type.is_named:
        check_length("password_length", wanted.password_length, 1, wanted.alphabet)
    if wanted.type.is_named:
        check_username(f"{wanted.name_prefix}{MAX_NUMBER}")
        if wanted.start is not None and not 0 <= wanted.start <= MAX_NUMBER - wanted.count:
            raise InvalidValue("start", wanted.start, f"it is a whole number from 0 to {MAX_NUMBER}")
    if wanted.codes_expire_at is not None and wanted.codes_expire_at <= now:
        raise InvalidValue("codes_expire_at", wanted.codes_expire_at.isoformat(), "it is in the future")


def _check_fitting(wanted: NewBatch) -> None:
    """Every kind has what it needs, and nothing that means nothing to it."""
    named, kind = wanted.type.is_named, wanted.type
    wrong = {
        "length": wanted.length is not None and named,
        "prefix": wanted.prefix is not None and not named,
        "start": wanted.start is not None and not named,
        "password_length": wanted.password_length is not None and kind is CodeType.REFILL,
        "discount": wanted.discount is not None and kind is CodeType.FREE,
        "free_logins": wanted.free is not None and kind is not CodeType.FREE,
        "unit_price": wanted.usage is not None and kind is not CodeType.USAGE,
    }
    for field, is_wrong in wrong.items():
        if is_wrong:
            raise InvalidValue(field, getattr(wanted, field, "given"), f"a {kind} code has none")
    if kind is CodeType.FREE:
        _check_free(wanted.free)
    if kind is CodeType.USAGE:
        _check_usage(wanted.usage)


def _check_free(free: FreeTerms | None) -> None:
    if free is None:
        raise InvalidValue("free_logins", None, "a free account needs how many logins, and how long a pause")
    if not 1 <= free.logins_max <= 100_000:
        raise InvalidValue("free_logins", free.logins_max, "it is a whole number from 1 to 100000")
    if not 1 <= free.pause_seconds <= MAX_SECONDS:
        raise InvalidValue("free_pause", free.pause_seconds, "it is a time like 24h, 100 years at most")


def _check_usage(usage: UsageTerms | None) -> None:
    if usage is None:
        raise InvalidValue(
            "unit_price", None, "a usage-based account needs a unit, its price and an interval"
        )
    check_time_zone(usage.time_zone)
    most = MAX_OCTETS if usage.unit is UsageUnit.OCTETS else MAX_SECONDS
    if not 1 <= usage.unit_size <= most:
        raise InvalidValue("unit", usage.unit_size, f"it is a whole number from 1 to {most}")
    if not 1 <= usage.unit_price.minor <= MAX_MINOR_UNITS:
        raise InvalidValue("unit_price", str(usage.unit_price), "it is more than zero")


def check_plan(wanted: NewBatch, plan_name: str, terms: PlanTerms) -> None:
    """Refuse a plan these codes cannot give. Raises Refused, InvalidValue."""
    if wanted.type is CodeType.REFILL:
        return
    if AccountKind.HOTSPOT not in terms.kinds:
        raise Refused(f"{plan_name} is not sold to hotspot accounts, which {wanted.type} codes are", "R1")
    if wanted.usage is None:
        return
    if terms.quota_octets is not None or terms.quota_seconds is not None:
        raise Refused(f"{plan_name} has a quota; a usage-based account counts up and has none", "R7")
    if wanted.usage.unit_price.currency != terms.price.currency:
        allowed = f"{plan_name} is sold in {terms.price.currency}"
        raise InvalidValue("unit_price", str(wanted.usage.unit_price), allowed)
