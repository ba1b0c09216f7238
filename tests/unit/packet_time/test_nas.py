"""Whose packet is it: the NAS of a source address (rule R33)."""

import pytest

from herotill.nas import Nas, NasDirectory

NASES = NasDirectory(
    [
        ("0.0.0.0/0", "anybody", "other", "s0"),
        ("192.0.2.0/24", "branch", "mikrotik", "s1"),
        (" 192.0.2.7 ", "roof", "chillispot", "s2"),
        ("192.0.2.7", "again", "wispr", "s3"),
        ("2001:db8::/32", "six", "wispr", "s4"),
        ("roof.example", "by name", "other", "s5"),
        ("192.0.2.9/24", "host bits", "other", "s6"),
    ]
)


@pytest.mark.parametrize(
    ("address", "shortname"),
    [
        ("192.0.2.7", "roof"),
        ("192.0.2.8", "branch"),
        ("198.51.100.1", "anybody"),
        ("2001:db8::1", "six"),
        ("2001:db9::1", None),
        ("", None),
        ("roof.example", None),
    ],
)
def test_r33_the_longest_prefix_wins_and_of_equals_the_first(address: str, shortname: str | None) -> None:
    for _ in range(2):
        found = NASES.find(address)
        assert (found.shortname if isinstance(found, Nas) else None) == shortname


def test_r33_a_name_that_is_no_address_is_told_of() -> None:
    assert NASES.unusable == ["roof.example"]


def test_the_dialect_of_an_unknown_nas_is_the_generic_one() -> None:
    assert NASES.dialect_of("2001:db9::1").name == "generic"
    assert NASES.dialect_of("192.0.2.7").name == "chillispot"


def test_r36_a_secret_is_not_shown() -> None:
    assert "s2" not in repr(NASES.find("192.0.2.7"))
