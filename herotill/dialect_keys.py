"""The keys of a dialect file: which there are, and what each may hold. Knows nothing of what they mean together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from herotill.dialect_model import CountsFrom
from herotill.errors import InvalidValue

Reader = Callable[[object], str | None]
"""Says what is allowed where a value is not, None where it is."""


@dataclass(frozen=True, slots=True)
class DialectFile:
    """One TOML document and what to call it when it is wrong."""

    file: str
    document: Mapping[str, Any]

    def wrong(self, key: str, value: object, allowed: str) -> InvalidValue:
        """Return the error that names this file and the key."""
        return InvalidValue(f"{self.file}: {key}", value, allowed)

    def tables(self, key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the tables of a key, each with what to call it."""
        return [
            (f"{key} {number}", entry) for number, entry in enumerate(self.document.get(key, ()), start=1)
        ]


def check_keys(
    file: DialectFile, where: str, table: Mapping[str, Any], readers: Mapping[str, Reader]
) -> None:
    """Refuse a key there is not, or a value it may not hold. Raises InvalidValue."""
    for key, value in table.items():
        if key not in readers:
            raise file.wrong(f"{where}{key}", value, f"the keys are {', '.join(readers)}")
        allowed = readers[key](value)
        if allowed is not None:
            raise file.wrong(f"{where}{key}", value, allowed)


def _text(value: object) -> str | None:
    return None if isinstance(value, str) and value and value.isprintable() else "it is printable text"


def _texts(value: object) -> str | None:
    is_list = isinstance(value, list) and all(_text(each) is None for each in value)
    return None if is_list else "it is a list of texts"


def _nas_types(value: object) -> str | None:
    if _texts(value) is None and all(each == each.lower() for each in value):  # type: ignore[attr-defined]
        return None
    return "it is a list of texts in small letters"


def _flag(value: object) -> str | None:
    return None if type(value) is bool else "it is true or false"


def _port(value: object) -> str | None:
    return None if type(value) is int and 1 <= value <= 65_535 else "it is a port from 1 to 65535"


def _unit(value: object) -> str | None:
    return None if type(value) is int and value >= 1 else "it is a whole number from 1"


def _tables(value: object) -> str | None:
    is_list = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return None if is_list else "it is a list of tables"


def _counts_from(value: object) -> str | None:
    return None if value in list(CountsFrom) else f"it is {' or '.join(CountsFrom)}"


FILE_KEYS: Mapping[str, Reader] = {
    "name": _text,
    "title": _text,
    "nas_types": _nas_types,
    "extends": _text,
    "unsaid": _texts,
    "input_is_upload": _flag,
    "sends_gigawords": _flag,
    "coa_port": _port,
    "coa_is_whole": _flag,
    "sources": _texts,
    "notes": _texts,
    "say": _tables,
    "disconnect": _tables,
    "coa": _tables,
}
SAYING_KEYS: Mapping[str, Reader] = {
    "field": _text,
    "attribute": _text,
    "gigawords": _text,
    "unit": _unit,
    "text": _text,
    "burst_text": _text,
    "unlimited": _text,
    "live": _flag,
    "lifted_live": _flag,
    "counts_from": _counts_from,
}
PROFILE_KEYS: Mapping[str, Reader] = {"name": _text, "required": _texts, "optional": _texts}
