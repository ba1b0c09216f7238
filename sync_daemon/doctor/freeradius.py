"""Looks at FreeRADIUS: its version and Python, and the files of its raddb. Changes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from herotill.dictionary import dictionary_path
from herotill.errors import Refused
from sync_daemon import freeradius_install_probe as probe
from sync_daemon.doctor import radiusd_conf
from sync_daemon.doctor.eap import TOPIC, judge_certificate
from sync_daemon.doctor.findings import Finding, good, unknown, wrong
from sync_daemon.eap_certificate import SHOWN_CERTIFICATE
from sync_daemon.freeradius_install import File, Link, fingerprint
from sync_daemon.freeradius_install_apply import Installation
from sync_daemon.freeradius_install_render import DICTIONARY, EAP_LINK
from sync_daemon.settings import Settings

AS_ROOT = "run herotill doctor as root, or as the user FreeRADIUS runs as"


def look_at_freeradius(settings: Settings, raddb: Path) -> Iterator[Finding]:
    """Look at the program, then at what it is configured with."""
    version = None
    try:
        version = probe.freeradius_version()
        probe.refuse_unsupported(version)
        probe.refuse_other_python()
    except Refused as refusal:
        yield wrong("FreeRADIUS", str(refusal), "install FreeRADIUS 3.2.1 to 3.2.8, or 3.2.11 and later")
    else:
        yield good("FreeRADIUS", ".".join(map(str, version)))
    if not (raddb / "sites-enabled/herotill").is_symlink():
        yield _not_installed(raddb)
    elif version is not None:
        yield from _look_at_files(settings, raddb, version)


def requires_message_authenticator(raddb: Path) -> bool | None:
    """Whether FreeRADIUS drops unsigned Access-Requests; None where that cannot be read."""
    try:
        return radiusd_conf.requires_signature(_text(raddb / "sites-enabled/herotill_clients"))
    except OSError:
        return None


def _not_installed(raddb: Path) -> Finding:
    try:
        names = [path.name for path in (raddb / "sites-enabled").iterdir()]
    except PermissionError:
        return unknown("raddb", f"{raddb} may not be read by you", AS_ROOT)
    except OSError:
        return wrong("raddb", f"{raddb} is not a FreeRADIUS directory", "say where it is: --raddb DIRECTORY")
    return wrong(
        "raddb",
        f"{raddb} does not have our site (it has {', '.join(sorted(names)) or 'none'})",
        "herotill freeradius install, or --raddb for one of your own",
    )


def _look_at_files(settings: Settings, raddb: Path, version: radiusd_conf.Version) -> Iterator[Finding]:
    try:
        main_text = (raddb / "radiusd.conf").read_text(errors="replace")
        module = (raddb / "mods-enabled/herotill").read_text(errors="replace")
        clients = _text(raddb / "sites-enabled/herotill_clients")
        dictionary = (raddb / "dictionary").read_text(errors="replace")
        ours = _octets(raddb / DICTIONARY)
    except OSError as error:
        yield unknown("raddb", f"{error.filename} cannot be read: {error.strerror}", AS_ROOT)
        return
    yield from radiusd_conf.judge_speed(main_text)
    yield from radiusd_conf.judge_blast_radius(main_text, clients, version)
    wanted = (dictionary_path().parent / "dictionary.coova").read_bytes()
    yield radiusd_conf.judge_dictionary(dictionary, ours, wanted)
    yield from radiusd_conf.judge_module(module, _expected(settings))
    if (raddb / EAP_LINK).is_symlink():
        yield _look_at_certificate(raddb)
    yield from _look_for_edits(raddb)


def _look_at_certificate(raddb: Path) -> Finding:
    try:
        return judge_certificate(_octets(raddb / SHOWN_CERTIFICATE), datetime.now(UTC))
    except OSError as error:
        return unknown(TOPIC, f"{error.filename} cannot be read: {error.strerror}", AS_ROOT)


def _expected(settings: Settings) -> dict[str, str]:
    return {
        "journal_directory": str(settings.journal_directory),
        "node": settings.node,
        "class_secret": settings.class_secret,
        "fdatasync": settings.journal_fdatasync,
        "outage_for_unknown": settings.outage_for_unknown,
        "outage_session_seconds": str(settings.outage_session_seconds),
    }


def _look_for_edits(raddb: Path) -> Iterator[Finding]:
    try:
        manifest = Installation(raddb).manifest()
    except Refused as refusal:
        yield unknown("files", str(refusal), AS_ROOT)
        return
    edited = [
        path for path, touched in sorted(manifest.items()) if _fingerprint(raddb / path) != touched.after
    ]
    if edited:
        yield wrong(
            "files",
            f"edited since herotill wrote them: {', '.join(edited)}",
            "move your change elsewhere and remove the files, then herotill freeradius install",
        )
    else:
        yield good("files", "as herotill wrote them")


def _fingerprint(path: Path) -> str:
    if path.is_symlink():
        return fingerprint(Link(str(path.readlink())))
    octets = _octets(path)
    return fingerprint(None if octets is None else File(octets))


def _octets(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _text(path: Path) -> str | None:
    octets = _octets(path)
    return None if octets is None else octets.decode(errors="replace")
