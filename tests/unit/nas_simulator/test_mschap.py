"""MS-CHAPv2 gives the numbers of RFC 2759 §9.2; MD4 and DES those of their own documents."""

import pytest

from nas_simulator.credentials import Credentials, Method
from nas_simulator.md4_des import des, md4
from nas_simulator.mschap import (
    authenticator_response,
    challenge_hash,
    nt_password_hash,
    nt_response,
    without_domain,
)
from nas_simulator.wire import ACCESS_ACCEPT, decode, reply_to

AUTHENTICATOR_CHALLENGE = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
CHALLENGE = bytes.fromhex("D02E4386BCE91226")
RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
PROOF = "S=407A5589115FD0D6209F510FE9C04566932CDA56"


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_gives_the_digests_of_rfc_1320(message: bytes, digest: str) -> None:
    assert md4(message).hex() == digest


def test_des_gives_a_known_ciphertext() -> None:
    # Key 133457799BBCDFF1 without its parity bits.
    key = int("".join(f"{octet >> 1:07b}" for octet in bytes.fromhex("133457799BBCDFF1")), 2).to_bytes(7)
    assert des(key, bytes.fromhex("0123456789ABCDEF")).hex() == "85e813540f0ab405"


def test_the_vectors_of_rfc_2759() -> None:
    assert challenge_hash(PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, "User") == CHALLENGE
    assert nt_password_hash("clientPass").hex().upper() == "44EBBA8D5312B8D611474411F56989AE"
    assert nt_response("clientPass", CHALLENGE) == RESPONSE
    assert authenticator_response("clientPass", RESPONSE, CHALLENGE) == PROOF


def test_the_domain_is_not_hashed() -> None:
    assert without_domain("DOMAIN\\User") == "User"


def test_only_the_right_proof_is_believed() -> None:
    login = Credentials(Method.MSCHAPV2, "User", "clientPass", AUTHENTICATOR_CHALLENGE, PEER_CHALLENGE, 7)
    request = decode(bytes([1, 1, 0, 20]) + bytes(16))

    def distrust(*success: bytes) -> str | None:
        pairs = [("MS-CHAP2-Success", value) for value in success]
        return login.distrust(decode(reply_to(request, ACCESS_ACCEPT, b"s", pairs)))

    assert distrust(b"\x07" + PROOF.encode()) is None
    assert distrust(b"\x07" + PROOF.encode() + b" M=welcome") is None
    assert distrust(b"\x08" + PROOF.encode()) is not None
    assert distrust(b"\x07" + PROOF.encode()[:-1] + b"0") is not None
    assert distrust() == "the Access-Accept has no MS-CHAP2-Success"


def test_the_response_is_laid_out_as_rfc_2548_says() -> None:
    login = Credentials(Method.MSCHAPV2, "User", "clientPass", AUTHENTICATOR_CHALLENGE, PEER_CHALLENGE, 7)
    pairs = dict(login.pairs(b"secret", bytes(16)))
    assert pairs["MS-CHAP-Challenge"] == AUTHENTICATOR_CHALLENGE
    assert pairs["MS-CHAP2-Response"] == b"\x07\x00" + PEER_CHALLENGE + bytes(8) + RESPONSE


def test_a_password_is_not_shown() -> None:
    assert "clientPass" not in repr(Credentials(Method.PAP, "User", "clientPass"))
