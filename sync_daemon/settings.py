"""One installation's settings, read from one YAML file, `herotill.yaml`.

Owns names, types, defaults and where the file lies. Refuses to own what each setting means. The file holds secrets
(database passwords, the secret Class is signed with): it is written with mode 0600.
"""

import os
import platform
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from billing.gateways import GatewayDefinition, read_gateways
from herotill.errors import InvalidValue, Refused
from sync_daemon.events.configuration import Sink, read_sinks
from sync_daemon.retention_days import RetentionDays, read_retention
from sync_daemon.setting_values import (
    read_address,
    read_currency,
    read_directory,
    read_fdatasync,
    read_language,
    read_outage_for_unknown,
    read_percent,
    read_phone_region,
    read_port,
    read_seconds,
    read_secret,
    read_text,
    read_time_zone,
    read_url,
)

FILE_NAME = "herotill.yaml"


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


_READERS: dict[str, Callable[[str, object], Any]] = {
    "class_secret": read_secret,
    "voucher_secret": read_secret,
    "login_url": read_text,
    "billing_url": read_url,
    "radius_url": read_url,
    "region": read_text,
    "packet_time_url": read_url,
    "node": read_text,
    "journal_directory": read_directory,
    "journal_fdatasync": read_fdatasync,
    "journal_retention_seconds": read_seconds,
    "client_lifetime_seconds": read_seconds,
    "time_zone": read_time_zone,
    "currency": read_currency,
    "coa_source_address": read_address,
    "outage_for_unknown": read_outage_for_unknown,
    "outage_session_seconds": read_seconds,
    "language": read_language,
    "event_sinks": read_sinks,
    "payment_gateways": read_gateways,
    "sync_pass_seconds": read_seconds,
    "sync_max_cut_off_percent": read_percent,
    "phone_region": read_phone_region,
    "stale_without_interims_seconds": read_seconds,
    "retention_days": read_retention,
    "import_directory": read_directory,
    "import_group": read_text,
    "metrics_port": read_port,
    "metrics_address": read_address,
    "worker_silence_seconds": read_seconds,
}

if set(_READERS) != {field.name for field in fields(Settings)} - {"state_directory"}:  # pragma: no cover
    raise TypeError("every setting needs a reader")
