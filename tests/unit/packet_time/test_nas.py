"""Whose packet is it: the NAS of a source address (rule R33)."""

from pathlib import Path

import pytest

from herotill.nas import Nas, NasDirectory
from rlm_herotill.nas_file import FILE_NAME, remember_nases, remembered_nases

NASES = NasDirectory(
    [
        ("0.0.0.0/0", "anybody", "other", "s0"),
        ("192.0.2.0/24", "branch", "mikrotik", "s1"),
        (" 192.0.2.7 ", "roof", "chillispot", "s2"),
        ("192.0.2.7", "again", "wispr", "s3"),
        ("2001:db8::/32", "six", "wispr", "s4"),
        ("roof.example", "by name", "other", "s5"),
        ("192.0.2.9/24", "host bits", "other", "s6"),
        ("203.0.113.0/24", "lte", "other", "s7", "2000"),
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


def test_r22_an_octet_counts_once_where_nobody_said_otherwise() -> None:
    assert NASES.multiplier_of("203.0.113.9") == 2000
    assert NASES.multiplier_of("192.0.2.7") == 1000
    assert NASES.multiplier_of("2001:db9::1") == 1000


def test_r36_a_secret_is_not_shown() -> None:
    assert "s2" not in repr(NASES.find("192.0.2.7"))


# -- remembered for a start without the database (rule R34)

ROWS = [("192.0.2.1", "roof", "mikrotik", "s\\e", "2000"), ("2001:db8::/32", "six", "other", "é")]


def test_r34_the_nases_known_last_are_read_back_as_they_were(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    remember_nases(directory, ROWS)
    remember_nases(directory, ROWS)
    assert [tuple(row) for row in remembered_nases(directory)] == ROWS
    assert [(path.name, path.stat().st_mode & 0o777) for path in directory.iterdir()] == [(FILE_NAME, 0o600)]


def test_what_an_interrupted_write_left_is_no_way_to_the_secrets(tmp_path: Path) -> None:
    left = tmp_path / "nas.new"
    left.touch(0o644)
    remember_nases(tmp_path, ROWS)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "damage",
    [b"", b"[[", b"\xff\xfe", b"{}", b"[1]", b'[["192.0.2.1"]]', b"[[1,2,3,4]]", b'[["a","b","c","d","e"]]'],
)
def test_a_damaged_file_is_no_nas_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(damage)
    assert remembered_nases(tmp_path) == []
    remember_nases(tmp_path, ROWS)
    assert len(remembered_nases(tmp_path)) == 2
