"""The Class we sign: it comes back as it was, fits into an attribute, and nobody else can write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.class_token import MAX_CLASS_OCTETS, ClassToken, sign_class, verify_class
from herotill.dictionary import invalid_because

SECRET = bytes(range(32))
LOGIN = "0123456789abcdef"
user_names = st.text(min_size=1, max_size=253).filter(lambda name: len(name.encode()) <= 253)


def on_the_wire(value: str) -> str:
    return "0x" + value.encode().hex()


@given(user_names)
def test_a_class_names_its_login_and_account_whatever_the_user_name(username: str) -> None:
    value = sign_class(SECRET, ClassToken(LOGIN, username))
    assert len(value.encode()) <= MAX_CLASS_OCTETS
    assert invalid_because("Class", on_the_wire(value)) is None
    for said in (value, on_the_wire(value), on_the_wire(value).upper().replace("0X", "0x")):
        assert verify_class(SECRET, said, username) == ClassToken(LOGIN, username)


@pytest.mark.parametrize("octets", [1, 211, 212, 253])
def test_a_long_user_name_is_left_out_and_still_vouched_for(octets: int) -> None:
    username = "u" * octets
    value = sign_class(SECRET, ClassToken(LOGIN, username))
    named = verify_class(SECRET, on_the_wire(value), "somebody else")
    assert named == (ClassToken(LOGIN, username) if octets <= 211 else None)
    assert len(value) <= MAX_CLASS_OCTETS


@given(user_names, st.data())
def test_a_class_with_one_octet_changed_is_not_ours(username: str, data: st.DataObject) -> None:
    octets = bytearray(sign_class(SECRET, ClassToken(LOGIN, username)).encode())
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    assert verify_class(SECRET, "0x" + octets.hex(), username) is None


def test_a_dot_cannot_move_from_the_name_into_the_login() -> None:
    signature = sign_class(SECRET, ClassToken("a", "b.c")).split(".")[2]
    assert verify_class(SECRET, f"HT1.a.b.{signature}.c") is None
    assert verify_class(SECRET, f"HT1.a.{signature}.b.c") == ClassToken("a", "b.c")


@given(st.text(st.characters(exclude_categories=()), max_size=80) | st.binary(max_size=80).map(bytes.hex))
def test_nothing_made_up_is_ours_and_nothing_raises(value: str) -> None:
    for said in (value, f"0x{value}", f"HT1.{value}", f"HT1.a.{value}.c", f"HT2.a.{value}"):
        assert verify_class(SECRET, said, value) is None


def test_another_secret_is_another_network() -> None:
    token = ClassToken(LOGIN, "student-1")
    assert verify_class(b"x" * 32, sign_class(SECRET, token)) is None
