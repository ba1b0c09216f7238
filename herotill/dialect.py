"""NAS dialects: how a neutral reply is said to one make of NAS. Data: herotill/dialects/*.toml and the operator's own files.

A dialect is a list of sayings. Each takes one field of herotill.reply.Reply (or `rates`, both at once) and says it in an
attribute: as a number, scaled by `unit`; split into a low word and `gigawords`; or as `text`. What a dialect extends comes
first, unless it says the same field itself.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from herotill.dialect_model import RATES, CountsFrom, Dialect, IdentificationProfile, Saying
from herotill.dialect_reading import load_dialects
from herotill.dialect_sayings import RATE_FIELDS, TIMED_FIELDS, covered
from herotill.reply import Reply

__all__ = [
    "DEFAULT_DIALECT",
    "Change",
    "CountsFrom",
    "Dialect",
    "IdentificationProfile",
    "Pair",
    "Saying",
    "dialect_for",
    "dialects",
    "load_dialects",
    "render",
    "render_change",
    "render_live",
    "render_timed",
    "use_dialects",
]

Pair = tuple[str, str]
MAX_WORD = 0xFFFF_FFFF
MAX_SPLIT = 0xFFFF_FFFF_FFFF_FFFF
DEFAULT_DIALECT = "generic"
_SESSION_TIMEOUT = "session_timeout_seconds"


@cache
def _shipped() -> Mapping[str, Dialect]:
    return load_dialects()


class _InUse:
    """The dialects of this process. Chosen once, when it starts; every part of it then speaks the same."""

    own: Mapping[str, Dialect] | None = None


def use_dialects(directory: Path | None) -> Mapping[str, Dialect]:
    """Let this process speak the shipped dialects and those of an operator's directory; None: the shipped ones alone.

    Raises InvalidValue, and then changes nothing.
    """
    _InUse.own = load_dialects(directory) if directory is not None and directory.is_dir() else None
    dialect_for.cache_clear()
    return dialects()


def dialects() -> Mapping[str, Dialect]:
    """Return the dialects of this process, by name."""
    return _shipped() if _InUse.own is None else _InUse.own


@cache
def dialect_for(nas_type: str) -> Dialect:
    """Return the dialect of a nas.type; the generic one where no dialect claims it."""
    wanted = nas_type.lower()
    for dialect in dialects().values():
        if wanted in dialect.nas_types:
            return dialect
    return dialects()[DEFAULT_DIALECT]


def render(dialect: Dialect, reply: Reply) -> list[Pair]:
    """Return the attributes that say this reply, in order. What is None is not said. A name may come more than once."""
    pairs: list[Pair] = []
    for saying, say in _compiled(dialect):
        pairs.extend(say(saying, reply))
    return pairs


def render_timed(dialect: Dialect, session_seconds: int | None, interim_seconds: int | None) -> list[Pair]:
    """Return those attributes of a reply that differ from login to login: how long, and how often to report."""
    pairs = []
    for saying in _timed(dialect):
        seconds = session_seconds if saying.field == _SESSION_TIMEOUT else interim_seconds
        if seconds is not None:
            pairs.append((saying.attribute, _number(saying, seconds)))
    return pairs


def render_live(dialect: Dialect, reply: Reply) -> list[Pair]:
    """Return the attributes a CoA may carry to change a running session to this reply."""
    return [pair for saying, say in _compiled(dialect) if saying.live for pair in say(saying, reply)]


@dataclass(frozen=True, slots=True)
class Change:
    """What brings a running session from one reply to another: attributes of a CoA, and what only a new login changes."""

    pairs: tuple[Pair, ...] = ()
    only_by_reconnect: tuple[str, ...] = ()
    counted_from_now: frozenset[str] = field(default_factory=frozenset)
    """Fields said here whose limit counts from the change, not from the session's start."""

    @property
    def attributes(self) -> dict[str, str | list[str]]:
        """The pairs as a JSON object may hold them: a name that comes more than once has a list."""
        return as_attributes(self.pairs)


def render_change(dialect: Dialect, before: Reply, after: Reply) -> Change:
    """Say what differs between two replies, and that a limit is no more where `after` has none (rule R16).

    Fields the dialect does not say at all are nothing to the NAS. Where a CoA must be whole, it says all of `after`.
    """
    pairs: list[Pair] = []
    stuck: list[str] = []
    from_now: set[str] = set()
    changed = {saying.field for saying in dialect.sayings if _differs(saying, before, after)}
    for saying, say in _compiled(dialect):
        if saying.field not in changed and not (changed and dialect.coa_is_whole and saying.live):
            continue
        said = (say(saying, after) or _lift(saying, before)) if saying.live else None
        if said is None:
            stuck.append(saying.field)
            continue
        pairs.extend(said)
        if said and saying.counts_from is CountsFrom.CHANGE:
            from_now.add(saying.field)
    return Change(tuple(pairs), tuple(dict.fromkeys(stuck)), frozenset(from_now))


def as_attributes(pairs: Iterable[Pair]) -> dict[str, str | list[str]]:
    """Return pairs as a JSON object may hold them: a name that comes more than once has a list."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _differs(saying: Saying, before: Reply, after: Reply) -> bool:
    names = [name for name in covered(saying) if name != RATES]
    return any(getattr(before, name) != getattr(after, name) for name in names)


def _lift(saying: Saying, before: Reply) -> list[Pair] | None:
    """Say that there is no limit any more; None where that cannot be said to a running session."""
    if all(getattr(before, name) is None for name in covered(saying) if name != RATES):
        return []
    if saying.unlimited is None or not saying.lifted_live:
        return None
    if saying.field == RATES:
        return [(saying.attribute, _rates_text(saying, Reply()))]
    value = saying.unlimited
    if saying.text is not None:
        is_rate = saying.field in RATE_FIELDS
        value = _rate_text(saying, int(value)) if is_rate else saying.text.format(value=value)
    lifted = [(saying.attribute, value)]
    return lifted if saying.gigawords is None else [*lifted, (saying.gigawords, "0")]


_Say = Callable[[Saying, Reply], list[Pair]]


@cache
def _compiled(dialect: Dialect) -> tuple[tuple[Saying, _Say], ...]:
    return tuple((saying, _way_of(saying)) for saying in dialect.sayings)


@cache
def _timed(dialect: Dialect) -> tuple[Saying, ...]:
    return tuple(saying for saying in dialect.sayings if saying.field in TIMED_FIELDS)


def _way_of(saying: Saying) -> _Say:
    if saying.field == RATES:
        return _say_rates if "_octets}" in (saying.text or "") else _say_plain_rates
    if saying.gigawords is not None:
        return _say_split
    return _say_field if saying.text is None else _say_text


def _say_field(saying: Saying, reply: Reply) -> list[Pair]:
    value = getattr(reply, saying.field)
    if value is None:
        return []
    if isinstance(value, int):
        return [(saying.attribute, _number(saying, value))]
    return [(saying.attribute, value)]


def _say_text(saying: Saying, reply: Reply) -> list[Pair]:
    assert saying.text is not None  # noqa: S101 - _way_of looked
    if saying.field not in RATE_FIELDS:
        return [(name, saying.text.format(value=value)) for name, value in _say_field(saying, reply)]
    return [(name, _rate_text(saying, int(value))) for name, value in _say_field(saying, reply)]


def _rate_text(saying: Saying, value: int) -> str:
    assert saying.text is not None  # noqa: S101 - _way_of looked
    burst = _normal_burst_octets(value * saying.unit)
    return saying.text.format(value=value, burst_octets=burst, excess_octets=2 * burst)


def _number(saying: Saying, value: int) -> str:
    """Return a number in the saying's unit; one that does not fit as the largest that does: stricter, never laxer."""
    units = value // saying.unit
    return str(units if 0 < units <= MAX_WORD else min(max(units, 1), MAX_WORD))


def _say_split(saying: Saying, reply: Reply) -> list[Pair]:
    limit = getattr(reply, saying.field)
    if limit is None:
        return []
    assert saying.gigawords is not None  # noqa: S101 - _way_of looked
    # Zero would be no limit at all to many a NAS.
    octets = min(max(limit, 1), MAX_SPLIT)
    return [(saying.attribute, str(octets & MAX_WORD)), (saying.gigawords, str(octets >> 32))]


def _say_plain_rates(saying: Saying, reply: Reply) -> list[Pair]:
    """Say the rates where no burst must be reckoned: packet time's way to most makes."""
    download, upload = reply.download_bits_per_second, reply.upload_bits_per_second
    if reply.download_burst_bits_per_second is not None or reply.upload_burst_bits_per_second is not None:
        return _say_rates(saying, reply)
    if download is None and upload is None:
        return []
    assert saying.text is not None  # noqa: S101 - a saying of rates has text
    said_upload, said_download = _scaled_rate(saying, upload), _scaled_rate(saying, download)
    text = saying.text.format(
        upload=said_upload,
        download=said_download,
        upload_burst=said_upload,
        download_burst=said_download,
        burst_seconds=reply.burst_seconds or 1,
    )
    return [(saying.attribute, text)]


def _scaled_rate(saying: Saying, rate: int | None) -> int:
    return int(saying.unlimited or 0) if rate is None else max(rate // saying.unit, 1)


def _say_rates(saying: Saying, reply: Reply) -> list[Pair]:
    if reply.download_bits_per_second is None and reply.upload_bits_per_second is None:
        return []
    return [(saying.attribute, _rates_text(saying, reply))]


def _rates_text(saying: Saying, reply: Reply) -> str:
    assert saying.text is not None  # noqa: S101 - a saying of rates has text
    bursts = (reply.upload_burst_bits_per_second, reply.download_burst_bits_per_second)
    text = saying.text if saying.burst_text is None or bursts == (None, None) else saying.burst_text
    values: dict[str, int] = {"burst_seconds": reply.burst_seconds or 1}
    for direction, rate, burst in zip(
        ("upload", "download"),
        (reply.upload_bits_per_second, reply.download_bits_per_second),
        bursts,
        strict=True,
    ):
        scaled = _scaled_rate(saying, rate)
        normal_burst = _normal_burst_octets(scaled * saying.unit)
        values |= {
            direction: scaled,
            f"{direction}_burst": scaled
            if rate is None or burst is None
            else max(burst // saying.unit, scaled),
            f"{direction}_burst_octets": normal_burst,
            f"{direction}_excess_octets": 2 * normal_burst,
        }
    return text.format(**values)


def _normal_burst_octets(bits_per_second: int) -> int:
    """Cisco, "Configuring Committed Access Rate": a normal burst is what passes in 1.5 s, an extended one twice that."""
    return bits_per_second * 3 // 16
