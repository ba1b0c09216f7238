"""Accounting-Requests, parsed (RFC 2866, 2869): what a NAS says of a session, or why it cannot be understood.

The pairs are those rlm_python3 hands over: (name, value) text, enumerations by name, octets as 0x and digits.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_interface

from herotill.metering import Counter, Reading
from herotill.value import value

MAX_DELAY = timedelta(days=7)


class Status(StrEnum):
    """Acct-Status-Type, the values that are metered (RFC 2866 §5.1)."""

    START = "Start"
    INTERIM = "Interim-Update"
    STOP = "Stop"
    ON = "Accounting-On"
    OFF = "Accounting-Off"


_STATUSES = {str(status): status for status in Status} | {"Alive": Status.INTERIM}
_SESSION_STATUSES = frozenset({Status.START, Status.INTERIM, Status.STOP})


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why an accounting packet cannot be metered, as a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class NasRestart:
    """Accounting-On or -Off: every session of this NAS that began before `event_at` is over."""

    status: Status
    nas_address: str
    event_at: datetime


@value
class Report:
    """Start, Interim-Update or Stop of one session.

    `event_at` is our receive time less Acct-Delay-Time, because NAS clocks lie. `seconds` is None where the NAS did not
    send Acct-Session-Time. `details` holds the attributes kept for people: column name to text.
    """

    status: Status
    session_key: str
    username: str
    nas_address: str
    acct_session_id: str
    calling_station_id: str
    class_value: str | None
    received_at: datetime
    event_at: datetime
    seconds: int | None
    input: Counter
    output: Counter
    terminate_cause: str | None
    details: dict[str, str]

    def reading(self, started_at: datetime, until: datetime) -> Reading:
        """Return the counters for the meter; a missing Acct-Session-Time is the time from `started_at` to `until`.

        A Start has none by nature: a repeated one tells nothing of the time.
        """
        seconds = self.seconds
        if seconds is None:
            is_start = self.status is Status.START
            seconds = 0 if is_start else max(0, int((until - started_at).total_seconds()))
        return Reading(seconds, self.input, self.output)


# Kept for people and for naming the session in a Disconnect-Request: attribute to column of radius.session.
_DETAILS = {
    "Called-Station-Id": "called_station_id",
    "Framed-IP-Address": "framed_ip_address",
    "Framed-IPv6-Address": "framed_ipv6_address",
    "Framed-IPv6-Prefix": "framed_ipv6_prefix",
    "Delegated-IPv6-Prefix": "delegated_ipv6_prefix",
    "NAS-Identifier": "nas_identifier",
    "NAS-Port-Id": "nas_port_id",
    "NAS-Port-Type": "nas_port_type",
    "Service-Type": "service_type",
    "Framed-Protocol": "framed_protocol",
}

_KEPT = frozenset(
    {*_DETAILS, "User-Name", "Acct-Session-Id", "Calling-Station-Id", "NAS-Port", "Acct-Terminate-Cause"}
)

_OUR_CLASS = ("0x" + b"HT".hex(), "HT")

_READ_DETAILS = tuple(
    (name, column, column.endswith(("_address", "_prefix"))) for name, column in _DETAILS.items()
)
"""Attribute, column, and whether only an address goes there."""


def parse_accounting(
    pairs: Iterable[Sequence[str]], nas_address: str, received_at: datetime, input_is_upload: bool = True
) -> Report | NasRestart | Malformed:
    """Return what the packet says. Never raises: a packet that makes no sense is Malformed.

    `input_is_upload` is false for a NAS that calls the download Input; the report has it right.
    """
    try:
        parsed = _parse(_first_of_each(pairs), nas_address, received_at)
    except (AttributeError, ValueError, TypeError, OverflowError) as error:
        return Malformed(str(error))
    if isinstance(parsed, Report) and not input_is_upload:
        return replace(parsed, input=parsed.output, output=parsed.input)
    return parsed


def _first_of_each(pairs: Iterable[Sequence[str]]) -> dict[str, str]:
    known = list(pairs)
    # Reversed, because dict keeps the last of equal names and the first one is meant.
    attributes: dict[str, str] = dict(reversed(known))  # type: ignore[arg-type] # two elements each, or ValueError
    if "Class" in attributes and not attributes["Class"].startswith(_OUR_CLASS):
        # A NAS returns every Class it was given (RFC 2865 §5.25); a proxy's may come before ours.
        ours = (value for name, value in known if name == "Class" and value.startswith(_OUR_CLASS))
        attributes["Class"] = next(ours, attributes["Class"])
    if not _is_plain(attributes):
        for name in _KEPT.intersection(attributes):
            value = attributes[name]
            if "\0" in value or not (value.isascii() or _is_utf8(value)):
                raise ValueError(f"{name} {value!r} is text that no database can keep")
    return attributes


def _is_plain(attributes: dict[str, str]) -> bool:
    """Whether all of it is ASCII without a NUL, as it nearly always is: one look instead of one for each."""
    try:
        text = "".join(attributes.values())
    except TypeError:
        return False
    return text.isascii() and "\0" not in text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse(
    attributes: dict[str, str], nas_address: str, received_at: datetime
) -> Report | NasRestart | Malformed:
    status = _STATUSES.get(attributes.get("Acct-Status-Type", ""))
    if status is None:
        return Malformed(f"Acct-Status-Type {attributes.get('Acct-Status-Type')!r} is not metered")
    if not _is_address(nas_address):
        return Malformed(f"it came from {nas_address!r}, which is no address")
    delay_seconds = _integer(attributes, "Acct-Delay-Time")
    event_at = (
        received_at - min(timedelta(seconds=delay_seconds), MAX_DELAY) if delay_seconds else received_at
    )
    if status not in _SESSION_STATUSES:
        return NasRestart(status, nas_address, event_at)
    for required in ("Acct-Session-Id", "User-Name"):
        if not attributes.get(required):
            return Malformed(f"{required} is missing")
    return _report(attributes, status, nas_address, received_at, event_at)


def _report(
    attributes: dict[str, str], status: Status, nas_address: str, received_at: datetime, event_at: datetime
) -> Report:
    username, acct_session_id = attributes["User-Name"], attributes["Acct-Session-Id"]
    calling_station_id = attributes.get("Calling-Station-Id", "")
    return Report(
        status,
        session_key(username, nas_address, acct_session_id, calling_station_id),
        username,
        nas_address,
        acct_session_id,
        calling_station_id,
        attributes.get("Class"),
        received_at,
        event_at,
        _integer(attributes, "Acct-Session-Time"),
        Counter(_integer(attributes, "Acct-Input-Octets") or 0, _integer(attributes, "Acct-Input-Gigawords")),
        Counter(
            _integer(attributes, "Acct-Output-Octets") or 0, _integer(attributes, "Acct-Output-Gigawords")
        ),
        attributes.get("Acct-Terminate-Cause"),
        _details(attributes),
    )


def session_key(username: str, nas_address: str, acct_session_id: str, calling_station_id: str) -> str:
    """Return what the NAS says of a session, as 32 hexadecimal digits; a rebooted NAS may say the same of another."""
    said = "\0".join((username, nas_address, acct_session_id, calling_station_id))
    return hashlib.md5(said.encode(), usedforsecurity=False).hexdigest()


def _details(attributes: dict[str, str]) -> dict[str, str]:
    found = {
        column: attributes[name]
        for name, column, is_address in _READ_DETAILS
        if name in attributes and not (is_address and not _is_address(attributes[name]))
    }
    if "nas_port_id" not in found and "NAS-Port" in attributes:
        found["nas_port_id"] = attributes["NAS-Port"]
    return found


@lru_cache(maxsize=65_536)
def _is_address(text: str) -> bool:
    try:
        ip_interface(text)
    except ValueError:
        return False
    return True


def _integer(attributes: dict[str, str], name: str) -> int | None:
    text = attributes.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10:
        number = int(text)
        if number <= 0xFFFF_FFFF:
            return number
    raise ValueError(f"{name} {text!r} is not a 32-bit number")
