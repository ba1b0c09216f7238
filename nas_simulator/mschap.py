"""MS-CHAPv2 as the peer computes it (RFC 2759 §8, carried as RFC 2548 §2.3 says).

Owns the challenge hash, the NT response and the proof the server must give back. Passwords are text; all else octets.
"""

import hashlib

from nas_simulator.md4_des import des, md4

# RFC 2759 §8.7 spells both strings out octet by octet.
_MAGIC_1 = b"Magic server to client signing constant"
_MAGIC_2 = b"Pad to make it do more than one iteration"


def nt_password_hash(password: str) -> bytes:
    """Return the 16-octet MD4 of the password in UTF-16 (§8.3)."""
    return md4(password.encode("utf-16-le"))


def challenge_hash(peer_challenge: bytes, authenticator_challenge: bytes, user_name: str) -> bytes:
    """Return the 8-octet challenge both sides' challenges make, bound to the user (§8.2)."""
    seen = peer_challenge + authenticator_challenge + without_domain(user_name).encode()
    return hashlib.sha1(seen, usedforsecurity=False).digest()[:8]


def nt_response(password: str, challenge: bytes) -> bytes:
    """Return the 24-octet answer to an 8-octet challenge (§8.5)."""
    keys = nt_password_hash(password) + b"\0" * 5
    return b"".join(des(keys[start : start + 7], challenge) for start in (0, 7, 14))


def authenticator_response(password: str, response: bytes, challenge: bytes) -> str:
    """Return what only a server that knows the password can say: `S=` and 40 hexadecimal digits (§8.7)."""
    hash_of_hash = md4(nt_password_hash(password))
    digest = _sha1(hash_of_hash + response + _MAGIC_1)
    return "S=" + _sha1(digest + challenge + _MAGIC_2).hex().upper()


def without_domain(user_name: str) -> str:
    """Return the user without `DOMAIN\\` in front, as §8.2 hashes it."""
    return user_name.rpartition("\\")[2]


def _sha1(octets: bytes) -> bytes:
    return hashlib.sha1(octets, usedforsecurity=False).digest()
