"""Payment gateways: what the settings say of one, and how its message is read (rule R27).

A gateway posts JSON, signed with a shared secret (herotill.signature). Which field holds what is data, so that another
gateway needs no code. Owns no transport and writes no books.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from herotill.errors import InvalidValue
from herotill.quantities import MAX_MINOR_UNITS, Money, parse_money
from herotill.signature import TOLERANCE_SECONDS

MAX_BODY_OCTETS = 64 * 1024
MIN_SECRET_OCTETS = 16
MAX_TEXT_CHARACTERS = 200
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_FIELDS = ("id", "amount", "currency", "reference", "payer", "status")
_NEEDED = ("id", "amount", "reference")


@dataclass(frozen=True, slots=True)
class GatewayDefinition:
    """A gateway as the settings have it. `fields` says where in the JSON what is, as `data.object.amount`.

    `paid_when` are the values of the field `status` that mean that money came; without a status it always did.
    """

    name: str
    secret_file: Path
    fields: Mapping[str, str]
    amount_in_minor_units: bool = False
    currency: str | None = None
    paid_when: tuple[str, ...] = ()
    tolerance_seconds: int = TOLERANCE_SECONDS


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway whose secret is known. `time_zone` is the operator's, for plans that end with a billing cycle."""

    definition: GatewayDefinition
    secret: bytes = field(repr=False)
    time_zone: str = "UTC"

    @property
    def name(self) -> str:
        """What the books call it."""
        return self.definition.name


@dataclass(frozen=True, slots=True)
class Notice:
    """What a gateway says: so much money, for what the payer called `reference`. The id is the gateway's own."""

    gateway_id: str
    amount: Money
    reference: str
    payer: str
    is_paid: bool
    status: str


def open_gateway(definition: GatewayDefinition, time_zone: str) -> Gateway:
    """Read the gateway's secret from its file. Raises InvalidValue, which does not repeat it."""
    try:
        secret = definition.secret_file.read_bytes().strip()
    except OSError as error:
        path = str(definition.secret_file)
        raise InvalidValue("secret_file", path, f"it cannot be read: {error.strerror}") from None
    if len(secret) < MIN_SECRET_OCTETS:
        allowed = f"the secret in it has at least {MIN_SECRET_OCTETS} octets"
        raise InvalidValue("secret_file", str(definition.secret_file), allowed)
    return Gateway(definition, secret, time_zone)


def find(definitions: tuple[GatewayDefinition, ...], name: str) -> GatewayDefinition:
    """Return the gateway of this name. Raises InvalidValue."""
    for definition in definitions:
        if definition.name == name:
            return definition
    known = ", ".join(each.name for each in definitions) or "none"
    raise InvalidValue("gateway", name, f"`payment_gateways` in the settings has {known}")


def read_notice(definition: GatewayDefinition, body: bytes) -> Notice:
    """Read a message whose signature was right. Raises InvalidValue, naming the field of the gateway."""
    message = _parse(body)
    texts = {name: _text_at(message, name, path) for name, path in definition.fields.items()}
    for name in _NEEDED:
        if not texts[name]:
            raise InvalidValue(definition.fields[name], texts[name], f"it holds the {name} of the payment")
    status = texts.get("status", "")
    return Notice(
        gateway_id=texts["id"],
        amount=_amount(definition, texts),
        reference=texts["reference"],
        payer=texts.get("payer", ""),
        is_paid=not definition.paid_when or status in definition.paid_when,
        status=status,
    )


def read_gateways(key: str, value: object) -> tuple[GatewayDefinition, ...]:
    """Read the setting `payment_gateways`, a mapping of names. Raises InvalidValue, naming gateway and key."""
    if not isinstance(value, dict):
        raise InvalidValue(key, type(value).__name__, "it is a mapping of names to gateways")
    return tuple(_read_gateway(f"{key}.{name}", name, fields) for name, fields in value.items())


def _read_gateway(key: str, name: object, values: object) -> GatewayDefinition:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidValue(key, name, "a gateway's name is lower-case letters, digits, - and _")
    if not isinstance(values, dict):
        raise InvalidValue(key, type(values).__name__, f"it is a mapping of {', '.join(_READERS)}")
    read: dict[str, Any] = {}
    for setting, value in values.items():
        if setting not in _READERS:
            raise InvalidValue(f"{key}.{setting}", value, f"a gateway has {', '.join(_READERS)}")
        target, reader = _READERS[setting]
        read[target] = reader(f"{key}.{setting}", value)
    for needed in ("secret_file", "fields"):
        if needed not in read:
            raise InvalidValue(f"{key}.{needed}", None, "it must be set")
    definition = GatewayDefinition(name, **read)
    _check(key, definition)
    return definition


def _check(key: str, definition: GatewayDefinition) -> None:
    if definition.currency is None and "currency" not in definition.fields:
        raise InvalidValue(
            f"{key}.currency", None, "it must be set, or fields.currency, where no field says it"
        )
    if bool(definition.paid_when) != ("status" in definition.fields):
        raise InvalidValue(f"{key}.paid_when", list(definition.paid_when), "it goes with fields.status")


def _parse(body: bytes) -> object:
    if len(body) > MAX_BODY_OCTETS:
        raise InvalidValue("body", f"{len(body)} octets", f"it has at most {MAX_BODY_OCTETS}")
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidValue("body", f"{len(body)} octets", "it is JSON in UTF-8") from None


def _refuse_constant(word: str) -> object:
    raise ValueError(word)


def _text_at(message: object, name: str, path: str) -> str:
    """Return the text or number at a path; nothing where it is absent."""
    value = message
    for step in path.split("."):
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidValue(path, type(value).__name__, f"it holds the {name} as text or number")
    text = format(value, "f") if isinstance(value, Decimal) else str(value).strip()
    if len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise InvalidValue(path, f"{len(text)} characters", f"at most {MAX_TEXT_CHARACTERS}, printable")
    return text


def _amount(definition: GatewayDefinition, texts: Mapping[str, str]) -> Money:
    currency = (texts.get("currency") or definition.currency or "").upper()
    if not re.fullmatch(r"[A-Z]{3}", currency, re.ASCII):
        raise InvalidValue(
            definition.fields.get("currency", "currency"), currency, "it is like KES (ISO 4217)"
        )
    path, written = definition.fields["amount"], texts["amount"]
    if not definition.amount_in_minor_units:
        amount = parse_money(written, path, currency)
    elif written.isascii() and written.isdigit() and int(written) <= MAX_MINOR_UNITS:
        amount = Money(int(written), currency)
    else:
        raise InvalidValue(path, written, "it is a whole number of minor units")
    if amount.currency != currency or amount.minor == 0:
        raise InvalidValue(path, written, f"it is more than zero {currency}")
    return amount


def _path_of_secret(key: str, value: object) -> Path:
    path = Path(value) if isinstance(value, str) and value else None
    if path is None or not path.is_absolute():
        raise InvalidValue(key, value, "it is the absolute path of a file with the secret")
    return path


def _read_fields(key: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidValue(key, type(value).__name__, f"it is a mapping of {', '.join(_FIELDS)}")
    for name, path in value.items():
        if name not in _FIELDS or not isinstance(path, str) or not path:
            allowed = f"it says where in the JSON are {', '.join(_FIELDS)}, like data.amount"
            raise InvalidValue(f"{key}.{name}", path, allowed)
    for needed in _NEEDED:
        if needed not in value:
            raise InvalidValue(f"{key}.{needed}", None, "it must be set")
    return dict(value)


def _amount_in(key: str, value: object) -> bool:
    if value not in ("minor", "major"):
        raise InvalidValue(key, value, "it is minor (cents) or major (like 50 or 49.90)")
    return value == "minor"


def _currency(key: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value, re.ASCII):
        raise InvalidValue(key, value, "it is three capital letters (ISO 4217), such as KES")
    return value


def _paid_when(key: str, value: object) -> tuple[str, ...]:
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str | int) and not isinstance(word, bool) for word in words):
        raise InvalidValue(key, value, "it is a list of words or numbers, like [Completed]")
    return tuple(str(word) for word in words)


def _tolerance(key: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= 86_400:
        raise InvalidValue(key, value, "it is a whole number of seconds, from 1 to 86400")
    return value


_READERS: dict[str, tuple[str, Callable[[str, object], Any]]] = {
    "secret_file": ("secret_file", _path_of_secret),
    "fields": ("fields", _read_fields),
    "amount_in": ("amount_in_minor_units", _amount_in),
    "currency": ("currency", _currency),
    "paid_when": ("paid_when", _paid_when),
    "tolerance_seconds": ("tolerance_seconds", _tolerance),
}
