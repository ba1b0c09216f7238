"""MAC addresses in every notation, and which of them devices make up (rules R5, R6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.devices import is_randomised, normal_mac


@pytest.mark.parametrize(
    "text",
    ["AA-BB-CC-00-11-22", "aa:bb:cc:00:11:22", "aabb.cc00.1122", "AABBCC001122", " aa:bb:cc:00:11:22 "],
)
def test_r5_every_notation_is_one_address(text: str) -> None:
    assert normal_mac(text) == "aa:bb:cc:00:11:22"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "254712345678",
        "aa:bb:cc:00:11",
        "aa:bb-cc:00:11:22",
        "gg:bb:cc:00:11:22",
        "aa:bb:cc:00:11:22:33",
        "x" * 300,
    ],
)
def test_r5_what_is_no_address_is_none(text: str) -> None:
    assert normal_mac(text) is None


@given(st.text())
def test_r5_normalising_is_idempotent(text: str) -> None:
    mac = normal_mac(text)
    assert mac is None or normal_mac(mac) == mac


@pytest.mark.parametrize(
    ("mac", "made_up"),
    [
        ("aa:bb:cc:00:11:22", True),
        ("da:a1:19:00:00:01", True),
        ("00:1a:2b:3c:4d:5e", False),
        ("a8:bb:cc:00:11:22", False),
    ],
)
def test_r6_made_up_addresses_are_recognised(mac: str, made_up: bool) -> None:
    assert is_randomised(mac) is made_up
