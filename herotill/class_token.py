"""The Class attribute we sign (RFC 2865 §5.25): it names the login and the account, and accounting is bound by it.

`HT1.<login_id>.<signature>.<user name>`; the signature is 80 bits of keyed BLAKE2b (RFC 7693 §2.9), which a forger would
have to guess online. A NAS returns Class unchanged in accounting, so usage finds its account whatever User-Name it reports.
`HT2.<login_id>.<signature>` leaves out a user name too long for an attribute; its signature holds for the User-Name that is
reported with it.
"""

import hmac
from hashlib import blake2b
from typing import NamedTuple

_PREFIX = "HT1"
_PREFIX_WITHOUT_NAME = "HT2"
_SIGNATURE_OCTETS = 10
MAX_CLASS_OCTETS = 253


class ClassToken(NamedTuple):
    """What a verified Class says: which login, of which account."""

    login_id: str
    username: str


def sign_class(secret: bytes, token: ClassToken) -> str:
    """Return the Class value as text of at most 253 octets."""
    signature = _signature(secret, token)
    value = f"{_PREFIX}.{token.login_id}.{signature}.{token.username}"
    if len(value.encode(errors="replace")) <= MAX_CLASS_OCTETS:
        return value
    return f"{_PREFIX_WITHOUT_NAME}.{token.login_id}.{signature}"


def verify_class(secret: bytes, value: str, reported_username: str = "") -> ClassToken | None:
    """Return what a Class value names, or None where it is not ours. `value` is text, or 0x and hexadecimal digits.

    `reported_username` is the User-Name that came with it.
    """
    match _as_text(value).split(".", 3):
        case [prefix, login_id, signature, username] if prefix == _PREFIX:
            token = ClassToken(login_id, username)
        case [prefix, login_id, signature] if prefix == _PREFIX_WITHOUT_NAME:
            token = ClassToken(login_id, reported_username)
        case _:
            return None
    given, right = signature.encode(errors="replace"), _signature(secret, token).encode()
    return token if hmac.compare_digest(given, right) else None


def _as_text(value: str) -> str:
    if not value.startswith("0x"):
        return value
    try:
        return bytes.fromhex(value[2:]).decode()
    except ValueError:
        return ""


def _signature(secret: bytes, token: ClassToken) -> str:
    message = f"{token.login_id}.{token.username}".encode(errors="surrogatepass")
    return blake2b(message, key=secret[:64], digest_size=_SIGNATURE_OCTETS).hexdigest()
