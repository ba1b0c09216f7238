"""Signed bodies: who knows the secret can tell that we sent this, and when.

The header reads `t=<seconds since the epoch>,v1=<hexadecimal HMAC-SHA256 of "<t>.<body>">`: the time is signed too, so that
what was overheard cannot be sent again later.
"""

import hashlib
import hmac
import re
from datetime import datetime

SIGNATURE_HEADER = "HeroTill-Signature"
TOLERANCE_SECONDS = 300
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", re.ASCII)


def sign(secret: bytes, body: bytes, at: datetime) -> str:
    """Return the value of the header for a body sent at `at`."""
    seconds = str(int(at.timestamp()))
    return f"t={seconds},v1={_digest(secret, seconds, body)}"


def is_signed(
    secret: bytes, body: bytes, signature: str, now: datetime, tolerance_seconds: int = TOLERANCE_SECONDS
) -> bool:
    """Tell whether this body was signed with this secret, not longer ago than the tolerance, nor so far in the future."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None or abs(now.timestamp() - int(match[1])) > tolerance_seconds:
        return False
    return hmac.compare_digest(_digest(secret, match[1], body), match[2])


def _digest(secret: bytes, seconds: str, body: bytes) -> str:
    return hmac.new(secret, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
