"""The sayings of a dialect file, checked: the field exists, the attribute exists, and its type can say the field."""

import string
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from herotill.dialect_keys import SAYING_KEYS, DialectFile, check_keys
from herotill.dialect_model import RATES, CountsFrom, Dialect, Saying
from herotill.dictionary import AttributeType, dictionary
from herotill.reply import Reply

TIMED_FIELDS = ("session_timeout_seconds", "interim_interval_seconds")
"""What differs from login to login; said as plain numbers, so that it costs little."""
RATE_FIELDS = ("download_bits_per_second", "upload_bits_per_second")
BURST_FIELDS = ("download_burst_bits_per_second", "upload_burst_bits_per_second", "burst_seconds")
RATES_PLACEHOLDERS = frozenset(
    f"{direction}{kind}"
    for direction in ("upload", "download")
    for kind in ("", "_burst", "_burst_octets", "_excess_octets")
) | {"burst_seconds"}
RATE_PLACEHOLDERS = frozenset({"value", "burst_octets", "excess_octets"})
_REPLY_FIELDS = frozenset(field.name for field in fields(Reply))
_TEXT_FIELDS = frozenset({"address_pool", "address_list", "redirect_url"})
_NUMBER_TYPES = (AttributeType.INTEGER, AttributeType.INTEGER64)


def inherited_sayings(file: DialectFile, base: Dialect | None, own: Iterable[Saying]) -> tuple[Saying, ...]:
    """Return what is said as the extended dialect does: what the file neither says itself nor wants unsaid."""
    unsaid = file.document.get("unsaid", ())
    inherited = base.sayings if base else ()
    strange = [name for name in unsaid if name not in {name for each in inherited for name in covered(each)}]
    if strange:
        raise file.wrong("unsaid", strange[0], "it is a field that the extended dialect says")
    said = {name for saying in own for name in covered(saying)} | set(unsaid)
    return tuple(saying for saying in inherited if said.isdisjoint(covered(saying)))


def covered(saying: Saying) -> tuple[str, ...]:
    """Return the fields of a reply that a saying says."""
    if saying.field != RATES:
        return (saying.field,)
    return (RATES, *RATE_FIELDS, *(BURST_FIELDS if saying.burst_text else ()))


def parse_saying(file: DialectFile, where: str, entry: Mapping[str, Any]) -> Saying:
    """Read one saying. Raises InvalidValue naming file, saying and key."""
    check_keys(file, f"{where}: ", entry, SAYING_KEYS)
    for key in ("field", "attribute"):
        if key not in entry:
            raise file.wrong(f"{where}: {key}", None, "it is required")
    saying = Saying(**{**entry, "counts_from": CountsFrom(entry.get("counts_from", CountsFrom.SESSION))})
    if saying.field != RATES and saying.field not in _REPLY_FIELDS:
        allowed = f"it is {RATES} or one of {', '.join(sorted(_REPLY_FIELDS))}"
        raise file.wrong(f"{where}: field", saying.field, allowed)
    _check_forms(file, where, saying)
    _check_type(file, f"{where}: attribute", saying.attribute, _types_for(saying))
    if saying.gigawords is not None:
        _check_type(file, f"{where}: gigawords", saying.gigawords, _NUMBER_TYPES)
    return saying


def _check_forms(file: DialectFile, where: str, saying: Saying) -> None:
    if saying.field == RATES and saying.text is None:
        raise file.wrong(f"{where}: text", None, "rates are said as a text")
    if saying.field in TIMED_FIELDS and (saying.text or saying.gigawords):
        raise file.wrong(f"{where}: field", saying.field, "it is said as a plain number")
    if saying.gigawords is not None and (saying.text or not saying.field.endswith("_octets")):
        raise file.wrong(f"{where}: gigawords", saying.gigawords, "only numbers of octets are split")
    if saying.burst_text is not None and saying.field != RATES:
        raise file.wrong(f"{where}: burst_text", saying.burst_text, "only rates have bursts")
    if (
        saying.unlimited is not None
        and saying.field not in _TEXT_FIELDS
        and not saying.unlimited.lstrip("-").isdigit()
    ):
        raise file.wrong(f"{where}: unlimited", saying.unlimited, "it is a number")
    for key in ("text", "burst_text"):
        _check_placeholders(file, f"{where}: {key}", getattr(saying, key), _placeholders(saying))


def _placeholders(saying: Saying) -> frozenset[str]:
    if saying.field == RATES:
        return RATES_PLACEHOLDERS
    return RATE_PLACEHOLDERS if saying.field in RATE_FIELDS else frozenset({"value"})


def _check_placeholders(file: DialectFile, key: str, text: str | None, allowed: frozenset[str]) -> None:
    try:
        parts = list(string.Formatter().parse(text or ""))
    except ValueError as error:
        raise file.wrong(key, text, f"its braces must match ({error})") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in allowed or form or conversion):
            raise file.wrong(key, text, f"in braces stands one of {', '.join(sorted(allowed))}")


def _types_for(saying: Saying) -> tuple[AttributeType, ...]:
    if saying.text is not None or saying.field in _TEXT_FIELDS:
        return (AttributeType.STRING,)
    return _NUMBER_TYPES


def _check_type(file: DialectFile, key: str, attribute: str, types: tuple[AttributeType, ...]) -> None:
    base, _, _ = attribute.partition(":")  # a tag may follow (RFC 2868 §3)
    definition = dictionary().get(base)
    if definition is None or (base != attribute and not definition.has_tag):
        raise file.wrong(key, attribute, "it is an attribute of herotill/dictionaries")
    if definition.type not in types:
        raise file.wrong(key, attribute, f"it is of type {definition.type}; {' or '.join(types)} is needed")
