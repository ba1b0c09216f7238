"""What a reply allows a session: read as its make reads it, obeyed to the octet and the second.

Owns the reading of limits and the arithmetic of where usage is cut. Pure: sessions ask, packets are sent elsewhere.
Input and output are from here on the NAS's receiving and sending side: input is the subscriber's upload.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Self

from herotill.errors import InvalidValue
from nas_simulator.makes import Make, OctetLimit
from nas_simulator.wire import Received

_MULTIPLIERS = {"k": 1000, "K": 1000, "M": 1_000_000, "G": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Usage:
    """Octets and seconds a session uses, or has used."""

    input_octets: int = 0
    output_octets: int = 0
    seconds: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_octets + other.input_octets,
            self.output_octets + other.output_octets,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_octets - other.input_octets,
            self.output_octets - other.output_octets,
            self.seconds - other.seconds,
        )

    @property
    def total_octets(self) -> int:
        """Both directions together."""
        return self.input_octets + self.output_octets

    def __post_init__(self) -> None:
        """Refuse to use less than nothing. Raises InvalidValue."""
        for name, value in (("input_octets", self.input_octets), ("output_octets", self.output_octets)):
            if value < 0:
                raise InvalidValue(name, value, "it is at least 0")
        if self.seconds < 0:
            raise InvalidValue("seconds", self.seconds, "it is at least 0")


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of some usage a session got, and the Acct-Terminate-Cause if that was its end."""

    used: Usage
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may do, counted from its start. None is unlimited, and so is 0, as on real NASes."""

    input_octets: int | None = None
    output_octets: int | None = None
    total_octets: int | None = None
    session_timeout_seconds: int | None = None
    idle_timeout_seconds: int | None = None
    interim_interval_seconds: int | None = None
    input_bits_per_second: int | None = None
    output_bits_per_second: int | None = None
    address_pool: str | None = None
    address_list: str | None = None
    octet_limit_cause: str = "Session-Timeout"

    def changed_by(self, packet: Received, make: Make, now: datetime, used_seconds: int = 0) -> Self:
        """Return these limits with those that an Access-Accept or a CoA-Request names put in their place."""
        found: dict[str, int | str | None] = {
            "input_octets": _octets(packet, make.input_limit),
            "output_octets": _octets(packet, make.output_limit),
            "total_octets": _octets(packet, make.total_limit),
            "session_timeout_seconds": _session_timeout_seconds(packet, make, now, used_seconds),
            "idle_timeout_seconds": packet.integer("Idle-Timeout"),
            "interim_interval_seconds": packet.integer("Acct-Interim-Interval"),
            "address_pool": _text(packet, "Framed-Pool"),
            "address_list": _text(packet, make.address_list),
        }
        found["input_bits_per_second"], found["output_bits_per_second"] = _rates(packet, make)
        if not make.input_is_upload:
            _swap(found)
        changes = {name: value for name, value in found.items() if value is not None}
        return replace(self, octet_limit_cause=make.octet_limit_cause, **changes)  # type: ignore[arg-type]

    def cut(self, used: Usage, more: Usage, idle_seconds: int = 0) -> Cut:
        """Return how much of `more` fits, taking it as used evenly: whatever limit is reached first ends the session."""
        share, cause = Fraction(1), None
        for remaining, wanted, name in self._bounds(used, more, idle_seconds):
            if remaining <= wanted and (cause is None or Fraction(remaining, max(wanted, 1)) < share):
                share, cause = Fraction(max(remaining, 0), max(wanted, 1)), name
        if cause is None:
            return Cut(more)
        return Cut(_portion(more, share), cause)

    def _bounds(self, used: Usage, more: Usage, idle_seconds: int) -> list[tuple[int, int, str]]:
        octets = self.octet_limit_cause
        idle_limit = self.idle_timeout_seconds if more.total_octets == 0 else None
        bounds = (
            (self.session_timeout_seconds, used.seconds, more.seconds, "Session-Timeout"),
            (self.input_octets, used.input_octets, more.input_octets, octets),
            (self.output_octets, used.output_octets, more.output_octets, octets),
            (self.total_octets, used.total_octets, more.total_octets, octets),
            (idle_limit, idle_seconds, more.seconds, "Idle-Timeout"),
        )
        return [(limit - done, wanted, why) for limit, done, wanted, why in bounds if limit]


def _portion(more: Usage, share: Fraction) -> Usage:
    # Rounding the total and not the output keeps whichever limit was reached exact.
    got_input, got_total = int(more.input_octets * share), int(more.total_octets * share)
    return Usage(got_input, got_total - got_input, int(more.seconds * share))


def split_at_interims(more: Usage, done_seconds: int, interval_seconds: int) -> list[Usage]:
    """Return `more` in pieces that end where an interim is due; the last piece ends where `more` does."""
    first = interval_seconds - done_seconds % interval_seconds
    ends = [*range(first, more.seconds, interval_seconds), more.seconds]
    # Each counter is rounded by itself, so that none ever falls.
    cumulated = [
        Usage(more.input_octets * end // more.seconds, more.output_octets * end // more.seconds, end)
        for end in ends[:-1]
    ] + [more]
    before = [Usage(), *cumulated[:-1]]
    return [end - start for start, end in zip(before, cumulated, strict=True)]


def parse_rate_bits_per_second(text: str) -> int:
    """Read RouterOS's `10M`, `512k`, `1000000`. Raises InvalidValue."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _MULTIPLIERS else (text, "")
    if not number.isascii() or not number.isdigit():
        raise InvalidValue("rate", text, "it is digits, with k, M or G")
    return int(number) * _MULTIPLIERS.get(unit, 1)


def _octets(packet: Received, limit: OctetLimit | None) -> int | None:
    if limit is None:
        return None
    low = packet.integer(limit.octets)
    high = packet.integer(limit.gigawords) if limit.gigawords else None
    return None if low is None and high is None else (high or 0) << 32 | (low or 0)


def _session_timeout_seconds(packet: Received, make: Make, now: datetime, used_seconds: int) -> int | None:
    seconds = packet.integer("Session-Timeout")
    until = _terminate_time(packet, make)
    if until is None:
        return seconds
    # A time that has passed ends the session at once; 0 would mean unlimited.
    remaining = max(int((until - now).total_seconds()) + used_seconds, 1)
    return min(seconds, remaining) if seconds else remaining


def _terminate_time(packet: Received, make: Make) -> datetime | None:
    text = _text(packet, make.terminate_time)
    if not text:
        return None
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidValue(str(make.terminate_time), text, "it is like 2027-01-31T23:59:59+00:00") from None
    return until if until.tzinfo else until.replace(tzinfo=UTC)


def _rates(packet: Received, make: Make) -> tuple[int | None, int | None]:
    pair = _text(packet, make.rate_pair)
    if pair:
        # "rx[/tx] [burst...]", rx from the router's side; one number alone is both.
        receive, _, send = pair.split()[0].partition("/")
        return parse_rate_bits_per_second(receive), parse_rate_bits_per_second(send or receive)
    if make.rate_attribute:
        return _rates_in_text(packet, make)
    return _rate(packet, make.input_rate, make), _rate(packet, make.output_rate, make)


def _rates_in_text(packet: Received, make: Make) -> tuple[int | None, int | None]:
    found: dict[str, int] = {}
    for value in packet.values(make.rate_attribute or ""):
        for pattern in make.rate_patterns:
            match = re.fullmatch(pattern, value) if isinstance(value, str) else None
            found |= {
                name: int(text) * make.rate_unit_bits
                for name, text in (match.groupdict() if match else {}).items()
            }
    return found.get("input"), found.get("output")


def _rate(packet: Received, name: str | None, make: Make) -> int | None:
    value = packet.integer(name) if name else None
    return None if value is None else value * make.rate_unit_bits


def _text(packet: Received, name: str | None) -> str | None:
    value = packet.value(name) if name else None
    return value if isinstance(value, str) else None


def _swap(found: dict[str, int | str | None]) -> None:
    for kind in ("octets", "bits_per_second"):
        inward, outward = f"input_{kind}", f"output_{kind}"
        found[inward], found[outward] = found[outward], found[inward]
