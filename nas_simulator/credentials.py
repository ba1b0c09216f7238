"""How a user proves who he is: PAP, CHAP and MS-CHAPv2, and the server's proof in return.

Owns the attributes of each method. The challenges are random unless a test gives them.
"""

import hashlib
import os
from dataclasses import dataclass, field
from enum import StrEnum

from nas_simulator import mschap
from nas_simulator.wire import Pairs, Received, hidden_password


class Method(StrEnum):
    """The ways to log in."""

    PAP = "pap"
    CHAP = "chap"
    MSCHAPV2 = "mschapv2"


@dataclass(frozen=True, slots=True)
class Credentials:
    """One attempt of one user. `identifier` is the CHAP identifier the peer used."""

    method: Method
    user_name: str
    password: str = field(repr=False)
    challenge: bytes = field(default_factory=lambda: os.urandom(16), repr=False)
    peer_challenge: bytes = field(default_factory=lambda: os.urandom(16), repr=False)
    identifier: int = 1

    def pairs(self, secret: bytes, authenticator: bytes) -> Pairs:
        """Return the attributes that prove the password, without telling it (RFC 2865 §5.2, §5.3; RFC 2548 §2.3)."""
        if self.method is Method.PAP:
            return [("User-Password", hidden_password(self.password, secret, authenticator))]
        if self.method is Method.CHAP:
            return [("CHAP-Password", self._chap_password()), ("CHAP-Challenge", self.challenge)]
        return [("MS-CHAP-Challenge", self.challenge), ("MS-CHAP2-Response", self._mschap2_response())]

    def distrust(self, reply: Received) -> str | None:
        """Tell why the peer would not believe an Access-Accept; None when it does.

        Only MS-CHAPv2 lets the peer judge: a server must say S=, made with the password (RFC 2759 §8.7).
        """
        if self.method is not Method.MSCHAPV2:
            return None
        success = reply.value("MS-CHAP2-Success")
        if success is None:
            return "the Access-Accept has no MS-CHAP2-Success"
        told = success if isinstance(success, bytes) else str(success).encode()
        expected = mschap.authenticator_response(self.password, self._nt_response(), self._hash())
        wanted = bytes([self.identifier]) + expected.encode()
        return None if told[: len(wanted)] == wanted else "the MS-CHAP2-Success does not prove the password"

    def _chap_password(self) -> bytes:
        identifier = bytes([self.identifier])
        digest = hashlib.md5(identifier + self.password.encode() + self.challenge, usedforsecurity=False)
        return identifier + digest.digest()

    def _hash(self) -> bytes:
        return mschap.challenge_hash(self.peer_challenge, self.challenge, self.user_name)

    def _nt_response(self) -> bytes:
        return mschap.nt_response(self.password, self._hash())

    def _mschap2_response(self) -> bytes:
        # Identifier, Flags, Peer-Challenge, eight reserved octets, Response (RFC 2548 §2.3.2).
        return bytes([self.identifier, 0]) + self.peer_challenge + b"\0" * 8 + self._nt_response()
