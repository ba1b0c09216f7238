"""The journal's lines (DESIGN.md §4): what was written is read, and damage is seen and stays where it is."""

import json
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.journal import (
    ACCOUNTING,
    LOGIN,
    Damaged,
    LoginRecord,
    Record,
    decode_line,
    decode_lines,
    encode,
    encode_accounting,
    encode_login,
)

# Lone surrogates too: rlm_python3's text is not always well formed.
texts = st.text(st.characters(exclude_categories=()), max_size=30)
pairs = st.lists(st.tuples(texts, texts), max_size=5)
bodies = pairs | st.dictionaries(texts, texts | st.booleans() | st.none(), max_size=5)
records = st.tuples(st.sampled_from([ACCOUNTING, LOGIN]), st.integers(0, 2**53), texts, bodies)


def as_read(body: Any) -> Any:
    return body if isinstance(body, dict) else [list(pair) for pair in body]


def written(record: Any, offset: int) -> Record:
    kind, received_at_us, nas_address, body = record
    return Record(offset, kind, received_at_us, nas_address, as_read(body))


@given(st.lists(records, max_size=5), st.integers(0, 2**40))
def test_what_was_written_is_read(given_records: list[Any], offset: int) -> None:
    data, expected = b"", []
    for record in given_records:
        expected.append(written(record, offset + len(data)))
        data += encode(*record)
    assert list(decode_lines(data, offset)) == expected


def line(user: str) -> bytes:
    return encode(ACCOUNTING, 1764000000123456, "192.0.2.1", [("User-Name", user), ("Class", "0x4854")])


THREE = [line("first"), line('5f3a0c91 ["acct",1,"",[]]'), line("third")]


def users(data: bytes) -> list[str]:
    return [found.body[0][1] for found in decode_lines(data, 0) if isinstance(found, Record)]


@given(st.data())
def test_any_damage_to_any_octet_is_seen_and_no_neighbour_suffers(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(THREE[1]) - 1), "position")
    flip = data.draw(st.integers(1, 255), "flip")
    spoilt = bytearray(THREE[1])
    spoilt[position] ^= flip
    found = list(decode_lines(THREE[0] + bytes(spoilt) + THREE[2], 0))
    read = [one.body[0][1] for one in found if isinstance(one, Record)]
    assert read[0] == "first"
    assert read[-1] == "third"
    if position == len(spoilt) - 1:
        # Only the newline is spoilt; the record is whole.
        assert len(read) == 3
    else:
        assert len(read) == 2
        assert any(isinstance(one, Damaged) for one in found)


@given(st.integers(1, len(THREE[0]) - 1))
def test_a_torn_record_does_not_spoil_the_one_written_behind_it(length: int) -> None:
    """Given a record that could be neither finished nor taken back, when another follows, then that one is read."""
    torn = THREE[0][:length]
    found = list(decode_lines(torn + THREE[2], 100))
    assert [type(one) for one in found] == [Record if length == len(THREE[0]) - 1 else Damaged, Record]
    assert (found[0].offset, found[1].offset) == (100, 100 + length)


@given(st.integers(0, len(THREE[2]) - 1))
def test_a_last_line_without_its_newline_is_left_alone(length: int) -> None:
    assert users(THREE[0] + THREE[2][:length]) == ["first"]


def test_a_user_name_cannot_pose_as_a_record_within_a_damaged_line() -> None:
    inner = '["acct",1,"192.0.2.9",[]]'
    posing = f"{crc32(inner.encode()):08x} {inner}"
    spoilt = b"0" + line(posing)[1:]
    assert [type(one) for one in decode_lines(spoilt, 0)] == [Damaged]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "null",
        '"abcd"',
        "[1,2,3,4]",
        '["acct",1,"",""]',
        '["acct",1,"",[],5]',
        '["acct","1","",[]]',
        '{"a":1,"b":2,"c":3,"d":4}',
        '["acct",1,"",[]',
        "[" * 100_000,
        "\udc80",
    ],
)
def test_what_is_not_a_record_is_damaged_though_its_checksum_is_right(text: str) -> None:
    octets = text.encode("utf-8", "surrogateescape")
    found = decode_line(b"%08x %b" % (crc32(octets), octets), 7)
    assert isinstance(found, Damaged)
    assert found.offset == 7
    assert "not a journal record" in found.reason


@pytest.mark.parametrize("junk", [b"", b" ", b"\0" * 100, b"ffffffff", b"00000000 ", b"\xff" * 9])
def test_junk_is_damaged_and_kept_as_it_was(junk: bytes) -> None:
    found = decode_line(junk, 0)
    assert isinstance(found, Damaged)
    assert found.line == junk


def test_a_line_holds_one_newline_whatever_the_values_hold() -> None:
    encoded = encode(LOGIN, 1, "::1", {"user": "a\nb\r\u2028c"})
    assert encoded.count(b"\n") == 1
    assert json.loads(encoded[9:])[3] == {"user": "a\nb\r\u2028c"}


@given(st.lists(st.text(max_size=20), min_size=6, max_size=6), st.booleans(), st.booleans(), st.booleans())
def test_a_login_is_written_as_any_record_is(
    texts: list[str], ok: bool, corrects: bool, unsigned: bool
) -> None:
    user, reason, login, calling, called, nas = texts
    body = {"user": user, "ok": ok, "reason": reason, "login": login, "calling": calling, "called": called}
    if corrects:
        body["corrects"] = True
    if unsigned:
        body["unsigned"] = True
    record = LoginRecord(user, ok, reason, login, calling, called, corrects, unsigned)
    assert encode_login(7, nas, record) == encode(LOGIN, 7, nas, body)


@given(nas=texts, pairs=pairs)
def test_a_packet_is_written_as_any_record_is(nas: str, pairs: list[tuple[str, str]]) -> None:
    assert encode_accounting(7, nas, pairs) == encode(ACCOUNTING, 7, nas, pairs)
