"""How people write octets, durations, rates and money, and how they are written back.

Parsers are strict: a number needs its unit, a fraction must come out whole. Every `format_*` is exact, so
that what is shown can be typed in again and means the same.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from herotill.errors import InvalidValue

MAX_OCTETS = 2**62
MAX_SECONDS = 100 * 366 * 86_400
MAX_RATE = 4 * 10**12
MAX_MINOR_UNITS = 2**53

_OCTET_UNITS = {
    "TiB": 2**40,
    "GiB": 2**30,
    "MiB": 2**20,
    "KiB": 2**10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "kB": 10**3,
    "B": 1,
}
_APPROXIMATE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SECOND_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_RATE_UNITS = {"Gbit/s": 10**9, "Mbit/s": 10**6, "kbit/s": 10**3, "bit/s": 1}
# As people write them: 2Mbps, and as RouterOS does, 2M.
_RATE_SPELLINGS = {
    "gbps": "Gbit/s",
    "mbps": "Mbit/s",
    "kbps": "kbit/s",
    "bps": "bit/s",
    "g": "Gbit/s",
    "m": "Mbit/s",
    "k": "kbit/s",
}

# ISO 4217: currencies whose minor unit is not a hundredth.
_MINOR_DIGITS_OF = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_MINOR_DIGITS = {code: digits for digits, codes in _MINOR_DIGITS_OF.items() for code in codes.split()}

_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,12})?)\s*([A-Za-z/]+)", re.ASCII)
_AMOUNT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,12})?)\s*([A-Za-z]{3})?", re.ASCII)
_DURATION = re.compile(r"(?:[0-9]{1,12}[wdhms])+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+)([wdhms])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents) of an ISO 4217 currency."""

    minor: int
    currency: str

    def __str__(self) -> str:
        return format_money(self)


def parse_octets(text: str, field: str) -> int:
    """Read `2GiB`, `500MB` or `1.5 GiB`; KiB are 1024, kB are 1000. Raises InvalidValue."""
    return _parse_scaled(text, field, _OCTET_UNITS, MAX_OCTETS, "it is written like 2GiB, 500MB or 1500B")


def format_octets(octets: int) -> str:
    """Write octets exactly, in the largest unit that divides them."""
    return _format_scaled(octets, _OCTET_UNITS)


def parse_seconds(text: str, field: str) -> int:
    """Read `1m`, `2h30m` or `30d` (w, d, h, m, s; m is a minute, d is 24 hours). Raises InvalidValue."""
    allowed = "it is written like 90s, 1m, 2h30m, 30d or 4w"
    stripped = text.strip()
    if not _DURATION.fullmatch(stripped):
        raise InvalidValue(field, text, allowed)
    parts = _DURATION_PART.findall(stripped)
    seconds = sum(int(number) * _SECOND_UNITS[unit] for number, unit in parts)
    units = [unit for _, unit in parts]
    if len(set(units)) < len(units) or not 1 <= seconds <= MAX_SECONDS:
        raise InvalidValue(field, text, f"{allowed}, each unit once, 100 years at most")
    return seconds


def format_seconds(seconds: int) -> str:
    """Write a duration exactly: `1d12h`; `2w`, but `30d`, as people say it."""
    week = _SECOND_UNITS["w"]
    if seconds and seconds % week == 0:
        return f"{seconds // week}w"
    parts = []
    for unit, size in _SECOND_UNITS.items():
        if unit == "w":
            continue
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def approximate_octets(octets: int) -> str:
    """Write octets for people to read, not to type: `12.4 GiB`, rounded down."""
    unit = 0
    while octets >> (10 * (unit + 1)) and unit < len(_APPROXIMATE_UNITS) - 1:
        unit += 1
    whole, decimal = divmod(octets * 10 >> (10 * unit), 10)
    return (
        f"{whole}.{decimal} {_APPROXIMATE_UNITS[unit]}"
        if decimal and unit
        else f"{whole} {_APPROXIMATE_UNITS[unit]}"
    )


def parse_bits_per_second(text: str, field: str) -> int:
    """Read `2Mbit/s`, `512kbit/s` or `10Mbps`; k, M and G are powers of 1000. Raises InvalidValue."""
    lowered = text.strip().lower()
    for spelling, unit in _RATE_SPELLINGS.items():
        if lowered.endswith(spelling):
            text = f"{lowered.removesuffix(spelling)}{unit}"
            break
    return _parse_scaled(text, field, _RATE_UNITS, 4 * 10**12, "it is written like 2Mbit/s, 512k or 10Mbps")


def format_bits_per_second(bits_per_second: int) -> str:
    """Write a rate exactly, in the largest unit that divides it."""
    return _format_scaled(bits_per_second, _RATE_UNITS)


def parse_money(text: str, field: str, currency: str | None = None) -> Money:
    """Read `50KES` or `1.50 USD`, or `50` where a `currency` is taken for granted.

    Raises InvalidValue, also for decimals the currency has not.
    """
    allowed = "it is an amount with its currency, like 50KES or 1.50USD"
    match = _AMOUNT.fullmatch(text.strip())
    code = None if match is None else (match[2] or currency)
    if match is None or code is None:
        raise InvalidValue(field, text, allowed)
    minor = Decimal(match[1]).scaleb(minor_digits(code.upper()))
    if minor != int(minor) or minor > MAX_MINOR_UNITS:
        raise InvalidValue(
            field, text, f"{allowed}; {code.upper()} has {minor_digits(code.upper())} decimals"
        )
    return Money(int(minor), code.upper())


def format_money(money: Money) -> str:
    """Write an amount with all decimals of its currency: `1.50 USD`."""
    digits = minor_digits(money.currency)
    return f"{Decimal(money.minor).scaleb(-digits):.{digits}f} {money.currency}"


def minor_digits(currency: str) -> int:
    """How many decimals a currency's amounts have (ISO 4217)."""
    return _MINOR_DIGITS.get(currency, 2)


def _parse_scaled(text: str, field: str, units: dict[str, int], most: int, allowed: str) -> int:
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    size = None if match is None else _unit_size(match[2], units)
    if match is None or size is None:
        raise InvalidValue(field, text, allowed)
    value = Decimal(match[1]) * size
    if value != int(value) or not 1 <= value <= most:
        raise InvalidValue(field, text, f"{allowed}, a whole number from 1 to {_format_scaled(most, units)}")
    return int(value)


def _unit_size(unit: str, units: dict[str, int]) -> int | None:
    return {name.lower(): size for name, size in units.items()}.get(unit.lower())


def _format_scaled(value: int, units: dict[str, int]) -> str:
    size, name = max(
        (size, name) for name, size in units.items() if size == 1 or (value and value % size == 0)
    )
    return f"{value // size}{name}"
