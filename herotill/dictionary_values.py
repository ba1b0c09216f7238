"""What FreeRADIUS makes of a textual value, type by type: None when it is read as meant, else why not.

Owns the limits of each wire type. Refuses to own names of attributes: `herotill.dictionary` knows which is of which type.
"""

import re
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_DECIMAL = re.compile(r"[0-9]{1,20}")
_SIGNED_DECIMAL = re.compile(r"-?[0-9]{1,10}")
_HEX_OCTETS = re.compile(r"0x(?:[0-9A-Fa-f]{2})+")
_INTERFACE_ID = re.compile(r"[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){3}")
_ETHER = re.compile(r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5}")
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = "(?:0?[1-9]|[12][0-9]|3[01])"
_TIME = r"(?: (?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?)?(?: UTC)?"
_DATE = re.compile(rf"(?:{_MONTH} {_DAY}|{_DAY} {_MONTH}) (?:19[7-9][0-9]|20[0-9]{{2}}){_TIME}")


def validator_of_type(kind: str, max_octets: int) -> Callable[[str], str | None]:
    """Return the test of a wire type for attributes whose values take at most `max_octets`."""
    if kind == "string":
        return partial(string_fault, max_octets=max_octets)
    if kind == "octets":
        return partial(octets_fault, least=1, most=max_octets)
    return _FAULTS.get(kind, _not_textual)


def string_fault(value: str, max_octets: int) -> str | None:
    """Text: FreeRADIUS cuts it at `max_octets` and at a NUL, and does not send it when it is empty."""
    try:
        length = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        return "it is not text: a lone surrogate cannot be UTF-8"
    if not 1 <= length <= max_octets:
        return f"it takes {length} octets; 1 to {max_octets} are allowed"
    return "it has a NUL, which ends the text" if "\0" in value else None


def octets_fault(value: str, least: int, most: int) -> str | None:
    """Binary as `0x` and hexadecimal pairs: without `0x` the letters themselves would be sent."""
    if not _HEX_OCTETS.fullmatch(value):
        return "octets are written 0x and pairs of hexadecimal digits"
    length = len(value) // 2 - 1
    if not least <= length <= most:
        allowed = str(least) if least == most else f"{least} to {most}"
        return f"it takes {length} octets; {allowed} are allowed"
    return None


def _unsigned_fault(value: str, most: int) -> str | None:
    # isdigit() alone would let other scripts' digits pass.
    if _DECIMAL.fullmatch(value) and int(value) <= most:
        return None
    return f"it is not a whole number from 0 to {most}"


def _signed_fault(value: str) -> str | None:
    if _SIGNED_DECIMAL.fullmatch(value) and -(2**31) <= int(value) < 2**31:
        return None
    return "it is not a whole number from -2147483648 to 2147483647"


def _date_fault(value: str) -> str | None:
    if _unsigned_fault(value, 2**32 - 1) is None or _DATE.fullmatch(value):
        return None
    return "a date is seconds since 1970 or like 'Jan 31 2027 23:59:59'"


def _parsed_fault(value: str, parse: Callable[[str], object], meant: str) -> str | None:
    try:
        parse(value)
    except ValueError:
        return f"it is not {meant}"
    return None


def _ipv6_fault(value: str) -> str | None:
    # Python also reads a zone (fe80::1%eth0), which no packet can carry.
    return "it has a zone" if "%" in value else _parsed_fault(value, IPv6Address, "an IPv6 address")


def _combo_fault(value: str) -> str | None:
    return _ipv6_fault(value) if ":" in value else _parsed_fault(value, IPv4Address, "an IP address")


def _prefix_fault(value: str, parse: Callable[[str], object], meant: str) -> str | None:
    if "/" not in value:
        return f"it is not {meant}: the length is missing"
    return _parsed_fault(value, parse, f"{meant} with nothing right of its length")


def _matched_fault(value: str, pattern: re.Pattern[str], meant: str) -> str | None:
    return None if pattern.fullmatch(value) else f"it is not {meant}"


def _not_textual(_value: str) -> str | None:
    return "its type has no textual value"


_FAULTS: dict[str, Callable[[str], str | None]] = {
    "integer": partial(_unsigned_fault, most=2**32 - 1),
    "integer64": partial(_unsigned_fault, most=2**64 - 1),
    "short": partial(_unsigned_fault, most=2**16 - 1),
    "byte": partial(_unsigned_fault, most=2**8 - 1),
    "signed": _signed_fault,
    "date": _date_fault,
    "ipaddr": partial(_parsed_fault, parse=IPv4Address, meant="an IPv4 address"),
    "ipv4prefix": partial(_prefix_fault, parse=IPv4Network, meant="an IPv4 prefix"),
    "ipv6addr": _ipv6_fault,
    "ipv6prefix": partial(_prefix_fault, parse=IPv6Network, meant="an IPv6 prefix"),
    "combo-ip": _combo_fault,
    "ifid": partial(_matched_fault, pattern=_INTERFACE_ID, meant="an interface identifier"),
    "ether": partial(_matched_fault, pattern=_ETHER, meant="an Ethernet address"),
}
