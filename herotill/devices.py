"""Devices by their MAC address, in whatever notation a router or a person writes it (rules R5, R6). Pure."""

import re

_NOTATIONS = re.compile(
    r"[0-9a-f]{2}([:-])[0-9a-f]{2}(\1[0-9a-f]{2}){4}|([0-9a-f]{4}\.){2}[0-9a-f]{4}|(?=.*[a-f])[0-9a-f]{12}",
    re.ASCII,
)
_LOCAL_BIT = 0x02


def normal_mac(text: str) -> str | None:
    """Return a MAC address as aa:bb:cc:dd:ee:ff, or None for anything else.

    Twelve decimal digits without separators are rather a phone number. The SQL function radius.mac_of reads the same.
    """
    typed = text.strip().lower()
    if not _NOTATIONS.fullmatch(typed):
        return None
    digits = re.sub(r"[:.-]", "", typed)
    return ":".join(digits[start : start + 2] for start in range(0, 12, 2))


def is_randomised(mac: str) -> bool:
    """Whether a device made the address up (IEEE 802, the bit "locally administered"): a hint, it may change any day."""
    return bool(int(mac[:2], 16) & _LOCAL_BIT)
