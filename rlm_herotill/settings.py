"""The module's settings: the `config { }` section of mods-available/herotill, as FreeRADIUS hands it over."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from herotill.errors import InvalidValue
from herotill.policy import Outage


class Fdatasync(StrEnum):
    """When journalled records are forced to the disk."""

    ALWAYS = "always"  # before every answer
    INTERVAL = "interval"  # every 50 ms, from a thread of its own
    NEVER = "never"  # when the kernel likes


@dataclass(frozen=True, slots=True)
class PacketTimeSettings:
    """What the hooks run with. Times are milliseconds."""

    dsn: str
    journal_directory: Path
    node: str
    class_secret: bytes
    fdatasync: Fdatasync = Fdatasync.INTERVAL
    statement_timeout_ms: int = 80
    snapshot_limit: int = 200_000
    outage_session_seconds: int = 600
    admits_unknown_in_outage: bool = False
    exit_in_detach: bool = False
    dialects_directory: Path | None = None


def settings_from_config(config: Mapping[str, Any]) -> PacketTimeSettings:
    """Read `radiusd.config`. Raises InvalidValue naming the item that is missing or wrong."""
    return PacketTimeSettings(
        dsn=_text(config, "dsn"),
        journal_directory=Path(_text(config, "journal_directory")),
        node=_text(config, "node"),
        class_secret=_secret(config),
        fdatasync=_fdatasync(config.get("fdatasync", Fdatasync.INTERVAL)),
        statement_timeout_ms=_number(config, "statement_timeout_ms", 80, 10),
        snapshot_limit=_number(config, "snapshot_limit", 200_000, 0),
        outage_session_seconds=_number(config, "outage_session_seconds", 600, 1),
        admits_unknown_in_outage=_admits_unknown(str(config.get("outage_for_unknown", Outage.CLOSED))),
        dialects_directory=_path(config.get("dialects_directory")),
        exit_in_detach=_exits_in_detach(str(config.get("freeradius_version", ""))),
    )


def _exits_in_detach(version: str) -> bool:
    """Before 3.2.7 FreeRADIUS finalizes Python without the GIL and aborts at every stop (fixed in f99b177863)."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return numbers is not None and tuple(int(number) for number in numbers.groups()) < (3, 2, 7)


def _admits_unknown(policy: str) -> bool:
    if policy not in (Outage.CLOSED, Outage.OPEN):
        raise InvalidValue(
            "outage_for_unknown", policy, "it is closed or open: nothing is known last of them"
        )
    return policy == Outage.OPEN


def _path(value: object) -> Path | None:
    return Path(value) if isinstance(value, str) and value else None


def _text(config: Mapping[str, Any], name: str) -> str:
    value = config.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidValue(name, value, "it is required in config { } of mods-available/herotill")
    return value


def _secret(config: Mapping[str, Any]) -> bytes:
    try:
        secret = bytes.fromhex(_text(config, "class_secret"))
    except ValueError:
        secret = b""
    if len(secret) < 16:
        raise InvalidValue("class_secret", "(hidden)", "it is at least 32 hexadecimal digits")
    return secret


def _fdatasync(value: str) -> Fdatasync:
    try:
        return Fdatasync(value)
    except ValueError:
        raise InvalidValue("fdatasync", value, f"it is one of {', '.join(Fdatasync)}") from None


def _number(config: Mapping[str, Any], name: str, default: int, least: int) -> int:
    value = str(config.get(name, default))
    if not (value.isascii() and value.isdigit()) or int(value) < least:
        raise InvalidValue(name, value, f"it is a whole number from {least}")
    return int(value)
