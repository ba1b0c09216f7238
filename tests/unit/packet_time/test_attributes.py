"""Pairs: read as rlm_python3 hands them over, and returned so that FreeRADIUS reads what was meant."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.snapshot import Row
from rlm_herotill.attributes import (
    LOGIN_ID,
    MESSAGE_AUTHENTICATOR,
    SECTION,
    SOURCE,
    checked_pairs,
    checked_rows,
    escape,
    first,
    login_request,
    parse_access_request,
    password_pairs,
)

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def as_freeradius_reads(value: str) -> str:
    r"""Undo what its parser of double-quoted strings does: \n \r \t \" \\ and \NNN; a lone last backslash fails."""

    def unescaped(found: re.Match[str]) -> str:
        what = found[1]
        if not what:
            raise ValueError("a lone trailing backslash")
        return chr(int(what, 8)) if what.isdigit() else _ESCAPES.get(what, "\\" + what)

    return re.sub(r"\\([0-7]{3}|.|$)", unescaped, value, flags=re.DOTALL)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text('\\"nrt017%{}'))
def test_an_escaped_value_is_read_as_it_was_meant(value: str) -> None:
    assert as_freeradius_reads(escape(value)) == value


@given(st.text(st.characters(exclude_categories=())))
def test_no_value_leaves_an_exception_pending_in_freeradius(value: str) -> None:
    assert len(escape(value).encode()) >= len(value)


def test_a_request_is_read_by_the_first_of_each_attribute_and_what_is_absent_is_empty() -> None:
    pairs = (("User-Name", "anna"), (SOURCE, "2001:db8::1"), ("User-Name", "ben"), (SECTION, "reject"))
    request = parse_access_request(pairs)
    assert (request.username, request.source, request.section) == ("anna", "2001:db8::1", "reject")
    assert (request.login_id, request.calling_station_id, request.called_station_id) == ("", "", "")
    assert first(pairs, "User-Name") == "anna"
    assert first(pairs, LOGIN_ID) == ""


def test_every_login_has_an_id_of_its_own() -> None:
    request = parse_access_request((("User-Name", "anna"), (SOURCE, "192.0.2.1")))
    ids = {login_request(request).login_id for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{13,20}", login_id) for login_id in ids)


def test_only_known_good_passwords_are_handed_over_and_as_they_are() -> None:
    rows = [
        Row("Cleartext-Password", ":=", 'a\\n"b'),
        Row("Auth-Type", ":=", "Accept"),
        Row("NT-Password", "==", "0xab"),
    ]
    assert password_pairs(rows) == (
        ("Cleartext-Password", ":=", 'a\\\\n"b'),
        ("NT-Password", ":=", "0xab"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Session-Timeout", "abc"),
        ("Session-Timeout", "-1"),
        ("Session-Timeout", "99999999999"),
        ("Framed-IP-Address", "300.1.1.1"),
        ("Service-Type", "NoSuch"),
        ("Filter-Id", ""),
        ("Filter-Id", "x" * 254),
        ("Mikrotik-Address-List", "x" * 248),
        ("No-Such-Attribute", "1"),
    ],
)
def test_a_value_freeradius_would_send_as_zero_is_left_out_and_told_of(name: str, value: str) -> None:
    complaints: list[str] = []
    sound = ("Idle-Timeout", "60")
    assert checked_pairs([(name, value), sound], complaints.append) == [("Idle-Timeout", ":=", "60")]
    assert checked_rows([Row(name, ":=", value), Row(*sound[:1], "=", "60")], complaints.append) == [
        ("Idle-Timeout", "=", "60")
    ]
    assert len(complaints) == 2
    assert all(name in complaint for complaint in complaints)


@pytest.mark.parametrize(("op", "sent"), [("=", "="), (":=", ":="), ("+=", "+="), ("==", ":="), ("!*", None)])
def test_an_operator_s_row_carries_an_operator_that_does_what_it_says(op: str, sent: str | None) -> None:
    complaints: list[str] = []
    pairs = checked_rows([Row("Reply-Message", op, "hello")], complaints.append)
    assert pairs == ([] if sent is None else [("Reply-Message", sent, "hello")])
    assert len(complaints) == (sent is None)


def test_message_authenticator_is_zero_and_replaces() -> None:
    assert MESSAGE_AUTHENTICATOR == ("Message-Authenticator", ":=", "0x00")


def test_an_attribute_that_comes_twice_is_added_not_replaced() -> None:
    pairs = [("Cisco-AVPair", "a=1"), ("Idle-Timeout", "60"), ("Cisco-AVPair", "b=2")]
    assert checked_pairs(pairs, lambda _: None) == [
        ("Cisco-AVPair", ":=", "a=1"),
        ("Idle-Timeout", ":=", "60"),
        ("Cisco-AVPair", "+=", "b=2"),
    ]
