"""Codes that resist guessing (rule R10). Random, from the operating system's generator."""

import secrets
from collections.abc import Iterator
from enum import StrEnum
from math import ceil, log2

from herotill.errors import InvalidValue

DEFAULT_BITS = 60
MIN_LENGTH = 5
MAX_LENGTH = 64
MIN_GUESSES_PER_HIT = 1000
GROUP_LENGTH = 4


class Alphabet(StrEnum):
    """The characters of a code. In none of them do two characters differ only in case."""

    CLEAR = "clear"  # capitals and digits without look-alikes
    LOWER = "lower"  # the same in small letters
    LETTERS = "letters"  # capitals without look-alikes
    DIGITS = "digits"  # for keypads
    ALL = "all"  # every capital and digit, look-alikes too

    @property
    def characters(self) -> str:
        """The characters themselves, each once."""
        return _CHARACTERS[self]


_CHARACTERS = {
    Alphabet.CLEAR: "23456789ABCDEFGHJKMNPQRSTUVWXYZ",  # without 0/O and 1/I/L
    Alphabet.LOWER: "23456789abcdefghjkmnpqrstuvwxyz",
    Alphabet.LETTERS: "ABCDEFGHJKMNPQRSTUVWXYZ",
    Alphabet.DIGITS: "0123456789",
    Alphabet.ALL: "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
}


def random_texts(alphabet: Alphabet, length: int, count: int) -> Iterator[str]:
    """Yield `count` random texts; two may be the same when they are short.

    Octets that would make some characters likelier than others are thrown away.
    """
    characters = alphabet.characters.encode()
    fair = 256 - 256 % len(characters)
    table = bytes(characters[octet % len(characters)] for octet in range(256))
    unfair = bytes(range(fair, 256))
    pool = b""
    for _ in range(count):
        while len(pool) < length:
            pool += secrets.token_bytes(length * 64).translate(table, unfair)
        yield pool[:length].decode()
        pool = pool[length:]


def safe_length(alphabet: Alphabet) -> int:
    """Return how many characters have the default bits."""
    return ceil(DEFAULT_BITS / log2(len(alphabet.characters)))


def check_length(field: str, length: int, count: int, alphabet: Alphabet) -> None:
    """Refuse codes so short that guessing finds one of `count` at once. Raises InvalidValue."""
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise InvalidValue(field, length, f"it is {MIN_LENGTH} to {MAX_LENGTH} characters")
    if guesses_per_hit(length, count, alphabet) < MIN_GUESSES_PER_HIT:
        allowed = f"{count} codes of it would soon be guessed; {safe_length(alphabet)} is safe"
        raise InvalidValue(field, length, allowed)


def bits(length: int, alphabet: Alphabet = Alphabet.CLEAR) -> float:
    """Return how many random bits a code of this length has."""
    return length * log2(len(alphabet.characters))


def guesses_per_hit(length: int, count: int, alphabet: Alphabet = Alphabet.CLEAR) -> int:
    """Return how many guesses it takes on average to hit one of `count` codes."""
    possible: int = len(alphabet.characters) ** length
    return possible // count


def as_typed(code: str) -> str:
    """Return a code as it was made, however it was typed: blanks, dashes and case do not matter."""
    return "".join(code.split()).replace("-", "").upper()


def groups_of(code: str) -> list[str]:
    """Cut a code into groups of about four, as people read it to each other; a short one stays whole."""
    count = 1 if len(code) < 2 * GROUP_LENGTH else round(len(code) / GROUP_LENGTH)
    size, longer = divmod(len(code), count)
    ends = [(index + 1) * size + min(index + 1, longer) for index in range(count)]
    return [code[start:end] for start, end in zip([0, *ends], ends, strict=False)]
