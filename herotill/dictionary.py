"""The attributes of RADIUS: names, numbers, types, and whether a text would reach the NAS as it was meant.

Owns the dictionary files beside it and what FreeRADIUS makes of a textual value. Needed because FreeRADIUS up to 3.2.8
turns a bad value into zero and still sends the Accept. Refuses to own packets: nothing here encodes octets.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path

from herotill.dictionary_values import octets_fault, validator_of_type
from herotill.errors import InvalidValue

MAX_VALUE_OCTETS = 253
"""RFC 2865 §5: Length is one octet and counts Type and itself."""
MAX_VENDOR_VALUE_OCTETS = 247
"""RFC 2865 §5.26: a vendor's attribute also carries Vendor-Id, Vendor-Type and Vendor-Length."""

Fault = Callable[[str], str | None]


class AttributeType(StrEnum):
    """The data types of FreeRADIUS's dictionaries."""

    STRING = "string"
    OCTETS = "octets"
    INTEGER = "integer"
    INTEGER64 = "integer64"
    SIGNED = "signed"
    SHORT = "short"
    BYTE = "byte"
    DATE = "date"
    IPADDR = "ipaddr"
    IPV4PREFIX = "ipv4prefix"
    IPV6ADDR = "ipv6addr"
    IPV6PREFIX = "ipv6prefix"
    COMBO_IP = "combo-ip"
    IFID = "ifid"
    ETHER = "ether"
    ABINARY = "abinary"
    TLV = "tlv"
    VSA = "vsa"
    EXTENDED = "extended"
    LONG_EXTENDED = "long-extended"
    EVS = "evs"


# FreeRADIUS 3.2.7 writes some types as FreeRADIUS 4 calls them.
_NEWER_NAMES = {
    "uint8": "byte",
    "uint16": "short",
    "uint32": "integer",
    "uint64": "integer64",
    "int32": "signed",
    "ipv4addr": "ipaddr",
}


@dataclass(frozen=True, slots=True)
class AttributeDefinition:
    """One attribute. `vendor` is the IANA enterprise number, `values` the names of its numbers.

    `length_octets` is set where the dictionary fixes it (octets[16]); a tagged attribute may be named `Tunnel-Type:1`.
    """

    name: str
    code: int
    vendor: int | None
    type: AttributeType
    values: Mapping[str, int] = field(default_factory=dict)
    length_octets: int | None = None
    has_tag: bool = False

    @property
    def max_octets(self) -> int:
        """How many octets a value may take on the wire."""
        return MAX_VALUE_OCTETS if self.vendor is None else MAX_VENDOR_VALUE_OCTETS


def parse_dictionary(text: str) -> Mapping[str, AttributeDefinition]:
    """Read dictionary text whose $INCLUDEs have been put in place; the attributes by name, in the text's order.

    Sub-attributes of a TLV and extended attributes (RFC 6929) are passed over: no NAS we serve reads them.
    Raises InvalidValue, naming the line.
    """
    reading = _Reading()
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        try:
            reading.read(words)
        except (IndexError, KeyError, ValueError):
            raise InvalidValue(f"dictionary line {number}", line.strip(), "see dictionary(5)") from None
    return {name: reading.defined(name) for name in reading.attributes}


@cache
def dictionary() -> Mapping[str, AttributeDefinition]:
    """Return the attributes of our own dictionary, by name."""
    return parse_dictionary("\n".join(_included(dictionary_path())))


def dictionary_path() -> Path:
    """Return the file of our dictionary, for those who read it themselves (pyrad, FreeRADIUS)."""
    return Path(str(files("herotill"))) / "dictionaries" / "dictionary"


def check_value(definition: AttributeDefinition, value: str) -> str | None:
    """Tell why FreeRADIUS would misread or cut `value`; None when it would not.

    `value` is what is meant, before any escaping for rlm_python3's double-quoted strings.
    """
    return _fault_of(definition)(value)


def invalid_because(name: str, value: str) -> str | None:
    """Tell why FreeRADIUS would drop the attribute or misread the value; None when all is well."""
    fault = _faults().get(name)
    if fault is None:
        fault = _tagged_fault(name)
    return "it is not in the dictionary" if fault is None else fault(value)


class _Reading:
    """What is known while the lines go by."""

    def __init__(self) -> None:
        self.attributes: dict[str, AttributeDefinition] = {}
        self.values: dict[str, dict[str, int]] = {}
        self._vendors: dict[str, int] = {}
        self._vendor: int | None = None
        self._skipping = False

    def read(self, words: list[str]) -> None:
        match words:
            case ["VENDOR", name, number, *_]:
                self._vendors[name] = int(number, 0)
            case ["BEGIN-VENDOR", name, *options]:
                self._vendor, self._skipping = self._vendors[name], bool(options)
            case ["END-VENDOR", _]:
                self._vendor, self._skipping = None, False
            case ["BEGIN-TLV" | "END-TLV" as word, _]:
                self._skipping = word == "BEGIN-TLV"
            case ["VALUE", attribute, name, number, *_]:
                self.values.setdefault(attribute, {})[name] = int(number, 0)
            case ["ATTRIBUTE", name, code, kind, *flags]:
                self._define(name, code, kind, ",".join(flags).split(","))
            case ["ATTRIBUTE" | "VALUE" | "VENDOR" | "BEGIN-VENDOR", *_]:
                raise ValueError

    def _define(self, name: str, code: str, kind: str, flags: list[str]) -> None:
        if self._skipping or "." in code:
            return
        kind, _, length = kind.rstrip("]").partition("[")
        self.attributes[name] = AttributeDefinition(
            name=name,
            code=int(code, 0),
            vendor=next((self._vendors[flag] for flag in flags if flag in self._vendors), self._vendor),
            type=AttributeType(_NEWER_NAMES.get(kind.lower(), kind.lower())),
            length_octets=int(length) if length else None,
            has_tag="has_tag" in flags,
        )

    def defined(self, name: str) -> AttributeDefinition:
        found, values = self.attributes[name], self.values.get(name, {})
        return AttributeDefinition(
            found.name, found.code, found.vendor, found.type, values, found.length_octets, found.has_tag
        )


def _included(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        match line.split():
            case ["$INCLUDE", name]:
                yield from _included(path.parent / name)
            case _:
                yield line


def _fault_of(definition: AttributeDefinition) -> Fault:
    if definition.values:
        return _enumerated(definition.values, validator_of_type(definition.type, definition.max_octets))
    if definition.type is AttributeType.OCTETS and definition.length_octets is not None:
        exactly = definition.length_octets
        return lambda value: octets_fault(value, exactly, exactly)
    return validator_of_type(definition.type, definition.max_octets)


def _enumerated(values: Iterable[str], number_fault: Fault) -> Fault:
    # FreeRADIUS compares names without case.
    names = frozenset(name.lower() for name in values)
    some = ", ".join(list(values)[:4])

    def fault(value: str) -> str | None:
        if value.lower() in names or (value.isdigit() and number_fault(value) is None):
            return None
        return f"it is neither one of its names ({some}, ...) nor a number from 0 to 4294967295"

    return fault


@cache
def _faults() -> dict[str, Fault]:
    return {name: _fault_of(definition) for name, definition in dictionary().items()}


def _tagged_fault(name: str) -> Fault | None:
    base, _, tag = name.partition(":")
    definition = dictionary().get(base)
    # RFC 2868 §3: tags run from 0x01 to 0x1F.
    if definition is None or not definition.has_tag or not tag.isdigit() or not 1 <= int(tag) <= 31:
        return None
    return _faults()[base]
