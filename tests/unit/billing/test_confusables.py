"""What people take for one another (rule R4): Unicode's confusables and the classical 1/l/I, 0/O."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.confusables import look_alike, skeleton


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("piet1@example.org", "pietl@example.org"),
        ("piet1@example.org", "pietI@example.org"),
        ("pietl@example.org", "PIETI@EXAMPLE.ORG"),
        ("room0", "roomO"),
        ("room0", "roomo"),
        ("modern", "rnodern"),
        ("piet", "\u0440\u0456\u0435t"),  # Cyrillic er, byelorussian i, ie
        ("piet", "\uff50\uff49\uff45\uff54"),  # full width
        ("piet", "pi\u200det"),  # a zero-width joiner
        ("piet|", "pietl"),
        ("ann", "\u03b1nn"),  # alpha
    ],
)
def test_r4_look_alikes_have_one_skeleton(one: str, other: str) -> None:
    assert look_alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("student-1", "student-2"), ("piet", "pier"), ("ann", "anne"), ("a.b", "ab"), ("5", "6")],
)
def test_r4_what_looks_different_is_different(one: str, other: str) -> None:
    assert not look_alike(one, other)


def test_r4_every_single_character_settles() -> None:
    characters = (chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000)
    assert [each for each in characters if skeleton(skeleton(each)) != skeleton(each)] == []


@given(st.text())
def test_r4_folding_is_idempotent(text: str) -> None:
    assert skeleton(skeleton(text)) == skeleton(text)


@given(st.text(), st.text())
def test_r4_upper_and_lower_case_are_one(one: str, other: str) -> None:
    text = one + "I" + other
    assert look_alike(text, text.casefold())


@given(st.text(alphabet="1lI|0Oo.a"))
def test_r4_the_classical_ones_are_one(text: str) -> None:
    assert look_alike(text, text.translate(str.maketrans("1I|0O", "lll\u043eo")))
