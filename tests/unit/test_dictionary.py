"""The dictionary says what FreeRADIUS says, and a value that would be misread is told in time."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from herotill.dictionary import (
    AttributeDefinition,
    AttributeType,
    check_value,
    dictionary,
    dictionary_path,
    invalid_because,
    parse_dictionary,
)
from herotill.errors import InvalidValue

FREERADIUS = Path("/usr/share/freeradius")
# CoovaChilli's, which FreeRADIUS 3.2.1 has not got.
OURS_ALONE = {name for name in dictionary() if name.startswith(("ChilliSpot-Max-", "ChilliSpot-Acct-View"))}


def freeradius_lines(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["$INCLUDE"]:
            yield from freeradius_lines(path.parent / words[1])
        else:
            yield line


@pytest.fixture(scope="module")
def freeradius() -> dict[str, AttributeDefinition]:
    assert FREERADIUS.is_dir(), "FreeRADIUS's dictionaries are part of the test environment"
    theirs = parse_dictionary("\n".join(freeradius_lines(FREERADIUS / "dictionary")))
    internal = parse_dictionary("\n".join(freeradius_lines(FREERADIUS / "dictionary.freeradius.internal")))
    return {**theirs, **internal}


def test_every_attribute_is_what_freeradius_says(freeradius: dict[str, AttributeDefinition]) -> None:
    compared = [name for name in dictionary() if name not in OURS_ALONE or name in freeradius]
    assert len(compared) > 240
    assert [name for name in compared if not same(dictionary()[name], freeradius[name])] == []


def same(ours: AttributeDefinition, theirs: AttributeDefinition) -> bool:
    named = ours.values.items() <= theirs.values.items()
    return named and replace(ours, values={}) == replace(theirs, values={})


def test_every_attribute_the_product_needs_is_there() -> None:
    needed = """User-Name User-Password Framed-IP-Address Class Session-Timeout Calling-Station-Id Acct-Session-Id
        Acct-Input-Gigawords Event-Timestamp Message-Authenticator Framed-Pool Acct-Interim-Interval Error-Cause
        NAS-IPv6-Address Framed-IPv6-Prefix Delegated-IPv6-Prefix Framed-IPv6-Address Chargeable-User-Identity
        MS-CHAP2-Response MS-CHAP-Challenge MS-CHAP2-Success Mikrotik-Total-Limit-Gigawords Mikrotik-Rate-Limit
        ChilliSpot-Max-Total-Gigawords WISPr-Bandwidth-Max-Up Cisco-AVPair Cleartext-Password"""
    assert [name for name in needed.split() if name not in dictionary()] == []


def test_pyrad_reads_the_same_file() -> None:
    from pyrad.dictionary import Dictionary  # noqa: PLC0415 - only this test needs it

    read: Any = Dictionary
    theirs = read(str(dictionary_path()))
    assert set(theirs.attributes) == set(dictionary())
    assert theirs.skipped_attributes == set()


def test_session_context_not_found_is_503() -> None:
    assert dictionary()["Error-Cause"].values["Session-Context-Not-Found"] == 503


def test_vendor_octets_and_tags_are_read() -> None:
    text = """
    VENDOR Acme 4242 format=1,1
    ATTRIBUTE Plain 0x10 octets[16]  # a comment
    BEGIN-VENDOR Acme
    ATTRIBUTE Acme-Tunnel 7 string has_tag,encrypt=2
    BEGIN-TLV Acme-Box
    ATTRIBUTE Acme-Inner 1 integer
    END-TLV Acme-Box
    END-VENDOR Acme
    VALUE Plain Nothing 0
    """
    read = parse_dictionary(text)
    assert read == {
        "Plain": AttributeDefinition("Plain", 16, None, AttributeType.OCTETS, {"Nothing": 0}, 16),
        "Acme-Tunnel": AttributeDefinition("Acme-Tunnel", 7, 4242, AttributeType.STRING, {}, None, True),
    }


@pytest.mark.parametrize(
    "line", ["ATTRIBUTE Half", "ATTRIBUTE Odd 1 colour", "BEGIN-VENDOR Nobody", "VALUE A B c", "VENDOR A"]
)
def test_a_line_that_cannot_be_names_itself(line: str) -> None:
    with pytest.raises(InvalidValue, match="dictionary line 2"):
        parse_dictionary("# a comment\n" + line)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Session-Timeout", "0"),
        ("Session-Timeout", "4294967295"),
        ("Service-Type", "Framed-User"),
        ("Service-Type", "framed-user"),
        ("Service-Type", "2"),
        ("Framed-IP-Address", "10.0.0.1"),
        ("NAS-IPv6-Address", "2001:db8::1"),
        ("Framed-IPv6-Prefix", "2001:db8::/64"),
        ("Framed-Interface-Id", "0:0:0:1"),
        ("Reply-Message", "ä" * 126),
        ("Reply-Message", "a" * 253),
        ("Mikrotik-Rate-Limit", "a" * 247),
        ("Class", "0x00ff41"),
        ("Class", "0x" + "ab" * 253),
        ("Message-Authenticator", "0x00"),
        ("MS-CHAP2-Response", "0x" + "00" * 50),
        ("Event-Timestamp", "1700000000"),
        ("Expiration", "Nov 14 2027 22:13:20"),
        ("Expiration", "14 Nov 2027"),
        ("Tunnel-Type:1", "VLAN"),
        ("Tunnel-Private-Group-Id:31", "30"),
    ],
)
def test_a_good_value_passes(name: str, value: str) -> None:
    assert invalid_because(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("No-Such-Attribute", "1", "not in the dictionary"),
        ("Session-Timeout", "4294967296", "whole number from 0 to 4294967295"),
        ("Session-Timeout", "-1", "whole number"),
        ("Session-Timeout", "abc", "whole number"),
        ("Session-Timeout", "", "whole number"),
        ("Session-Timeout", "1.5", "whole number"),
        ("Session-Timeout", "٣", "whole number"),
        ("Session-Timeout", "0x10", "whole number"),
        ("Session-Timeout", "60\n", "whole number"),
        ("Session-Timeout", "9" * 5000, "whole number"),
        ("Service-Type", "NoSuch", "neither one of its names"),
        ("Service-Type", "99999999999", "neither"),
        ("Service-Type", "²", "neither"),
        ("Framed-IP-Address", "300.1.1.1", "IPv4 address"),
        ("Framed-IP-Address", "nas.example", "IPv4 address"),
        ("NAS-IPv6-Address", "fe80::1%eth0", "zone"),
        ("NAS-IPv6-Address", "10.0.0.1", "IPv6 address"),
        ("Framed-IPv6-Prefix", "2001:db8::1/64", "nothing right of its length"),
        ("Framed-IPv6-Prefix", "2001:db8::", "length is missing"),
        ("Framed-Interface-Id", "0:0:1", "interface identifier"),
        ("Reply-Message", "ä" * 127, "254 octets"),
        ("Reply-Message", "a" * 254, "254 octets"),
        ("Reply-Message", "", "0 octets"),
        ("Reply-Message", "a\0b", "NUL"),
        ("Reply-Message", "\ud800", "surrogate"),
        ("Mikrotik-Rate-Limit", "a" * 248, "1 to 247"),
        ("Class", "text", "0x"),
        ("Class", "0x0", "0x"),
        ("Class", "0x", "0x"),
        ("Class", "0x" + "ab" * 254, "254 octets"),
        ("MS-CHAP2-Response", "0x00", "50 are allowed"),
        ("Expiration", "31/12/2027", "seconds since 1970"),
        ("Expiration", "2027-12-31", "seconds since 1970"),
        ("Session-Timeout:1", "5", "not in the dictionary"),
        ("Tunnel-Type:32", "VLAN", "not in the dictionary"),
    ],
)
def test_a_value_freeradius_would_misread_is_told(name: str, value: str, reason: str) -> None:
    assert reason in (invalid_because(name, value) or "it was let through")


def test_the_other_types_are_checked_by_definition() -> None:
    def fault(kind: AttributeType, value: str) -> str | None:
        return check_value(AttributeDefinition("Any", 1, None, kind), value)

    assert fault(AttributeType.BYTE, "255") is None
    assert fault(AttributeType.BYTE, "256") is not None
    assert fault(AttributeType.SIGNED, "-2147483648") is None
    assert fault(AttributeType.SIGNED, "2147483648") is not None
    assert fault(AttributeType.INTEGER64, "18446744073709551615") is None
    assert fault(AttributeType.COMBO_IP, "2001:db8::1") is None
    assert fault(AttributeType.COMBO_IP, "10.0.0.256") is not None
    assert fault(AttributeType.ETHER, "02:00:00:00:00:01") is None
    assert fault(AttributeType.IPV4PREFIX, "10.0.0.0/8") is None
    assert fault(AttributeType.TLV, "anything") is not None


def test_a_check_costs_packet_time_little() -> None:
    pairs = [
        ("Session-Timeout", "3600"),
        ("Framed-IP-Address", "10.0.0.1"),
        ("Reply-Message", "hello"),
    ] * 1000
    invalid_because(*pairs[0])
    started = time.process_time()
    for name, value in pairs:
        invalid_because(name, value)
    # Some 1 µs each here; fifty times that would still be no reason to fail on a slow machine.
    assert (time.process_time() - started) / len(pairs) < 50e-6
