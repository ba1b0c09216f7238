"""Codes that resist guessing (rule R10). Random, from the operating system's generator."""

import secrets
from collections.abc import Iterator
from math import log2

from herotill.errors import InvalidValue

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # without 0/O and 1/I/L
DEFAULT_BITS = 60
DEFAULT_LENGTH = 13
MIN_LENGTH = 5
MAX_LENGTH = 64
MIN_GUESSES_PER_HIT = 1000


def new_codes(length: int) -> Iterator[str]:
    """Yield codes without end; two may be the same when they are short."""
    while True:
        yield "".join(secrets.choice(ALPHABET) for _ in range(length))


def check_length(length: int, count: int) -> None:
    """Refuse codes so short that guessing finds one of `count` at once. Raises InvalidValue."""
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        raise InvalidValue("length", length, f"it is {MIN_LENGTH} to {MAX_LENGTH} characters")
    if guesses_per_hit(length, count) < MIN_GUESSES_PER_HIT:
        raise InvalidValue(
            "length", length, f"so many codes of it would be guessed; {DEFAULT_LENGTH} is safe"
        )


def bits(length: int) -> float:
    """Return how many random bits a code of this length has."""
    return length * log2(len(ALPHABET))


def guesses_per_hit(length: int, count: int) -> int:
    """Return how many guesses it takes on average to hit one of `count` codes."""
    possible: int = len(ALPHABET) ** length
    return possible // count
