"""How single values of the settings file are read: each reader takes the key and what YAML made of its value.

A value that may be a secret is not repeated in what is raised.
"""

import re
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from herotill.errors import InvalidValue

FDATASYNC_POLICIES = ("always", "interval", "never")


def read_text(key: str, value: object) -> str:
    """Read printable text. Raises InvalidValue."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidValue(key, value, "it is printable text")
    return value


def read_url(key: str, value: object) -> str:
    """Read a libpq URI. Raises InvalidValue."""
    if not isinstance(value, str) or not value.startswith(("postgresql://", "postgres://")):
        # The value may hold a password and is not repeated.
        raise InvalidValue(
            key, type(value).__name__, "it is a URI such as postgresql://user:password@host/database"
        )
    return value


def read_secret(key: str, value: object) -> str:
    """Read hexadecimal digits enough for a key. Raises InvalidValue."""
    if isinstance(value, str) and len(value) >= 32 and len(value) % 2 == 0:
        try:
            bytes.fromhex(value)
        except ValueError:
            pass
        else:
            return value
    raise InvalidValue(
        key, "(not shown)", "it is at least 32 hexadecimal digits, as `openssl rand -hex 32` prints them"
    )


def read_directory(key: str, value: object) -> Path:
    """Read an absolute path. Raises InvalidValue."""
    path = Path(read_text(key, value)).expanduser()
    if not path.is_absolute():
        raise InvalidValue(key, value, "it is an absolute path")
    return path


def read_fdatasync(key: str, value: object) -> str:
    """Read a policy of the journal. Raises InvalidValue."""
    if value not in FDATASYNC_POLICIES:
        raise InvalidValue(key, value, f"it is one of {', '.join(FDATASYNC_POLICIES)}")
    return str(value)


def read_outage_for_unknown(key: str, value: object) -> str:
    """Read whom an outage lets in. Raises InvalidValue."""
    if value not in ("closed", "open"):
        raise InvalidValue(key, value, "it is closed or open")
    return str(value)


def read_seconds(key: str, value: object) -> int:
    """Read a whole number of seconds. Raises InvalidValue."""
    if type(value) is not int or not 1 <= value <= 10 * 366 * 86_400:
        raise InvalidValue(key, value, "it is a whole number of seconds, from 1 to ten years")
    return value


def read_port(key: str, value: object) -> int:
    """Read a port, or 0 for none. Raises InvalidValue."""
    if type(value) is not int or not 0 <= value <= 65_535:
        raise InvalidValue(key, value, "it is a port from 1 to 65535, or 0 for none")
    return value


def read_percent(key: str, value: object) -> float:
    """Read a share. Raises InvalidValue."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise InvalidValue(key, value, "it is a number from 0 to 100")
    return float(value)


def read_time_zone(key: str, value: object) -> str:
    """Read a name of the tz database. Raises InvalidValue."""
    try:
        return ZoneInfo(read_text(key, value)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidValue(key, value, "it is a name of the tz database, such as Africa/Nairobi") from None


def read_currency(key: str, value: object) -> str:
    """Read a currency (ISO 4217). Raises InvalidValue."""
    if not isinstance(value, str) or not (
        len(value) == 3 and value.isascii() and value.isalpha() and value.isupper()
    ):
        raise InvalidValue(key, value, "it is three capital letters (ISO 4217), such as KES")
    return value


def read_language(key: str, value: object) -> str:
    """Read a language tag (RFC 5646). Raises InvalidValue."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", value):
        raise InvalidValue(key, value, "it is a tag like en, sw or pt-BR (RFC 5646)")
    return value


def read_phone_region(key: str, value: object) -> str:
    """Read a region (ISO 3166). Raises InvalidValue."""
    from billing.phones import check_region  # noqa: PLC0415 - slow to import, and only commands need it

    return check_region(key, read_text(key, value))


def read_address(key: str, value: object) -> str:
    """Read an IP address. Raises InvalidValue."""
    try:
        return str(ip_address(read_text(key, value)))
    except ValueError:
        raise InvalidValue(key, value, "it is an IPv4 or IPv6 address") from None
