"""The daemon as a service of systemd: which files that takes, what is there, what has to be written or removed.

Owns the rendering of `systemd/` and the plan; runs no program. A file that does not begin with our mark is somebody else's
and is not touched.
"""

import grp
import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path

from herotill.errors import InvalidValue, Refused
from sync_daemon.embedded_postgresql import RADIUS_OS_USER
from sync_daemon.resources import systemd_directory
from sync_daemon.settings import Settings

MARK = "# Written by `herotill service install`"
ROOT_CAPABILITIES = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_LEASE CAP_NET_BIND_SERVICE CAP_SETGID CAP_SETUID"
)
_REQUIRES_DATABASE = "Requires=herotill-database.service\nAfter=herotill-database.service"


@dataclass(frozen=True, slots=True)
class ServiceValues:
    """What the files say of this installation; `radius_group` is None where FreeRADIUS is not installed."""

    user: str
    command: str
    settings: Settings
    radius_group: str | None

    @property
    def writable(self) -> tuple[Path, ...]:
        """The directories the daemon writes to."""
        chosen = (
            self.settings.state_directory, self.settings.journal_directory, self.settings.import_directory,
        )  # fmt: skip
        return tuple(dict.fromkeys(path for path in chosen if path is not None))


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file: `text` is what it is to say, None where it must go; `state` is missing, kept, other or foreign."""

    path: Path
    text: str | None
    state: str


def owner_of(path: Path) -> str:
    """Return the user a file belongs to; the number where it has no name."""
    uid = path.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def radius_group() -> str | None:
    """Return the group of FreeRADIUS's user, where it is installed."""
    try:
        return grp.getgrgid(pwd.getpwnam(RADIUS_OS_USER).pw_gid).gr_name
    except KeyError:
        return None


def command_line(config_path: Path, state_directory: Path) -> str:
    """Return how systemd is to run this `herotill`, quoted for a unit."""
    script = Path(sys.executable).parent / "herotill"
    program = [str(script)] if script.exists() else [sys.executable, "-m", "sync_daemon"]
    words = [*program, "--state", str(state_directory), "--config", str(config_path)]
    return " ".join(quoted(word) for word in words)


def quoted(word: str) -> str:
    """Quote a word for a unit file (systemd.service(5), "Command lines"). Raises InvalidValue for what cannot be said."""
    if not word.isprintable():
        raise InvalidValue("path", word, "it is printable, to stand in a unit")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \"'\\;") else escaped


def files_of(values: ServiceValues, root: Path = Path("/")) -> dict[Path, str]:
    """Return every file of the service below `root`, rendered."""
    units, settings = root / "etc/systemd/system", values.settings
    sources = {"herotill.service": units / "herotill.service"}
    if settings.embedded:
        sources["herotill-database.service"] = units / "herotill-database.service"
    if values.user != "root":
        sources["herotill.sysusers.conf"] = root / "etc/sysusers.d/herotill.conf"
    sources["herotill.tmpfiles.conf"] = root / "etc/tmpfiles.d/herotill.conf"
    words = _words(values)
    return {path: _render(name, words) for name, path in sources.items()}


def plan_install(wanted: dict[Path, str]) -> list[FileChange]:
    """Compare what is wanted with what is there. Raises Refused where a file is somebody else's."""
    changes = [FileChange(path, text, state_of(path, text)) for path, text in sorted(wanted.items())]
    for change in changes:
        if change.state == "foreign":
            raise Refused(f"{change.path} is not ours; move it away first", rule="service")
    return changes


def plan_uninstall(wanted: dict[Path, str], root: Path = Path("/")) -> list[FileChange]:
    """Say which of our files are there, also those that this installation would not need."""
    others = [
        root / "etc/systemd/system/herotill-database.service", root / "etc/sysusers.d/herotill.conf",
    ]  # fmt: skip
    paths = sorted({*wanted, *others})
    states = [(path, state_of(path, wanted.get(path, ""))) for path in paths]
    return [FileChange(path, None, state) for path, state in states if state in ("kept", "other")]


def carry_out(change: FileChange) -> None:
    """Write or remove one file; it appears whole or not at all. Raises Refused where we may not."""
    try:
        if change.text is None:
            change.path.unlink(missing_ok=True)
        elif change.state != "kept":
            change.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = change.path.with_name(f".{change.path.name}.new")
            fresh.write_text(change.text, encoding="utf-8")
            fresh.chmod(0o644)
            fresh.replace(change.path)
    except OSError as error:
        hint = " (run this as root)" if os.geteuid() != 0 else ""
        raise Refused(f"{change.path} cannot be changed: {error.strerror}{hint}", rule="service") from None


def state_of(path: Path, wanted: str) -> str:
    """Return missing, kept (it says what is wanted), other (ours, saying something else) or foreign."""
    try:
        present = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "missing"
    if present == wanted:
        return "kept"
    return "other" if present.startswith(MARK) else "foreign"


def _words(values: ServiceValues) -> dict[str, str]:
    is_root, group, settings = values.user == "root", values.radius_group, values.settings
    # Where its socket had to go to /tmp, FreeRADIUS must see it too (sync_daemon/embedded_postgresql.py).
    private_tmp = not settings.embedded or len(os.fsencode(settings.state_directory)) < 60
    return {
        "USER": values.user,
        "HEROTILL": values.command,
        "STATE": quoted(str(settings.state_directory)),
        "JOURNAL": quoted(str(settings.journal_directory)),
        "WRITABLE": " ".join(quoted(f"-{path}") for path in values.writable),
        "REQUIRES_DATABASE": _REQUIRES_DATABASE if settings.embedded else "",
        "SUPPLEMENTARY_GROUPS": "" if is_root or group is None else f"SupplementaryGroups={group}",
        "CAPABILITIES": ROOT_CAPABILITIES if is_root else "",
        "PRIVATE_TMP": "yes" if private_tmp else "no",
        "RADIUS_USER": values.user if group is None else RADIUS_OS_USER,
        "RADIUS_GROUP": "-" if group is None else group,
        # A daemon that is not root removes old segments by its group.
        "JOURNAL_MODE": "0750" if is_root or group is None else "2770",
    }  # fmt: skip


def _render(name: str, words: dict[str, str]) -> str:
    text = (systemd_directory() / name).read_text(encoding="utf-8")
    lines = []
    for line in text.splitlines():
        filled = line
        for word, value in words.items():
            filled = filled.replace(f"@{word}@", value)
        if filled or not line:
            lines.append(filled)
    return "\n".join(lines) + "\n"
