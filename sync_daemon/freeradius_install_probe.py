"""What this machine has: FreeRADIUS's version and Python, where our code lies. Refuses what cannot work, with the reason."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from herotill.errors import Refused
from sync_daemon.database import packet_time_url
from sync_daemon.embedded_postgresql import closed_to_others
from sync_daemon.freeradius_install_render import Listening, PacketTimeValues
from sync_daemon.settings import Settings

# It lies in /usr/sbin, where an ordinary user of Debian does not look.
PROGRAM = shutil.which("freeradius", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") or "freeradius"
OLDEST = (3, 2, 1)
# They hand every value Python returns on as empty (freeradius-server#5891, fixed by 58bafac6e5).
BROKEN = ((3, 2, 9), (3, 2, 10))
MODULE_LIBRARY = Path("/usr/lib/freeradius/rlm_python3.so")
# What the hooks import; where these lie is FreeRADIUS's python_path.
IMPORTED = ("rlm_herotill", "herotill", "psycopg2")

Version = tuple[int, int, int]


def freeradius_version() -> Version:
    """Ask the program. Raises Refused when it is not installed."""
    try:
        output = subprocess.run(
            (PROGRAM, "-v"), capture_output=True, text=True, check=False, timeout=30
        ).stdout
    except FileNotFoundError:
        raise Refused(
            "FreeRADIUS is not installed: apt install freeradius freeradius-python3", "freeradius"
        ) from None
    found = re.search(r"FreeRADIUS Version (\d+)\.(\d+)\.(\d+)", output)
    if found is None:
        raise Refused(f"`{PROGRAM} -v` does not say a version: {output[:80]!r}", "freeradius")
    return int(found[1]), int(found[2]), int(found[3])


def refuse_unsupported(version: Version) -> None:
    """Raise Refused for a FreeRADIUS our module cannot run in."""
    name = ".".join(map(str, version))
    if version in BROKEN:
        raise Refused(
            f"FreeRADIUS {name} loses every value Python returns; use another 3.2 release", "freeradius"
        )
    if version < OLDEST or version[:2] != (3, 2):
        raise Refused(f"FreeRADIUS {name} is not supported; from 3.2.1 on, 3.2 is", "freeradius")


def refuse_other_python(module_library: Path = MODULE_LIBRARY) -> None:
    """Raise Refused when FreeRADIUS embeds another Python than the one psycopg2 was installed for."""
    if not module_library.exists():
        raise Refused(
            "FreeRADIUS's Python module is not installed: apt install freeradius-python3", "freeradius"
        )
    found = re.search(rb"libpython(3\.\d+)\.so", module_library.read_bytes())
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if found and found[1].decode() != ours:
        raise Refused(
            f"FreeRADIUS embeds Python {found[1].decode()} and herotill runs under {ours}; "
            "install it into a virtual environment of /usr/bin/python3",
            "freeradius",
        )


def python_path() -> tuple[Path, ...]:
    """Name the directories that hold what the hooks import. Raises Refused when something is missing."""
    return tuple(dict.fromkeys(_directory_of(package) for package in IMPORTED))


def _directory_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Refused(f"the Python package {package} is not installed beside herotill", "freeradius")
    return Path(next(iter(spec.submodule_search_locations))).resolve().parent


def refuse_closed_path(paths: tuple[Path, ...], raddb: Path) -> None:
    """Raise Refused when the user FreeRADIUS runs as (raddb's owner) may not reach our code."""
    if raddb.stat().st_uid == os.geteuid():
        return
    for path in paths:
        if (closed := closed_to_others(path)) is not None:
            raise Refused(
                f"FreeRADIUS's user may not pass {closed} on the way to {path}; "
                "put it where everybody may read: code in a virtual environment in /opt, say",
                "freeradius",
            )


def has_ipv6() -> bool:
    """Say whether this machine has any IPv6 address; without one, FreeRADIUS could not bind ::."""
    interfaces = Path("/proc/net/if_inet6")
    return interfaces.exists() and bool(interfaces.read_text())


def values_from_settings(
    settings: Settings,
    listening: Listening,
    *,
    require_message_authenticator: bool = True,
    reject_delay_seconds: float = 1.0,
) -> PacketTimeValues:
    """Bring together what the templates are filled with on this machine."""
    return PacketTimeValues(
        dsn=packet_time_url(settings),
        journal_directory=settings.journal_directory,
        node=settings.node,
        class_secret=settings.class_secret,
        fdatasync=settings.journal_fdatasync,
        client_lifetime_seconds=settings.client_lifetime_seconds,
        python_path=python_path(),
        listening=listening,
        require_message_authenticator=require_message_authenticator,
        reject_delay_seconds=reject_delay_seconds,
        dialects_directory=settings.dialects_directory if settings.dialects_directory.is_dir() else None,
        outage_for_unknown=settings.outage_for_unknown,
        outage_session_seconds=settings.outage_session_seconds,
    )
