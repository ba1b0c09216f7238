"""Messages to customers: a template with {names}, filled in with what an event says.

How a value is shown follows from its name: `_octets`, `_seconds`, `_at` and `_minor` say what it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from herotill.errors import InvalidValue
from herotill.quantities import Money, approximate_octets, format_money, format_seconds

_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Template:
    """What is said; {names} stand for what the event says."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Message:
    """What one customer is told."""

    subject: str
    body: str


def render_message(template: Template, values: Mapping[str, Any], zone: tzinfo) -> Message:
    """Fill a template in. Raises InvalidValue for a name the event does not have."""
    return Message(
        " ".join(_render(template.subject, values, zone).split()), _render(template.body, values, zone)
    )


def _render(text: str, values: Mapping[str, Any], zone: tzinfo) -> str:
    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise InvalidValue("template", f"{{{name}}}", f"this event says {', '.join(sorted(values))}")
        return _show(name, values, zone)

    return _NAME.sub(fill, text)


def _show(name: str, values: Mapping[str, Any], zone: tzinfo) -> str:
    value = values[name]
    if value is None:
        return "-"
    if name.endswith("_at"):
        return f"{datetime.fromisoformat(value).astimezone(zone):%Y-%m-%d %H:%M}"
    if isinstance(value, int):
        return _show_number(name, value, values)
    return str(value)


def _show_number(name: str, value: int, values: Mapping[str, Any]) -> str:
    if name.endswith("_octets"):
        return approximate_octets(value)
    if name.endswith("_seconds"):
        return format_seconds(value)
    if name.endswith("_minor") and isinstance(values.get("currency"), str):
        return format_money(Money(value, values["currency"]))
    return str(value)
