"""Rows FreeRADIUS would misread are told before they are written (rule R30)."""

import pytest

from herotill.typed_writer import misread_because

GOOD = [
    ("radcheck", "Cleartext-Password", ":=", "secret"),
    ("radcheck", "Expiration", ":=", "Jan 31 2027 23:59:59"),
    ("radcheck", "Simultaneous-Use", ":=", "2"),
    ("radcheck", "Calling-Station-Id", "==", "02-00-00-00-00-01"),
    ("radcheck", "Calling-Station-Id", "=~", "^02"),
    ("radgroupcheck", "Auth-Type", ":=", "Reject"),
    ("radreply", "Session-Timeout", ":=", "3600"),
    ("radreply", "Session-Timeout", "=", "4294967295"),
    ("radreply", "Framed-IP-Address", ":=", "10.0.0.9"),
    ("radgroupreply", "Reply-Message", "+=", "hello"),
    ("radgroupreply", "Mikrotik-Rate-Limit", ":=", "2M/10M"),
]
BAD = [
    ("radcheck", "Expiration", ":=", "2027-01-31", "a date is"),
    ("radcheck", "Expiration", ":=", "31 January 2027", "a date is"),
    ("radcheck", "Expiration", "==", "Jan 31 2027", "use :="),
    ("radcheck", "Cleartext-Password", "==", "secret", "use :="),
    ("radcheck", "Cleartext-Password", ":=", "", "1 to 253 octets"),
    ("radcheck", "Simultaneous-Use", ":=", "two", "whole number"),
    ("radcheck", "Auth-Type", "=", "Reject", "use :="),
    ("radcheck", "Calling-Station-Id", "=", "02", "check"),
    ("radreply", "Session-Timeout", "==", "3600", "compares"),
    ("radreply", "Session-Timeout", ":=", "99999999999", "4294967295"),
    ("radreply", "Session-Timeout", ":=", "-1", "4294967295"),
    ("radreply", "Session-Timeout", ":=", "1h", "4294967295"),
    ("radreply", "Framed-IP-Address", ":=", "300.1.1.1", "IPv4"),
    ("radgroupreply", "No-Such-Attribute", ":=", "1", "dictionary"),
    ("radgroupreply", "Reply-Message", "+=", "x" * 254, "254 octets"),
]


@pytest.mark.parametrize(("relation", "attribute", "op", "value"), GOOD)
def test_r30_what_freeradius_reads_as_meant_is_written(
    relation: str, attribute: str, op: str, value: str
) -> None:
    assert misread_because(relation, attribute, op, value) is None


@pytest.mark.parametrize(("relation", "attribute", "op", "value", "why"), BAD)
def test_r30_what_freeradius_would_misread_is_refused_and_told(
    relation: str, attribute: str, op: str, value: str, why: str
) -> None:
    assert why in (misread_because(relation, attribute, op, value) or "")
