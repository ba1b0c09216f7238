"""No octets from the network do more than be counted (RFC 5176 §6)."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from herotill.errors import InvalidValue
from sync_daemon.coa.error_causes import describe_error_cause
from sync_daemon.coa.packets import (
    Ack,
    Action,
    AttributeValue,
    Ignored,
    Nak,
    SignedRequest,
    read_answer,
    sign_request,
)

DICTIONARY: Any = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECRET = b"nas secret"
REQUEST = sign_request(DICTIONARY, Action.DISCONNECT, {"User-Name": "student-1"}, 7, NOW, SECRET)


def signed(code: int, body: bytes, request: SignedRequest = REQUEST) -> bytes:
    header = bytes((code, 7)) + (20 + len(body)).to_bytes(2, "big")
    digest = hashlib.md5(header + request.authenticator + body + SECRET).digest()
    return header + digest + body


def test_signing_is_deterministic_so_that_a_retransmission_is_the_same_request() -> None:
    again = sign_request(DICTIONARY, Action.DISCONNECT, {"User-Name": "student-1"}, 7, NOW, SECRET)
    assert again.octets == REQUEST.octets


def test_values_come_as_json_has_them() -> None:
    values: dict[str, AttributeValue] = {
        "Session-Timeout": 60,
        "Reply-Message": ["one", "two"],
        "Class": "0x00ff",
    }
    request = sign_request(DICTIONARY, Action.COA, values, 7, NOW, SECRET)
    body = request.octets[20 + 18 + 6 :]
    assert body.startswith(bytes((27, 6, 0, 0, 0, 60)) + b"\x12\x05one\x12\x05two" + b"\x19\x04\x00\xff")


@pytest.mark.parametrize("value", [-1, 2**32, "x", None, {"a": 1}])
def test_a_value_out_of_range_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidValue) as refused:
        sign_request(DICTIONARY, Action.COA, {"Session-Timeout": value}, 7, NOW, SECRET)
    assert refused.value.field == "Session-Timeout"


@pytest.mark.parametrize("name", ["Event-Timestamp", "Message-Authenticator", "Expiration", "Auth-Type"])
def test_what_is_ours_or_freeradius_own_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        sign_request(DICTIONARY, Action.COA, {name: "1"}, 7, NOW, SECRET)
    assert refused.value.field == name


def test_a_request_too_big_for_a_packet_is_refused() -> None:
    with pytest.raises(InvalidValue):
        sign_request(DICTIONARY, Action.COA, {"Reply-Message": ["x" * 250] * 20}, 7, NOW, SECRET)


def test_padding_behind_the_packet_is_ignored() -> None:
    assert read_answer(signed(41, b"") + b"padding", REQUEST) == Ack()
    assert read_answer(signed(42, bytes((101, 6, 0, 0, 1, 0xF7))) + b"\x00", REQUEST) == Nak(503)


@given(st.binary(max_size=200))
def test_random_octets_are_never_an_answer(octets: bytes) -> None:
    assert isinstance(read_answer(octets, REQUEST), Ignored)


@given(st.binary(max_size=120))
def test_random_attributes_signed_by_the_nas_never_raise(body: bytes) -> None:
    assert isinstance(read_answer(signed(42, body), REQUEST), Nak | Ignored)


@given(st.integers(0, 25), st.integers(1, 255))
def test_one_changed_octet_makes_it_no_answer(position: int, change: int) -> None:
    good = bytearray(signed(42, bytes((101, 6, 0, 0, 1, 0xF7))))
    if position == 1:
        return  # the Identifier is matched before, by the client, and signed as well
    good[position] ^= change
    assert isinstance(read_answer(bytes(good), REQUEST), Ignored)


@given(st.integers(0, 25))
def test_a_truncated_answer_is_none(length: int) -> None:
    whole = signed(42, bytes((101, 6, 0, 0, 1, 0xF7)))
    assert read_answer(whole[:length], REQUEST) is Ignored.MALFORMED


def test_secrets_are_not_in_the_representation() -> None:
    assert "secret" not in repr(REQUEST).replace("secret=", "")


@pytest.mark.parametrize(
    ("error_cause", "words"),
    [
        (503, "session context not found (Error-Cause 503)"),
        (999, "unknown cause (Error-Cause 999)"),
        (None, "no Error-Cause given"),
    ],
)
def test_error_causes_are_said_in_words(error_cause: int | None, words: str) -> None:
    assert describe_error_cause(error_cause) == words
