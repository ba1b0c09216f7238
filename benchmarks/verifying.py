"""Was this the right answer? Every reply is checked: code, Response Authenticator, Message-Authenticator. Pure."""

import hmac
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import md5

from benchmarks.packets import ACCESS_REQUEST, SECRET


def fault(request: bytes, reply: bytes, expected_code: int) -> str | None:
    """Say what is wrong with a reply, None when nothing is. Its Identifier was looked at when it arrived."""
    if len(reply) < 20 or int.from_bytes(reply[2:4]) != len(reply):
        return "its length is wrong"
    authenticator = request[4:20]
    if md5(reply[:4] + authenticator + reply[20:] + SECRET).digest() != reply[4:20]:
        return "its Response Authenticator is wrong"
    if request[0] == ACCESS_REQUEST and not _is_signed(reply, authenticator):
        return "its Message-Authenticator is wrong or not the first attribute"
    if reply[0] != expected_code:
        return f"its code is {reply[0]}, expected was {expected_code}"
    return None


def _is_signed(reply: bytes, authenticator: bytes) -> bool:
    if reply[20:22] != b"\x50\x12":
        return False
    unsigned = reply[:4] + authenticator + reply[20:22] + bytes(16) + reply[38:]
    return hmac.compare_digest(hmac.digest(SECRET, unsigned, "md5"), reply[22:38])


def faults(
    requests: Sequence[bytes], replies: Iterable[tuple[int, bytes]], expected_code: int
) -> Counter[str]:
    """Count what is wrong with the replies, given with the index of their request."""
    found = (fault(requests[index], reply, expected_code) for index, reply in replies)
    return Counter(reason for reason in found if reason is not None)
