"""Carries out a plan on a real raddb: reads what is there, writes, lets FreeRADIUS check it, undoes a failure."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from herotill.errors import Refused
from sync_daemon.freeradius_install import (
    Change,
    Entry,
    File,
    Link,
    Manifest,
    Plan,
    dump_manifest,
    load_manifest,
    plan_install,
    plan_uninstall,
)
from sync_daemon.freeradius_install_probe import PROGRAM
from sync_daemon.freeradius_install_render import PacketTimeValues, private_entries, with_our_dictionary

MANIFEST_NAME = ".herotill-manifest.json"
CHECK_TIMEOUT_SECONDS = 60

Check = Callable[[Path], str | None]
"""Says what is wrong with a raddb, None when nothing is."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One raddb directory and what we did to it."""

    raddb: Path

    @property
    def manifest_path(self) -> Path:
        """Where we remember what was there before; it may hold what an operator's file held, so mode 0600."""
        return self.raddb / MANIFEST_NAME

    def manifest(self) -> Manifest:
        """Return what an earlier installation touched; empty when there was none."""
        if not self.raddb.is_dir():
            raise Refused(
                f"{self.raddb} is not a directory; is FreeRADIUS installed? (--raddb)", "freeradius"
            )
        try:
            return load_manifest(self.manifest_path.read_text()) if self.manifest_path.exists() else {}
        except PermissionError:
            raise Refused(
                f"{self.manifest_path} may not be read by you; run this as root", "freeradius"
            ) from None

    def plan(self, wanted: Mapping[str, Entry]) -> Plan:
        """Plan an installation of `wanted`. Changes nothing."""
        manifest = self.manifest()
        everything = {"dictionary": with_our_dictionary(_read(self.raddb / "dictionary")), **wanted}
        return plan_install(everything, self._present({*everything, *manifest}), manifest)

    def plan_removal(self) -> Plan:
        """Plan the way back. Raises Refused when nothing of ours is here."""
        manifest = self.manifest()
        if not manifest:
            raise Refused(f"{self.raddb} holds nothing that herotill installed", "freeradius")
        return plan_uninstall(self._present(manifest), manifest)

    def apply(self, plan: Plan, check: Check | None) -> None:
        """Carry out the plan; when `check` finds fault, put everything back and raise Refused with its reason."""
        old = self.manifest()
        # First the union: whatever interrupts us, every touched path can still be undone.
        self._write_manifest({**plan.manifest, **old} | dict(plan.manifest))
        try:
            for change in plan.changes:
                self._put(change.path, change.after)
            reason = check(self.raddb) if check else None
            if reason is not None:
                raise Refused(
                    f"FreeRADIUS refuses the configuration, everything is as before: {reason}", "freeradius"
                )
        except BaseException:
            self._undo(plan.changes, old)
            raise
        self._write_manifest(plan.manifest)

    def _undo(self, changes: Iterable[Change], old: Manifest) -> None:
        for change in reversed(tuple(changes)):
            self._put(change.path, change.before)
        self._write_manifest(old)

    def _present(self, paths: Iterable[str]) -> dict[str, Entry]:
        return {path: _read(self.raddb / path) for path in paths}

    def _put(self, path: str, entry: Entry) -> None:
        place = self.raddb / path
        if entry is None:
            place.unlink(missing_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        # FreeRADIUS skips names with a tilde, should it look in between.
        fresh = place.with_name(place.name + "~herotill")
        fresh.unlink(missing_ok=True)
        if isinstance(entry, Link):
            fresh.symlink_to(entry.target)
        else:
            self._write(fresh, entry)
        fresh.replace(place)

    def _write(self, path: Path, entry: File) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(entry.content)
        if os.geteuid() == 0:
            group = self.raddb.stat().st_gid if entry.group is None else entry.group
            os.chown(path, entry.owner or 0, group)
        path.chmod(0o640 if entry.mode is None else entry.mode)

    def _write_manifest(self, manifest: Manifest) -> None:
        if manifest:
            self._put(MANIFEST_NAME, File(dump_manifest(manifest).encode(), 0o600, group=0))
        else:
            self.manifest_path.unlink(missing_ok=True)


def install_private(directory: Path, values: PacketTimeValues) -> Plan:
    """Make or refresh `directory`/raddb, /log and /run for a FreeRADIUS that needs no root.

    Start it with `freeradius -f -l DIRECTORY/log/radius.log -d DIRECTORY/raddb`. It is not checked here.
    """
    for name in ("raddb", "log", "run"):
        (directory / name).mkdir(mode=0o750, parents=True, exist_ok=True)
    prepare_journal(values.journal_directory, None)
    installation = Installation(directory / "raddb")
    plan = installation.plan(private_entries(values, directory))
    installation.apply(plan, None)
    return plan


def prepare_journal(journal_directory: Path, raddb: Path | None) -> None:
    """Make the journal directory. With a raddb, and as root, it belongs to the user FreeRADIUS runs as."""
    for directory in (journal_directory, journal_directory / "quarantine"):
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        if raddb is not None and os.geteuid() == 0:
            # On Debian raddb itself belongs to that user.
            directory.chmod(0o750)
            os.chown(directory, raddb.stat().st_uid, raddb.stat().st_gid)


def server_environment() -> dict[str, str]:
    """Return the environment FreeRADIUS is started in: before 3.2.4 its Python would obey our PYTHON variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def check_with_freeradius(raddb: Path) -> str | None:
    """Run `freeradius -XC` on the raddb; None when it is content, else the lines that say why not."""
    done = subprocess.run(
        (PROGRAM, "-XC", "-d", str(raddb)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env=server_environment(),
        timeout=CHECK_TIMEOUT_SECONDS,
    )
    if done.returncode == 0:
        return None
    return _reason(done.stdout.splitlines()) or f"exit status {done.returncode}"


def _reason(lines: list[str]) -> str:
    """Pick what a person would look for: of the last lines, those that complain."""
    words = ("error", "fail", "unable", "unknown", "invalid", "cannot", "denied", "no such", "not configured")
    last = [line.strip() for line in lines if line.strip()][-12:]
    return " | ".join([line for line in last if any(word in line.lower() for word in words)] or last[-3:])


def _read(path: Path) -> Entry:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return Link(str(path.readlink()))
        if stat.S_ISDIR(status.st_mode):
            raise Refused(f"{path} is a directory where a file of ours must be", "freeradius")
        return File(path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise Refused(f"{path} may not be read by you; run this as root", "freeradius") from None
