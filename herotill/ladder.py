"""The throttle ladder of a plan: at so many percent of use these rates, at last perhaps cut off (rule R16).

A policy holds it as text, `80:2000000/1000000,100:256000/256000@slow,120:cut`: percent, download and upload in bits per
second, and after `@` the address list that a router is told where it cannot change a rate. Percents above 100 are what is
used after the end; only a grant whose end throttles gets there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from herotill.errors import InvalidValue
from herotill.quantities import format_bits_per_second, parse_bits_per_second

MAX_STEPS = 10
MAX_PERCENT = 1000
MAX_LIST_OCTETS = 247
WHOLE = 100
CUT = "cut"
_ALLOWED = "a step is PERCENT:DOWN/UP, like 80%:2M/1M or 80%:2M/1M@LIST, or PERCENT:cut as the last one"


@dataclass(frozen=True, slots=True)
class Step:
    """From so many percent of use on these rates, or nothing at all."""

    percent: int
    download_bits_per_second: int = 0
    upload_bits_per_second: int = 0
    address_list: str | None = None
    cuts: bool = False


@lru_cache(maxsize=1024)
def parse_ladder(text: str) -> tuple[Step, ...]:
    """Read a ladder as a policy stores it or as it is typed; the empty text has no steps. Raises InvalidValue."""
    steps = tuple(_parse_step(part.strip()) for part in text.split(",")) if text else ()
    percents = [step.percent for step in steps]
    if len(steps) > MAX_STEPS or percents != sorted(set(percents)):
        raise InvalidValue(
            "ladder", text, f"it has up to {MAX_STEPS} steps, each at more percent than the last"
        )
    if any(step.cuts for step in steps[:-1]):
        raise InvalidValue("ladder", text, "nothing follows a cut")
    if any(step.cuts and step.percent < WHOLE for step in steps):
        raise InvalidValue("ladder", text, "what is paid for is not cut: a cut is at 100% or more")
    return steps


def format_ladder(steps: Sequence[Step]) -> str:
    """Write steps as a policy stores them."""
    return ",".join(f"{step.percent}:{_effect(step, str)}" for step in steps)


def show_ladder(text: str) -> str:
    """Write a stored ladder as it can be typed."""

    def show(rate: int) -> str:
        return format_bits_per_second(rate).removesuffix("bit/s")

    return ", ".join(f"{step.percent}%:{_effect(step, show)}" for step in parse_ladder(text))


def step_at(text: str, used: int, quota: int) -> Step | None:
    """Return the highest step of a stored ladder that `used` of `quota` has reached; None below the first."""
    reached = [step for step in parse_ladder(text) if used * WHOLE >= step.percent * quota]
    return reached[-1] if reached else None


def _effect(step: Step, show: Callable[[int], str]) -> str:
    if step.cuts:
        return CUT
    suffix = "" if step.address_list is None else f"@{step.address_list}"
    return f"{show(step.download_bits_per_second)}/{show(step.upload_bits_per_second)}{suffix}"


def _parse_step(text: str) -> Step:
    head, colon, effect = text.partition(":")
    percent = head.removesuffix("%")
    if not colon or not (percent.isascii() and percent.isdigit() and 1 <= int(percent[:6]) <= MAX_PERCENT):
        raise InvalidValue("ladder", text, f"{_ALLOWED}; percents are 1 to {MAX_PERCENT}")
    if effect == CUT:
        return Step(int(percent), cuts=True)
    rates, at, address_list = effect.partition("@")
    down, slash, up = rates.partition("/")
    if (at and not _is_list_name(address_list)) or not down or (slash and not up):
        raise InvalidValue("ladder", text, _ALLOWED)
    download = _parse_rate(down)
    upload = _parse_rate(up) if slash else download
    return Step(int(percent), download, upload, address_list or None)


def _parse_rate(text: str) -> int:
    """Read a rate with its unit, or bits per second, or as routers write it: 2M, 256k."""
    unit = "" if text[-1:].isalpha() and text[-1:] not in "kKmMgG" else "bit/s"
    return parse_bits_per_second(text + unit, "ladder")


def _is_list_name(name: str) -> bool:
    return name.isprintable() and 1 <= len(name.encode()) <= MAX_LIST_OCTETS and name == name.strip()
