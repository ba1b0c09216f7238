"""Turns the templates of `freeradius_config/` into the files and links of a raddb. Pure but for reading the templates."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from herotill.dictionary import dictionary_path
from herotill.errors import InvalidValue
from sync_daemon.eap_certificate import SHOWN_CERTIFICATE, SHOWN_KEY, ServerCertificate
from sync_daemon.freeradius_install import Entry, File, Link
from sync_daemon.resources import freeradius_config_directory

MODULES = ("herotill", "herotill_utf8", "herotill_attr_filter")
SITES = ("herotill", "herotill_clients")
EAP_MODULE = "herotill_eap"
EAP_SITE = "herotill_inner"
EAP_LINK = f"mods-enabled/{EAP_MODULE}"
"""Where it is, 802.1X was asked for."""
EAP_INCLUDED = tuple(
    f"mods-config/herotill_eap/{part}" for part in ("authorize", "authenticate", "post-auth", "reject")
)
FILTER = "mods-config/attr_filter/herotill_access_reject"
DICTIONARY = "dictionary.herotill"
INCLUDE_DICTIONARY = f"$INCLUDE {DICTIONARY}"
EVERYWHERE = ("*", "::")
_PLACEHOLDER = re.compile(r"@@HEROTILL_([A-Z_]+)@@")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where FreeRADIUS listens: each address for authentication and for accounting. `*` is every IPv4 address."""

    addresses: tuple[str, ...] = EVERYWHERE
    auth_port: int = 1812
    acct_port: int = 1813

    def __post_init__(self) -> None:
        """Refuse what FreeRADIUS could not bind. Raises InvalidValue."""
        for name, port in (("auth-port", self.auth_port), ("acct-port", self.acct_port)):
            if not 1 <= port <= 65_535:
                raise InvalidValue(name, port, "it is a port from 1 to 65535")
        if self.auth_port == self.acct_port:
            raise InvalidValue("acct-port", self.acct_port, "it differs from auth-port")
        for address in self.addresses:
            _listen_item(address)


@dataclass(frozen=True, slots=True)
class PacketTimeValues:
    """What the templates are filled with; see freeradius_config/."""

    dsn: str
    journal_directory: Path
    node: str
    class_secret: str
    fdatasync: str
    client_lifetime_seconds: int
    python_path: tuple[Path, ...]
    listening: Listening = field(default_factory=Listening)
    require_message_authenticator: bool = True
    reject_delay_seconds: float = 1.0
    outage_for_unknown: str = "closed"
    outage_session_seconds: int = 600
    threads: int = 1
    dialects_directory: Path | None = None
    eap: ServerCertificate | None = None
    """For 802.1X; None is without."""


def installed_entries(values: PacketTimeValues) -> dict[str, Entry]:
    """Return what an existing raddb gets, by path below raddb. The stock site is disabled: it wants our ports."""
    return _files(values, MODULES) | _links(values, MODULES) | {"sites-enabled/default": None}


def with_our_dictionary(present: Entry) -> Entry:
    """Return raddb/dictionary including ours, and otherwise as it is."""
    before = present if isinstance(present, File) else File(b"")
    lines = before.content.decode().splitlines()
    if INCLUDE_DICTIONARY in lines:
        return present
    return replace(before, content="\n".join([*lines, INCLUDE_DICTIONARY, ""]).encode())


def private_entries(values: PacketTimeValues, directory: Path) -> dict[str, Entry]:
    """Return a whole raddb, to lie in `directory`/raddb, that needs nothing of the system's."""
    modules = (*MODULES, "herotill_standard")
    files = _files(values, modules, ("radiusd.conf", "dictionary"), directory)
    return files | _links(values, modules)


def _files(
    values: PacketTimeValues,
    modules: tuple[str, ...],
    more: tuple[str, ...] = (),
    directory: Path | None = None,
) -> dict[str, Entry]:
    paths = [f"mods-available/{name}" for name in _modules(values, modules)]
    paths += [f"sites-available/{name}" for name in _sites(values)]
    paths += EAP_INCLUDED if values.eap else ()
    mapping = _mapping(values) | ({"DIRECTORY": _quoted("directory", str(directory))} if directory else {})
    files: dict[str, Entry] = {
        path: File(_render(path, mapping).encode()) for path in (*paths, FILTER, *more)
    }
    return files | _dictionary() | _certificate(values.eap)


def _dictionary() -> dict[str, Entry]:
    """Attributes we send that FreeRADIUS 3.2 does not know; rlm_python3 skips what it does not know."""
    return {DICTIONARY: File((dictionary_path().parent / "dictionary.coova").read_bytes())}


def _certificate(eap: ServerCertificate | None) -> dict[str, Entry]:
    if eap is None:
        return {}
    return {
        SHOWN_CERTIFICATE: File(eap.certificate_pem),
        SHOWN_KEY: File(eap.key_pem),
    }


def _modules(values: PacketTimeValues, modules: tuple[str, ...]) -> tuple[str, ...]:
    return (*modules, EAP_MODULE) if values.eap else modules


def _sites(values: PacketTimeValues) -> tuple[str, ...]:
    return (*SITES, EAP_SITE) if values.eap else SITES


def _links(values: PacketTimeValues, modules: tuple[str, ...]) -> dict[str, Entry]:
    links: dict[str, Entry] = {
        f"mods-enabled/{name}": Link(f"../mods-available/{name}") for name in _modules(values, modules)
    }
    return links | {f"sites-enabled/{name}": Link(f"../sites-available/{name}") for name in _sites(values)}


def _render(path: str, mapping: Mapping[str, str]) -> str:
    template = (freeradius_config_directory() / path).read_text(encoding="utf-8")
    return _PLACEHOLDER.sub(lambda match: mapping[match.group(1)], template)


def _mapping(values: PacketTimeValues) -> dict[str, str]:
    return {
        "DSN": _quoted("packet_time_url", values.dsn),
        "JOURNAL_DIRECTORY": _quoted("journal_directory", str(values.journal_directory)),
        "NODE": _quoted("node", values.node),
        "CLASS_SECRET": _quoted("class_secret", values.class_secret),
        "FDATASYNC": values.fdatasync,
        "OUTAGE_FOR_UNKNOWN": values.outage_for_unknown,
        "OUTAGE_SESSION_SECONDS": str(values.outage_session_seconds),
        "CLIENT_LIFETIME_SECONDS": str(values.client_lifetime_seconds),
        "PYTHON_PATH": _quoted("python_path", ":".join(str(path) for path in values.python_path)),
        "REQUIRE_MESSAGE_AUTHENTICATOR": "yes" if values.require_message_authenticator else "no",
        "REJECT_DELAY_SECONDS": f"{values.reject_delay_seconds:g}",
        "THREADS": str(values.threads),
        "DIALECTS_DIRECTORY": _quoted("dialects", str(values.dialects_directory or "")),
        "LISTEN": _listen_sections(values.listening),
    }


def _quoted(field: str, value: str) -> str:
    """Make a value safe between double quotes. FreeRADIUS would expand ${...} and run backquotes in nothing else."""
    if not value.isprintable() or "${" in value:
        raise InvalidValue(field, value, "FreeRADIUS cannot be given control characters or '${'")
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _listen_sections(listening: Listening) -> str:
    sections = [
        _listen_section(kind, address, port)
        for address in listening.addresses
        for kind, port in (("auth", listening.auth_port), ("acct", listening.acct_port))
    ]
    return "\n".join(sections)


def _listen_section(kind: str, address: str, port: int) -> str:
    items = (f"type = {kind}", _listen_item(address), f"port = {port}", "clients = herotill")
    return "    listen {\n" + "".join(f"        {item}\n" for item in items) + "    }"


def _listen_item(address: str) -> str:
    if address == "*":
        return "ipaddr = *"
    try:
        parsed = ip_address(address)
    except ValueError:
        raise InvalidValue("address", address, "it is an IPv4 or IPv6 address, or *") from None
    return f"{'ipv6addr' if isinstance(parsed, IPv6Address) else 'ipaddr'} = {parsed}"
