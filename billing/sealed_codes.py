"""Refill codes at rest: found by a keyed hash, sealed for printing them again (rule R10, docs/decisions/0016).

Both keys come from the setting `voucher_secret`, which the database never sees: who has the database alone has nothing to
sell.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from billing.codes import as_typed
from herotill.errors import Refused

_NONCE_OCTETS = 12


@dataclass(frozen=True, slots=True)
class SealedCode:
    """What the database keeps of a refill's code."""

    code_hash: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True, repr=False)
class CodeKeys:
    """The keys refill codes are hashed and sealed with. `fingerprint` tells them from others, and nothing more."""

    lookup: bytes
    seal: bytes
    fingerprint: str

    @classmethod
    def of_secret(cls, secret: str) -> Self:
        """Derive the keys from the hexadecimal setting `voucher_secret`."""
        root = bytes.fromhex(secret)
        return cls(
            _derive(root, b"refill lookup"), _derive(root, b"refill seal"), _derive(root, b"name")[:6].hex()
        )

    def hash_of(self, code: str) -> bytes:
        """Return what a code is found by, however it was typed."""
        return _derive(self.lookup, as_typed(code).encode("utf-8", "replace"))

    def seal_code(self, code: str) -> SealedCode:
        """Return a code's hash and the code itself, sealed to that hash."""
        code_hash, nonce = self.hash_of(code), os.urandom(_NONCE_OCTETS)
        return SealedCode(code_hash, nonce + AESGCM(self.seal).encrypt(nonce, code.encode(), code_hash))

    def open_code(self, sealed: SealedCode) -> str:
        """Return a sealed code. Raises Refused where it was sealed with another secret."""
        nonce, body = sealed.sealed[:_NONCE_OCTETS], sealed.sealed[_NONCE_OCTETS:]
        try:
            return AESGCM(self.seal).decrypt(nonce, body, sealed.code_hash).decode()
        except InvalidTag:
            raise Refused("these refills were made with another voucher_secret", "R10") from None


def _derive(key: bytes, label: bytes) -> bytes:
    return hmac.digest(key, label, hashlib.sha256)
