"""How a session that is online is told that it may have more or less than before: by a CoA, a reconnection, or not at all.

Rule R16. A CoA says everything that differs, as the account stands now, so that repeating or losing one leaves nothing
half-said. Where the make cannot change what differs, the session is ended, and the next login is told; where it cannot say
it at all, nothing is asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from herotill.dialect import CountsFrom, Dialect, Pair, render_change
from herotill.dialect_model import RATES as RATES_SAYING
from herotill.multiplier import PER_MILLE, carried_octets
from herotill.reply import Reply
from herotill.sessions import Session

RATES = frozenset({"download_bits_per_second", "upload_bits_per_second"})
TIMEOUT = "session_timeout_seconds"
_SERVICE = RATES | {
    "download_burst_bits_per_second",
    "upload_burst_bits_per_second",
    "burst_seconds",
    "address_pool",
    "address_list",
    "redirect_url",
}
_NO_SERVICE = ("idle_timeout_seconds", "interim_interval_seconds")


class Purpose(StrEnum):
    """What a request to a NAS is for; the values are those of coa_request.purpose."""

    END = "end"
    RESTRICT = "restrict"  # it must not go on as it was
    RESTORE = "restore"  # it was restricted and is not any more
    RAISE = "raise"  # it may use more than it was told


@dataclass(frozen=True, slots=True)
class LiveChange:
    """One session that is to have `after` instead of `before`."""

    session: Session
    request_key: str
    reason: str
    purpose: Purpose
    before: Reply
    after: Reply


@dataclass(frozen=True, slots=True)
class ChangeBy:
    """Ask for it by a CoA that says these attributes."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """End the session: this make is told at a login only."""


@dataclass(frozen=True, slots=True)
class Unsayable:
    """This make cannot be told at all, or there is nothing to tell."""


Way = ChangeBy | Reconnect | Unsayable


def changed_service(before: Reply, after: Reply) -> frozenset[str]:
    """Return the fields of the service, not the limits, that differ."""
    return frozenset(name for name in _SERVICE if getattr(before, name) != getattr(after, name))


def is_slower(before: Reply, after: Reply) -> bool:
    """Whether either rate goes down, or the pool changes."""
    if before.address_pool != after.address_pool:
        return True
    return any(_rate(after, name) < _rate(before, name) for name in RATES)


def way_to_change(change: LiveChange, dialect: Dialect, per_mille: int = PER_MILLE) -> Way:
    """Decide how this make's session is told. `per_mille` is what an octet counts there (rule R22)."""
    before, after = _as_told(change, dialect, per_mille)
    if not dialect.coa:
        return Reconnect() if _said_fields(dialect) & changed_service(before, after) else Unsayable()
    rendered = render_change(dialect, before, after)
    stuck = _named(rendered.only_by_reconnect) & _SERVICE
    told = _live_fields(dialect) & changed_service(before, after) - stuck
    # A step's list is for routers that cannot change a rate.
    if told & RATES and not stuck & RATES:
        stuck -= {"address_list"}
    elif "address_list" in told:
        stuck -= RATES
    if stuck:
        return Reconnect()
    return ChangeBy(rendered.pairs) if rendered.pairs else Unsayable()


def _as_told(change: LiveChange, dialect: Dialect, per_mille: int) -> tuple[Reply, Reply]:
    """Return both replies as this session is told them: limits in octets it carries, counted as the make counts them.

    What it was told before is not known to the octet and the step, only whether it was limited: every limit differs, and
    where one rate does, both are said.
    """
    before, after = change.before, change.after
    used = change.session.meter.total
    age_seconds = int((change.session.last_report_at - change.session.started_at).total_seconds())
    so_far = {
        "limit_total_octets": used.input_octets + used.output_octets,
        "limit_input_octets": used.input_octets,
        "limit_output_octets": used.output_octets,
        TIMEOUT: max(age_seconds, used.seconds),
    }
    from_now = {saying.field for saying in dialect.sayings if saying.counts_from is CountsFrom.CHANGE}
    told: dict[str, Any] = {}
    for name, spent in so_far.items():
        rest = getattr(after, name)
        rest = rest if name == TIMEOUT else carried_octets(rest, per_mille)
        told[name] = None if rest is None else rest + (0 if name in from_now else spent)
    was_limited: dict[str, Any] = {
        name: None if told[name] is None and getattr(before, name) is None else -1 for name in so_far
    }
    same: dict[str, Any] = {name: getattr(after, name) for name in _NO_SERVICE}
    rates: dict[str, Any] = dict.fromkeys(RATES, 0) if changed_service(before, after) & RATES else {}
    return replace(before, **was_limited, **same, **rates), replace(after, **told)


def _rate(reply: Reply, name: str) -> float:
    rate = getattr(reply, name)
    return float("inf") if rate is None else rate


def _live_fields(dialect: Dialect) -> frozenset[str]:
    return _named(saying.field for saying in dialect.sayings if saying.live)


def _said_fields(dialect: Dialect) -> frozenset[str]:
    return _named(saying.field for saying in dialect.sayings)


def _named(names: Iterable[str]) -> frozenset[str]:
    found = frozenset(names)
    return found | RATES if RATES_SAYING in found else found
