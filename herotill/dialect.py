"""NAS dialects: how a neutral reply is said to one make of NAS. Data, in herotill/dialects/*.toml.

A dialect is a list of sayings. Each takes one field of herotill.reply.Reply (or `rates`, both at once) and says it in an
attribute: as a number, scaled by `unit`; split into a low word and `gigawords`; or as `text`. What a dialect extends comes
first, unless it says the same field itself.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from herotill.errors import InvalidValue
from herotill.reply import Reply

Pair = tuple[str, str]
MAX_WORD = 0xFFFF_FFFF
MAX_SPLIT = 0xFFFF_FFFF_FFFF_FFFF
DEFAULT_DIALECT = "generic"


@dataclass(frozen=True, slots=True)
class Saying:
    """How one field is said. `live` tells that a CoA may change it in a running session."""

    field: str
    attribute: str
    gigawords: str | None = None
    unit: int = 1
    text: str | None = None
    live: bool = False


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: there is one of each
class Dialect:
    """One make's way of saying a reply; `nas_types` are the values of nas.type that mean it.

    `input_is_upload` is false where the make calls Input what others call Output, in its limits and its accounting alike;
    its sayings name our directions: an input limit is a limit on the upload."""

    name: str
    nas_types: tuple[str, ...]
    source: str
    sayings: tuple[Saying, ...]
    input_is_upload: bool = True


_SESSION_TIMEOUT = "session_timeout_seconds"
_REPLY_FIELDS = frozenset(field.name for field in fields(Reply))


def parse_dialect(document: Mapping[str, Any], base: Dialect | None = None) -> Dialect:
    """Read one dialect's TOML document. Raises InvalidValue naming the key that is wrong."""
    own = tuple(_parse_saying(entry) for entry in document.get("say", ()))
    said = {saying.field for saying in own}
    inherited = tuple(saying for saying in base.sayings if saying.field not in said) if base else ()
    return Dialect(
        document["name"],
        tuple(document["nas_types"]),
        document["source"],
        inherited + own,
        document.get("input_is_upload", True),
    )


def _parse_saying(entry: Mapping[str, Any]) -> Saying:
    unknown = set(entry) - {field.name for field in fields(Saying)}
    if unknown:
        raise InvalidValue(
            "say", sorted(unknown)[0], "a saying has field, attribute, gigawords, unit, text, live"
        )
    saying = Saying(**entry)
    if saying.field != "rates" and saying.field not in _REPLY_FIELDS:
        raise InvalidValue("field", saying.field, f"it is rates or one of {', '.join(sorted(_REPLY_FIELDS))}")
    return saying


@cache
def dialects() -> Mapping[str, Dialect]:
    """Return the dialects shipped with this package, by name."""
    folder = files("herotill").joinpath("dialects")
    documents = {
        document["name"]: document
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
        for document in [tomllib.loads(entry.read_text(encoding="utf-8"))]
    }
    return {name: _resolve(document, documents) for name, document in sorted(documents.items())}


def _resolve(document: Mapping[str, Any], documents: Mapping[str, Mapping[str, Any]]) -> Dialect:
    base = document.get("extends")
    return parse_dialect(document, _resolve(documents[base], documents) if base else None)


@cache
def dialect_for(nas_type: str) -> Dialect:
    """Return the dialect of a nas.type; the generic one where no dialect claims it."""
    wanted = nas_type.lower()
    for dialect in dialects().values():
        if wanted in dialect.nas_types:
            return dialect
    return dialects()[DEFAULT_DIALECT]


def render(dialect: Dialect, reply: Reply) -> list[Pair]:
    """Return the attributes that say this reply, in order. What is None is not said."""
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


_Say = Callable[[Saying, Reply], list[Pair]]


@cache
def _compiled(dialect: Dialect) -> tuple[tuple[Saying, _Say], ...]:
    return tuple((saying, _way_of(saying)) for saying in dialect.sayings)


@cache
def _timed(dialect: Dialect) -> tuple[Saying, ...]:
    return tuple(
        saying for saying in dialect.sayings if saying.field in (_SESSION_TIMEOUT, "interim_interval_seconds")
    )


def _way_of(saying: Saying) -> _Say:
    if saying.field == "rates":
        return _say_rates
    if saying.gigawords is not None:
        return _say_split
    return _say_field


def _say_field(saying: Saying, reply: Reply) -> list[Pair]:
    value = getattr(reply, saying.field)
    if value is None:
        return []
    if isinstance(value, int):
        return [(saying.attribute, _number(saying, value))]
    return [(saying.attribute, value)]


def _number(saying: Saying, value: int) -> str:
    """Return a number in the saying's unit; one that does not fit as the largest that does: stricter, never laxer."""
    return str(min(max(value // saying.unit, 1), MAX_WORD))


def _say_split(saying: Saying, reply: Reply) -> list[Pair]:
    limit = getattr(reply, saying.field)
    if limit is None:
        return []
    assert saying.gigawords is not None  # noqa: S101 - _way_of looked
    # Zero would be no limit at all to many a NAS.
    octets = min(max(limit, 1), MAX_SPLIT)
    return [(saying.attribute, str(octets & MAX_WORD)), (saying.gigawords, str(octets >> 32))]


def _say_rates(saying: Saying, reply: Reply) -> list[Pair]:
    download, upload = reply.download_bits_per_second, reply.upload_bits_per_second
    if download is None and upload is None:
        return []
    assert saying.text is not None  # noqa: S101 - a saying of rates has text
    return [(saying.attribute, saying.text.format(upload=upload or 0, download=download or 0))]
