"""Signed bodies."""

from datetime import timedelta

import pytest

from herotill.signature import is_signed, sign
from tests.unit.rules.build import NOW

SECRET, BODY = b"k" * 32, b'{"a":1}'


def test_what_was_signed_is_recognised_for_a_while() -> None:
    signature = sign(SECRET, BODY, NOW)
    assert is_signed(SECRET, BODY, signature, NOW)
    assert is_signed(SECRET, BODY, signature, NOW + timedelta(seconds=299))
    assert not is_signed(SECRET, BODY, signature, NOW + timedelta(seconds=301))
    assert not is_signed(SECRET, BODY, signature, NOW - timedelta(seconds=301))


def test_another_body_secret_or_time_is_not() -> None:
    signature = sign(SECRET, BODY, NOW)
    assert not is_signed(SECRET, BODY + b" ", signature, NOW)
    assert not is_signed(b"x" * 32, BODY, signature, NOW)
    later = sign(SECRET, BODY, NOW + timedelta(seconds=1)).split(",")[0]
    assert not is_signed(SECRET, BODY, f"{later},{signature.split(',')[1]}", NOW)


@pytest.mark.parametrize(
    "signature", ["", "t=1,v1=", "v1=00", "t=\u0661,v1=" + "0" * 64, "t=1,v1=" + "0" * 64 + "\n"]
)
def test_what_is_no_signature_is_not_one(signature: str) -> None:
    assert not is_signed(SECRET, BODY, signature, NOW)


def test_it_can_be_checked_by_anybody() -> None:
    # printf '1795348800.{"a":1}' | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    digest = "887c0ab30238d33cb8abc595634793f9cd2091419d39acc7a4395c4b236745fa"
    assert sign(SECRET, BODY, NOW) == f"t=1795348800,v1={digest}"
