"""What a plan lets a session do, and what happens at its end.

A ServicePolicy is snapshotted into every grant (rule R12), every group allocation and every account, as a JSON object.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self

from herotill.devices import normal_mac
from herotill.errors import InvalidValue
from herotill.ladder import parse_ladder

MAX_BITS_PER_SECOND = 4_000_000_000_000
MAX_BOUND_CHARACTERS = 50 * 18
MAX_UNSIGNED_32 = 4_294_967_295
MAX_NOTICE_PERCENTS = 10


class Counting(StrEnum):
    """Which octets count (rule R14). Input is the subscriber's upload, output the download."""

    SUM = "sum"
    LARGER = "larger"
    DOWNLOAD = "download"
    UPLOAD = "upload"


class Sharing(StrEnum):
    """How several sessions share one grant (rule R15)."""

    SHARED = "shared"  # each is told the remainder; interims keep them honest
    STRICT = "strict"  # each reserves a slice; no overshoot even without interims


class Ending(StrEnum):
    """What happens when quota or time is used up (rule R16)."""

    REJECT = "reject"
    THROTTLE = "throttle"
    POOL = "pool"


class Outage(StrEnum):
    """What a login meets while the database cannot be asked (rule R34)."""

    LAST_KNOWN = "last_known"  # who was fine when last seen is let in, for a short time
    CLOSED = "closed"
    OPEN = "open"  # whoever knows the password is let in, for a short time


@dataclass(frozen=True, slots=True)
class Rates:
    """A pair of rates in bits per second; None is unlimited."""

    download_bits_per_second: int | None = None
    upload_bits_per_second: int | None = None


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """Rates, devices, sharing, pools and the endings of one grant or account.

    Rates are bits per second, None unlimited. `slice_octets` is what a strict grant hands to one session at a time.
    `ladder` are steps of slower rates (herotill.ladder), as text like `80:2000000/1000000,100:256000/256000`.
    `notice_percents` are the marks of use that are told of (rule R21), as text like `50,80,100`. What is left of a
    `transferable` grant may be given to another account (rule R20). A burst is a faster rate for so many seconds, where the
    router has it; `redirect_url` is where the router leads to after a login.
    """

    sharing: Sharing = Sharing.SHARED
    slice_octets: int = 268_435_456
    max_sessions: int | None = None
    download_bits_per_second: int | None = None
    upload_bits_per_second: int | None = None
    at_quota: Ending = Ending.REJECT
    at_expiry: Ending = Ending.REJECT
    throttled_download_bits_per_second: int | None = None
    throttled_upload_bits_per_second: int | None = None
    address_pool: str | None = None
    restricted_pool: str | None = None
    suspended_pool: str | None = None
    unverified_pool: str | None = None
    address_list: str | None = None
    interim_interval_seconds: int = 600
    idle_timeout_seconds: int | None = None
    outage: Outage = Outage.LAST_KNOWN
    notice_percents: str = "50,80,100"
    transferable: bool = False
    ladder: str = ""
    download_burst_bits_per_second: int | None = None
    upload_burst_bits_per_second: int | None = None
    burst_seconds: int | None = None
    redirect_url: str | None = None
    bound_devices: str = ""

    def __post_init__(self) -> None:
        """Refuse what no NAS could obey.

        Raises InvalidValue, naming the field.
        """
        _check_range(self, "slice_octets", 1, 2**62)
        _check_range(self, "max_sessions", 1, 10_000)
        _check_range(self, "interim_interval_seconds", 60, 86_400)
        _check_range(self, "idle_timeout_seconds", 60, MAX_UNSIGNED_32)
        for name in _RATE_FIELDS:
            _check_range(self, name, 1, MAX_BITS_PER_SECOND)
        for name in ("address_pool", "restricted_pool", "suspended_pool", "unverified_pool"):
            _check_text(self, name, 253)
        # Some makes take it in an attribute of their own, which holds less (RFC 2865 §5.26).
        _check_text(self, "address_list", 247)
        for name in ("at_quota", "at_expiry"):
            self._check_ending(name)
        if not isinstance(self.notice_percents, str):
            raise InvalidValue("notice_percents", self.notice_percents, "it is text like 50,80,100")
        parse_percents(self.notice_percents)
        if type(self.transferable) is not bool:
            raise InvalidValue("transferable", self.transferable, "it is true or false")
        if not isinstance(self.bound_devices, str):
            raise InvalidValue("bound_devices", self.bound_devices, "it is MAC addresses, by comma")
        parse_devices(self.bound_devices)
        if not isinstance(self.ladder, str):
            raise InvalidValue("ladder", self.ladder, "it is text like 80:2000000/1000000")
        if self.address_list is None and any(step.address_list for step in parse_ladder(self.ladder)):
            raise InvalidValue("ladder", self.ladder, "a step with a list needs address_list to go back to")
        self._check_bursts()
        _check_text(self, "redirect_url", 247)
        if self.redirect_url is not None and not self.redirect_url.startswith(("http://", "https://")):
            raise InvalidValue("redirect_url", self.redirect_url, "it begins with http:// or https://")

    def _check_bursts(self) -> None:
        _check_range(self, "burst_seconds", 1, 3600)
        for direction in ("download", "upload"):
            name = f"{direction}_burst_bits_per_second"
            burst, rate = getattr(self, name), getattr(self, f"{direction}_bits_per_second")
            _check_range(self, name, 1, MAX_BITS_PER_SECOND)
            if burst is not None and (rate is None or burst < rate):
                raise InvalidValue(name, burst, f"it is at least the {direction} rate, which must be set")

    def _check_ending(self, name: str) -> None:
        ending = getattr(self, name)
        if ending is Ending.POOL and self.restricted_pool is None:
            raise InvalidValue(name, str(ending), "it needs restricted_pool")
        if ending is Ending.THROTTLE and (
            self.throttled_download_bits_per_second is None or self.throttled_upload_bits_per_second is None
        ):
            raise InvalidValue(name, str(ending), "it needs both throttled rates")

    @property
    def rates(self) -> Rates:
        """The rates while there is something left."""
        return Rates(self.download_bits_per_second, self.upload_bits_per_second)

    @property
    def throttled_rates(self) -> Rates:
        """The rates at the end, where an ending is `throttle`."""
        return Rates(self.throttled_download_bits_per_second, self.throttled_upload_bits_per_second)

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON object stored in the database: only what differs from the defaults."""
        return {name: value for name, value in asdict(self).items() if value != _DEFAULTS[name]}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read the JSON object. Raises InvalidValue for an unknown key or an impossible value."""
        unknown = sorted(set(mapping) - set(_DEFAULTS))
        if unknown:
            raise InvalidValue(unknown[0], mapping[unknown[0]], f"a policy has {', '.join(_DEFAULTS)}")
        values = dict(mapping)
        for name, kind in _ENUM_FIELDS.items():
            if name in values:
                values[name] = _member(kind, name, values[name])
        return cls(**values)


@lru_cache(maxsize=1024)
def parse_percents(text: str) -> tuple[int, ...]:
    """Read `50,80,100` into rising percents; the empty text is none. Raises InvalidValue."""
    marks = text.split(",") if text else []
    percents = tuple(
        sorted({int(mark) for mark in marks if mark.isascii() and mark.isdigit() and len(mark) <= 3})
    )
    if not len(percents) == len(marks) <= MAX_NOTICE_PERCENTS or not all(
        1 <= percent <= 100 for percent in percents
    ):
        allowed = f"it is up to {MAX_NOTICE_PERCENTS} percents from 1 to 100, each once, like 50,80,100"
        raise InvalidValue("notice_percents", text, allowed)
    return percents


def parse_devices(text: str) -> frozenset[str]:
    """Read MAC addresses, by comma, into their one notation; the empty text is none. Raises InvalidValue."""
    devices = [normal_mac(part) for part in text.split(",")] if text else []
    if len(text) > MAX_BOUND_CHARACTERS or None in devices:
        allowed = "it is up to 50 MAC addresses, like 02:00:5e:10:00:01, by comma"
        raise InvalidValue("bound_devices", text, allowed)
    return frozenset(device for device in devices if device is not None)


def read_policy(stored: Mapping[str, Any] | str) -> ServicePolicy:
    """Read a policy of the database, a JSON object or its text. Raises InvalidValue.

    There are few of them and many rows: each is built once.
    """
    return _policy_of_text(stored) if isinstance(stored, str) else _policy_of_items(tuple(stored.items()))


@lru_cache(maxsize=4096)
def _policy_of_text(text: str) -> ServicePolicy:
    return ServicePolicy.from_mapping(json.loads(text))


@lru_cache(maxsize=4096)
def _policy_of_items(items: tuple[tuple[str, Any], ...]) -> ServicePolicy:
    return ServicePolicy.from_mapping(dict(items))


_RATE_FIELDS = (
    "download_bits_per_second",
    "upload_bits_per_second",
    "throttled_download_bits_per_second",
    "throttled_upload_bits_per_second",
)
_ENUM_FIELDS: dict[str, type[StrEnum]] = {
    "sharing": Sharing,
    "at_quota": Ending,
    "at_expiry": Ending,
    "outage": Outage,
}
_DEFAULTS = {field.name: field.default for field in fields(ServicePolicy)}


def _member(kind: type[StrEnum], name: str, value: object) -> StrEnum:
    try:
        return kind(str(value))
    except ValueError:
        raise InvalidValue(name, value, f"it is one of {', '.join(kind)}") from None


def _check_range(policy: ServicePolicy, name: str, least: int, most: int) -> None:
    value = getattr(policy, name)
    if value is None:
        return
    if type(value) is not int or not least <= value <= most:
        raise InvalidValue(name, value, f"it is a whole number from {least} to {most}")


def _check_text(policy: ServicePolicy, name: str, most: int) -> None:
    value = getattr(policy, name)
    if value is None:
        return
    # Printable first: what is not even UTF-8 is not printable either.
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value.encode()) <= most:
        raise InvalidValue(name, value, f"it is printable text of 1 to {most} octets (RFC 2865 §5)")
