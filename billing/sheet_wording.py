"""What printed vouchers say and in which colours, read from a template file (rule R11)."""

import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from billing.new_batches import CodeType
from billing.printing import Card
from herotill.errors import InvalidValue
from herotill.quantities import format_octets, format_seconds

DEFAULT_TEMPLATE = Path(__file__).with_name("sheet_template.toml")
PLACEHOLDERS = frozenset(
    ("plan", "price", "validity", "quota", "code", "password", "serial", "use_by", "type")
)
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_TEXTS = ("title", "footer", "footer_refill", "footer_without_qr")
_COLORS = ("color", "text_color", "muted_color")
_OPTIONAL = ("refill_url", "font", "bold_font")


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts and colours of a card; `labels` stand over the code, by its type, and over password and number."""

    title: str
    lines: tuple[str, ...]
    footer: str
    footer_refill: str
    footer_without_qr: str
    color: str
    text_color: str
    muted_color: str
    labels: Mapping[str, str]
    refill_url: str | None = None
    font: str | None = None
    bold_font: str | None = None

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Read a template; what it does not say is as in ours. Raises InvalidValue, naming the key."""
        values = _read(DEFAULT_TEMPLATE)
        if path != DEFAULT_TEMPLATE:
            own = _read(path)
            labels = own.get("labels", {})
            if not isinstance(labels, dict):
                raise InvalidValue("labels", labels, "it is a table, [labels]")
            values = values | own | {"labels": values["labels"] | labels}
        for key, value in values.items():
            _check(key, value, known=set(_TEXTS) | set(_COLORS) | set(_OPTIONAL) | {"lines", "labels"})
        return cls(**values | {"lines": tuple(values["lines"])})

    def address_of(self, card: Card, login_url: str) -> str:
        """Return what the QR code opens: for a refill, which is no login, the page without anything typed in."""
        if card.type is not CodeType.REFILL:
            return login_url
        return login_url.partition("?")[0] if self.refill_url is None else self.refill_url

    def footer_of(self, card: Card, *, has_qr: bool) -> str:
        """Return what to do with the code."""
        if card.type is CodeType.REFILL:
            return self.footer_refill
        return self.footer if has_qr else self.footer_without_qr


@dataclass(frozen=True, slots=True)
class Wordsmith:
    """Fills the texts of a template with what a card has, in the operator's time zone."""

    zone: tzinfo

    def values_of(self, card: Card) -> dict[str, str]:
        """Return every placeholder's text; what a card has not is empty."""
        use_by = "" if card.use_by is None else f"{card.use_by.astimezone(self.zone):%d %b %Y %H:%M}"
        return {
            "plan": card.plan,
            "price": "" if card.price is None or card.price.minor == 0 else str(card.price),
            "validity": self.validity_of(card),
            "quota": _quota(card),
            "code": card.code,
            "password": card.password,
            "serial": card.serial,
            "use_by": use_by,
            "type": str(card.type),
        }

    def fill(self, text: str, values: Mapping[str, str]) -> str:
        """Return the text filled in, or nothing where a placeholder of it is empty."""
        needed = _placeholders(text)
        return text.format_map(values) if all(values[name] for name in needed) else ""

    def validity_of(self, card: Card) -> str:
        """Say how long what is sold is valid."""
        terms = card.terms
        clocks = {
            "Valid {} from the purchase": terms.seconds_after_purchase,
            "Valid {} from the first login": terms.seconds_after_first_use,
            "Ends {} after the last use": terms.seconds_after_last_use,
        }
        said = [
            sentence.format(_in_words(seconds)) for sentence, seconds in clocks.items() if seconds is not None
        ]
        if terms.valid_until is not None:
            said.append(f"Valid until {terms.valid_until.astimezone(self.zone):%d %b %Y %H:%M}")
        return ", ".join(said)


def login_url(template: str, values: Mapping[str, str]) -> str:
    """Return the address a card's QR code opens; without a password of its own the code is the password."""
    known = {name: quote(value, safe="") for name, value in values.items()}
    known["password"] = known["password"] or known["code"]
    return template.format_map(known)


def check_login_url(field: str, template: str) -> None:
    """Refuse what no phone could open. Raises InvalidValue."""
    allowed = "it is like http://10.5.50.1/login?username={code}&password={password}"
    if not re.match(r"https?://[^\s/]+", template) or any(letter.isspace() for letter in template):
        raise InvalidValue(field, template, allowed)
    _check_text(field, template)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValue("template", str(path), f"it cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidValue("template", str(path), f"it is TOML: {error}") from None


def _check(key: str, value: object, known: set[str]) -> None:
    if key not in known:
        raise InvalidValue(key, value, f"a template has {', '.join(sorted(known))}")
    if key == "labels":
        for name, label in value.items() if isinstance(value, dict) else ():
            _check_text(f"labels.{name}", label)
    elif key == "lines":
        if not isinstance(value, list):
            raise InvalidValue(key, value, "it is a list of texts")
        for line in value:
            _check_text(key, line)
    elif key in _COLORS:
        if not isinstance(value, str) or not _COLOR.fullmatch(value):
            raise InvalidValue(key, value, "it is a colour like #0b5d66")
    elif key == "refill_url" and isinstance(value, str):
        check_login_url(key, value)
    else:
        _check_text(key, value)


def _check_text(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidValue(key, value, "it is text")
    try:
        unknown = _placeholders(value) - PLACEHOLDERS
    except ValueError:
        raise InvalidValue(key, value, "a brace that is meant is written twice: {{ or }}") from None
    if unknown:
        allowed = f"a text may name {', '.join('{' + name + '}' for name in sorted(PLACEHOLDERS))}"
        raise InvalidValue(key, value, allowed)


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def _quota(card: Card) -> str:
    terms = card.terms
    octets = "" if terms.quota_octets is None else format_octets(terms.quota_octets)
    seconds = "" if terms.quota_seconds is None else f"{_in_words(terms.quota_seconds)} online"
    return ", ".join(part for part in (_spaced(octets), seconds) if part)


def _spaced(quantity: str) -> str:
    return re.sub(r"(?<=[0-9])(?=[A-Za-z])", " ", quantity, count=1)


def _in_words(seconds: int) -> str:
    """Return a duration as a card says it: `1 hour`, `30 days`, else as it can be typed."""
    for word, size in (("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count, rest = divmod(seconds, size)
        if count and not rest and not (word == "week" and count > 8):
            return f"{count} {word}{'' if count == 1 else 's'}"
    return format_seconds(seconds)
