"""One installation's settings, read from one YAML file, `herotill.yaml`.

Owns names, types, defaults and where the file lies. Refuses to own what each setting means. The file holds secrets
(database passwords, the secret Class is signed with): it is written with mode 0600.
"""

import os
import platform
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from billing.gateways import GatewayDefinition, read_gateways
from herotill.errors import InvalidValue, Refused
from sync_daemon.events.configuration import Sink, read_sinks
from sync_daemon.retention_days import RetentionDays, read_retention

FILE_NAME = "herotill.yaml"
FDATASYNC_POLICIES = ("always", "interval", "never")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an installation may choose; build it with `settings_from_mapping` or `load_settings`.

    `billing_url` and `radius_url` are libpq URIs. Without a billing_url the private embedded PostgreSQL is used;
    without a radius_url both schemas live in the database of billing_url. `class_secret` is hexadecimal.
    """

    state_directory: Path
    class_secret: str
    voucher_secret: str | None
    login_url: str | None
    billing_url: str | None
    radius_url: str | None
    region: str
    packet_time_url: str | None
    node: str
    journal_directory: Path
    journal_fdatasync: str
    journal_retention_seconds: int
    client_lifetime_seconds: int
    time_zone: str
    currency: str
    coa_source_address: str | None
    outage_for_unknown: str
    outage_session_seconds: int
    language: str
    event_sinks: tuple[Sink, ...]
    payment_gateways: tuple[GatewayDefinition, ...]
    sync_pass_seconds: int
    sync_max_cut_off_percent: float
    phone_region: str | None
    stale_without_interims_seconds: int
    retention_days: RetentionDays
    import_directory: Path | None
    import_group: str | None
    metrics_port: int
    metrics_address: str
    worker_silence_seconds: int

    @property
    def embedded(self) -> bool:
        """Whether the private PostgreSQL in the state directory holds the data."""
        return self.billing_url is None

    @property
    def dialects_directory(self) -> Path:
        """Where the operator's own NAS dialects are; there may be none."""
        return self.state_directory / "dialects"


def default_state_directory() -> Path:
    """Where an installation lives when nothing else is said: HEROTILL_STATE, else by who is asking."""
    if "HEROTILL_STATE" in os.environ:
        return Path(os.environ["HEROTILL_STATE"])
    if os.geteuid() == 0:
        return Path("/var/lib/herotill")
    return Path.home() / ".local/state/herotill"


def load_settings(path: Path, state_directory: Path) -> Settings:
    """Read the file. Raises Refused when there is none, InvalidValue (naming the key) when it is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refused(f"{path} does not exist; `herotill init` makes it", rule="init") from None
    except PermissionError:
        raise Refused(
            f"{path} may not be read by you; it belongs to who ran `herotill init`", rule="init"
        ) from None
    return settings_from_mapping(_parse(path, text), state_directory)


def settings_from_mapping(mapping: Mapping[str, object], state_directory: Path) -> Settings:
    """Check every key and fill in the defaults. Raises InvalidValue, naming the key."""
    unknown = sorted(set(mapping) - set(_READERS), key=str)
    if unknown:
        raise InvalidValue(str(unknown[0]), mapping[unknown[0]], f"the settings are {', '.join(_READERS)}")
    values: dict[str, Any] = _defaults(state_directory)
    values.update({key: _READERS[key](key, value) for key, value in mapping.items() if value is not None})
    if "class_secret" not in values:
        raise InvalidValue("class_secret", None, "it must be set; `herotill init` makes one")
    if values.get("radius_url") and not values.get("billing_url"):
        raise InvalidValue("radius_url", values["radius_url"], "it needs billing_url")
    return Settings(**values)


def render_settings(values: Mapping[str, object]) -> str:
    """Render the YAML of a new installation; what is not in it keeps its default."""
    return _HEADER + yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, appearing whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def new_class_secret() -> str:
    """256 fresh random bits, hexadecimal; for `voucher_secret` too."""
    return secrets.token_hex(32)


_HEADER = """\
# HeroTill RADIUS: the settings of this installation. Every key is described in docs/operations.md.
# This file holds secrets; keep its mode 0600.
"""


def _defaults(state_directory: Path) -> dict[str, Any]:
    return {
        "state_directory": state_directory,
        "voucher_secret": None,
        "login_url": None,
        "billing_url": None,
        "radius_url": None,
        "region": "main",
        "packet_time_url": None,
        "node": platform.node() or "localhost",
        "journal_directory": state_directory / "journal",
        "journal_fdatasync": "interval",
        "journal_retention_seconds": 7 * 86_400,
        "client_lifetime_seconds": 60,
        "time_zone": "UTC",
        "currency": "USD",
        "coa_source_address": None,
        "outage_for_unknown": "closed",
        "outage_session_seconds": 600,
        "language": "en",
        "event_sinks": (),
        "payment_gateways": (),
        "sync_pass_seconds": 300,
        "sync_max_cut_off_percent": 10.0,
        "phone_region": None,
        "stale_without_interims_seconds": 2 * 86_400,
        "retention_days": RetentionDays(),
        "import_directory": None,
        "import_group": None,
        "metrics_port": 9812,
        "metrics_address": "127.0.0.1",
        "worker_silence_seconds": 120,
    }


def _parse(path: Path, text: str) -> Mapping[str, object]:
    try:
        mapping = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = str(getattr(error, "problem", None) or error)
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InvalidValue(f"{path}{line}", problem, "the file is YAML, `key: value` on each line") from None
    if mapping is None:
        return {}
    if not isinstance(mapping, dict):
        raise InvalidValue(str(path), type(mapping).__name__, "the file is YAML, `key: value` on each line")
    return mapping


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidValue(key, value, "it is printable text")
    return value


def _url(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.startswith(("postgresql://", "postgres://")):
        # The value may hold a password and is not repeated.
        raise InvalidValue(
            key, type(value).__name__, "it is a URI such as postgresql://user:password@host/database"
        )
    return value


def _secret(key: str, value: object) -> str:
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


def _directory(key: str, value: object) -> Path:
    path = Path(_text(key, value)).expanduser()
    if not path.is_absolute():
        raise InvalidValue(key, value, "it is an absolute path")
    return path


def _fdatasync(key: str, value: object) -> str:
    if value not in FDATASYNC_POLICIES:
        raise InvalidValue(key, value, f"it is one of {', '.join(FDATASYNC_POLICIES)}")
    return str(value)


def _outage_for_unknown(key: str, value: object) -> str:
    if value not in ("closed", "open"):
        raise InvalidValue(key, value, "it is closed or open")
    return str(value)


def _seconds(key: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= 10 * 366 * 86_400:
        raise InvalidValue(key, value, "it is a whole number of seconds, from 1 to ten years")
    return value


def _port(key: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= 65_535:
        raise InvalidValue(key, value, "it is a port from 1 to 65535, or 0 for none")
    return value


def _percent(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise InvalidValue(key, value, "it is a number from 0 to 100")
    return float(value)


def _time_zone(key: str, value: object) -> str:
    try:
        return ZoneInfo(_text(key, value)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidValue(key, value, "it is a name of the tz database, such as Africa/Nairobi") from None


def _currency(key: str, value: object) -> str:
    if not isinstance(value, str) or not (
        len(value) == 3 and value.isascii() and value.isalpha() and value.isupper()
    ):
        raise InvalidValue(key, value, "it is three capital letters (ISO 4217), such as KES")
    return value


def _language(key: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", value):
        raise InvalidValue(key, value, "it is a tag like en, sw or pt-BR (RFC 5646)")
    return value


def _phone_region(key: str, value: object) -> str:
    from billing.phones import check_region  # noqa: PLC0415 - slow to import, and only commands need it

    return check_region(key, _text(key, value))


def _address(key: str, value: object) -> str:
    try:
        return str(ip_address(_text(key, value)))
    except ValueError:
        raise InvalidValue(key, value, "it is an IPv4 or IPv6 address") from None


_READERS: dict[str, Callable[[str, object], Any]] = {
    "class_secret": _secret,
    "voucher_secret": _secret,
    "login_url": _text,
    "billing_url": _url,
    "radius_url": _url,
    "region": _text,
    "packet_time_url": _url,
    "node": _text,
    "journal_directory": _directory,
    "journal_fdatasync": _fdatasync,
    "journal_retention_seconds": _seconds,
    "client_lifetime_seconds": _seconds,
    "time_zone": _time_zone,
    "currency": _currency,
    "coa_source_address": _address,
    "outage_for_unknown": _outage_for_unknown,
    "outage_session_seconds": _seconds,
    "language": _language,
    "event_sinks": read_sinks,
    "payment_gateways": read_gateways,
    "sync_pass_seconds": _seconds,
    "sync_max_cut_off_percent": _percent,
    "phone_region": _phone_region,
    "stale_without_interims_seconds": _seconds,
    "retention_days": read_retention,
    "import_directory": _directory,
    "import_group": _text,
    "metrics_port": _port,
    "metrics_address": _address,
    "worker_silence_seconds": _seconds,
}

if set(_READERS) != {field.name for field in fields(Settings)} - {"state_directory"}:  # pragma: no cover
    raise TypeError("every setting needs a reader")
