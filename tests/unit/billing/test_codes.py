"""Codes resist guessing, and are typed as people type."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.codes import (
    DEFAULT_BITS,
    Alphabet,
    as_typed,
    bits,
    check_length,
    groups_of,
    guesses_per_hit,
    random_texts,
    safe_length,
)
from billing.discounts import Discount, parse_discount
from billing.sealed_codes import CodeKeys, SealedCode
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money

KEYS = CodeKeys.of_secret("ab" * 32)


@pytest.mark.parametrize("alphabet", Alphabet)
def test_r10_codes_have_sixty_bits_by_default(alphabet: Alphabet) -> None:
    assert bits(safe_length(alphabet), alphabet) >= DEFAULT_BITS > bits(safe_length(alphabet) - 1, alphabet)


@pytest.mark.parametrize("alphabet", [Alphabet.CLEAR, Alphabet.LOWER, Alphabet.LETTERS])
def test_r7_alphabets_have_no_look_alikes(alphabet: Alphabet) -> None:
    assert not set(alphabet.characters.upper()) & set("01OIL")


@pytest.mark.parametrize("alphabet", Alphabet)
def test_r10_every_character_is_as_likely_as_every_other(alphabet: Alphabet) -> None:
    counted = Counter("".join(random_texts(alphabet, 50, 2000)))
    expected = 100_000 / len(alphabet.characters)
    assert set(counted) == set(alphabet.characters)
    # Twelve standard deviations: wrong once in far more runs than there will be.
    assert all(abs(count - expected) < 12 * expected**0.5 for count in counted.values())


def test_r10_a_code_so_short_that_many_are_guessed_is_refused() -> None:
    with pytest.raises(InvalidValue, match="length"):
        check_length("length", 5, 1_000_000, Alphabet.CLEAR)
    check_length("length", 7, 1000, Alphabet.CLEAR)  # like RA7D91Q
    assert guesses_per_hit(7, 1000) > 27_000_000


@given(st.text(st.sampled_from(Alphabet.CLEAR.characters), min_size=5, max_size=20))
def test_r10_a_refill_is_found_however_it_is_typed(code: str) -> None:
    typed = " ".join(groups_of(code)).lower()
    assert as_typed(typed) == code
    assert KEYS.hash_of(typed) == KEYS.hash_of(code)


@given(st.text(st.sampled_from(Alphabet.CLEAR.characters), min_size=1, max_size=64))
def test_groups_are_of_about_four_and_nothing_is_lost(code: str) -> None:
    groups = groups_of(code)
    assert "".join(groups) == code
    assert len(groups) == 1 or {len(group) for group in groups} <= {3, 4, 5}


@given(st.text(st.sampled_from(Alphabet.CLEAR.characters), min_size=5, max_size=64))
def test_r10_a_sealed_code_opens_with_its_own_keys_alone(code: str) -> None:
    sealed = KEYS.seal_code(code)
    assert code.encode() not in sealed.sealed + sealed.code_hash
    assert KEYS.open_code(sealed) == code
    with pytest.raises(Refused, match="voucher_secret"):
        CodeKeys.of_secret("cd" * 32).open_code(sealed)
    with pytest.raises(Refused):
        KEYS.open_code(SealedCode(KEYS.hash_of("OTHER"), sealed.sealed))


def test_r10_keys_are_not_shown() -> None:
    assert "lookup" not in repr(KEYS)


@pytest.mark.parametrize(
    ("text", "price", "left"),
    [("10%", 5000, 4500), ("12.5%", 999, 874), ("100%", 5000, 0), ("5KES", 5000, 4500), ("0.50KES", 50, 0)],
)
def test_r7_a_discount_is_a_share_or_an_amount(text: str, price: int, left: int) -> None:
    assert parse_discount(text, "--discount", "KES").price_of(Money(price, "KES")) == Money(left, "KES")


@given(st.integers(1, 10_000), st.integers(0, 10**9))
def test_r7_a_discount_never_makes_a_price_less_than_nothing(share: int, price: int) -> None:
    assert 0 <= Discount(share=share).price_of(Money(price, "KES")).minor <= price


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "5.555%", "ten", "51KES", "5USD"])
def test_r7_an_impossible_discount_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_discount(text, "--discount", "KES").price_of(Money(5000, "KES"))
