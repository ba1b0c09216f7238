"""The sinks of the settings: `event_sinks` in herotill.yaml, a mapping of names to what each needs.

Secrets are kept out of every representation; a value that may hold one is not repeated in an error.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from herotill.errors import InvalidValue

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_NOT_SHOWN = "(not shown)"
SMTP_SECURITIES = ("starttls", "tls", "none")


@dataclass(frozen=True, slots=True)
class FileTarget:
    """A file that gets a line of JSON for each event."""

    path: Path


@dataclass(frozen=True, slots=True)
class CommandTarget:
    """A program that is run for each event, with the event as JSON on its standard input."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SmtpTarget:
    """A mail server that takes messages for customers."""

    host: str
    sender: str
    port: int = 587
    security: str = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A URL that events are posted to, signed with the secret."""

    url: str
    secret: bytes = field(repr=False)
    ca_file: Path | None = None


Target = FileTarget | CommandTarget | SmtpTarget | HttpTarget


@dataclass(frozen=True, slots=True)
class Sink:
    """One sink: what it wants, how patient we are with it, and where it is.

    `kinds` are patterns such as `notice.*`. After `attempts` failures an event is put aside for an operator. So many as
    `parallel` are delivered at once; with one they keep their order, but for those that failed.
    """

    name: str
    target: Target
    kinds: tuple[str, ...] = ("*",)
    attempts: int = 24
    timeout_seconds: int = 10
    parallel: int = 1


def read_sinks(key: str, value: object) -> tuple[Sink, ...]:
    """Read the mapping. Raises InvalidValue, naming sink and key."""
    if not isinstance(value, dict):
        raise InvalidValue(key, type(value).__name__, "it is a mapping of names to sinks")
    return tuple(_read_sink(f"{key}.{name}", name, fields) for name, fields in value.items())


def _read_sink(key: str, name: object, fields: object) -> Sink:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidValue(key, name, "a sink's name is lower-case letters, digits, - and _")
    if not isinstance(fields, dict) or fields.get("type") not in _TARGETS:
        kind = fields.get("type") if isinstance(fields, dict) else type(fields).__name__
        raise InvalidValue(f"{key}.type", kind, f"it is one of {', '.join(_TARGETS)}")
    build, readers = _TARGETS[fields["type"]]
    known = readers | _COMMON
    values: dict[str, Any] = {}
    for field_name, value in fields.items():
        if field_name == "type":
            continue
        if field_name not in known:
            raise InvalidValue(f"{key}.{field_name}", _NOT_SHOWN, f"this sink has {', '.join(known)}")
        values[field_name] = known[field_name](f"{key}.{field_name}", value)
    common = {field_name: values.pop(field_name) for field_name in _COMMON if field_name in values}
    return Sink(name, build(key, values), **common)


def _build(
    kind: Callable[..., Target], needed: tuple[str, ...]
) -> Callable[[str, Mapping[str, Any]], Target]:
    def build(key: str, values: Mapping[str, Any]) -> Target:
        for name in needed:
            if name not in values:
                raise InvalidValue(f"{key}.{name}", None, "it must be set")
        return kind(**values)

    return build


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidValue(key, value, "it is printable text")
    return value


def _password(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidValue(key, _NOT_SHOWN, "it is text")
    return value


def _secret(key: str, value: object) -> bytes:
    if isinstance(value, str) and len(value) >= 32 and re.fullmatch(r"([0-9A-Fa-f]{2})+", value):
        return bytes.fromhex(value)
    raise InvalidValue(
        key, _NOT_SHOWN, "it is at least 32 hexadecimal digits, as `openssl rand -hex 32` prints them"
    )


def _path(key: str, value: object) -> Path:
    path = Path(_text(key, value)).expanduser()
    if not path.is_absolute():
        raise InvalidValue(key, value, "it is an absolute path")
    return path


def _words(key: str, value: object) -> tuple[str, ...]:
    words = value if isinstance(value, list) else [value]
    if not words:
        raise InvalidValue(key, value, "it is a list of at least one")
    return tuple(_text(key, word) for word in words)


def _whole(least: int, most: int) -> Callable[[str, object], int]:
    def read(key: str, value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise InvalidValue(key, value, f"it is a whole number from {least} to {most}")
        return value

    return read


def _security(key: str, value: object) -> str:
    if value not in SMTP_SECURITIES:
        raise InvalidValue(key, value, f"it is one of {', '.join(SMTP_SECURITIES)}")
    return str(value)


def _sender(key: str, value: object) -> str:
    text = _text(key, value)
    if "@" not in parseaddr(text)[1]:
        raise InvalidValue(key, value, "it is an address like HeroTill <no-reply@example.net>")
    return text


def _url(key: str, value: object) -> str:
    parts = urlsplit(value) if isinstance(value, str) and value.isascii() and value.isprintable() else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        # It may hold a password and is not repeated.
        raise InvalidValue(
            key, _NOT_SHOWN, "it is a URL like https://portal.example.net/events, without a password"
        )
    return str(value)


_COMMON: dict[str, Callable[[str, object], Any]] = {
    "kinds": _words,
    "attempts": _whole(1, 1000),
    "timeout_seconds": _whole(1, 300),
    "parallel": _whole(1, 16),
}
_TARGETS: dict[
    str, tuple[Callable[[str, Mapping[str, Any]], Target], dict[str, Callable[[str, object], Any]]]
] = {
    "file": (_build(FileTarget, ("path",)), {"path": _path}),
    "command": (_build(CommandTarget, ("command",)), {"command": _words}),
    "smtp": (
        _build(SmtpTarget, ("host", "sender")),
        {
            "host": _text,
            "port": _whole(1, 65_535),
            "security": _security,
            "user": _text,
            "password": _password,
            "sender": _sender,
            "ca_file": _path,
        },
    ),
    "http": (_build(HttpTarget, ("url", "secret")), {"url": _url, "secret": _secret, "ca_file": _path}),
}
