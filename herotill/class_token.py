"""The Class attribute we sign (RFC 2865 §5.25): it names the login and the account, and accounting is bound by it.

`HT1.<login_id>.<signature>.<user name>`; the signature is the first 80 bits of HMAC-SHA-256, which a forger would have to
guess online. A NAS returns Class unchanged in accounting, so usage finds its account whatever User-Name it reports.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256

_PREFIX = "HT1"
_SIGNATURE_DIGITS = 20
MAX_CLASS_OCTETS = 253


@dataclass(frozen=True, slots=True)
class ClassToken:
    """What a verified Class says: which login, of which account."""

    login_id: str
    username: str


def sign_class(secret: bytes, token: ClassToken) -> str:
    """Return the Class value as text, shorter than 253 octets for user names up to 200 octets."""
    return f"{_PREFIX}.{token.login_id}.{_signature(secret, token)}.{token.username}"


def verify_class(secret: bytes, value: str) -> ClassToken | None:
    """Return what a Class value names, or None where it is not ours. `value` is text, or 0x and hexadecimal digits."""
    parts = _as_text(value).split(".", 3)
    if len(parts) != 4 or parts[0] != _PREFIX:
        return None
    token = ClassToken(parts[1], parts[3])
    return token if hmac.compare_digest(parts[2].encode(), _signature(secret, token).encode()) else None


def _as_text(value: str) -> str:
    if not value.startswith("0x"):
        return value
    try:
        return bytes.fromhex(value[2:]).decode()
    except ValueError:
        return ""


def _signature(secret: bytes, token: ClassToken) -> str:
    message = f"{token.login_id}.{token.username}".encode()
    return hmac.digest(secret, message, sha256).hex()[:_SIGNATURE_DIGITS]
