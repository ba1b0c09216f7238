"""Looks at this machine: Python, the journal's disk, the clock, the units of systemd."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sync_daemon.doctor.findings import Finding, advice, good, unknown, wrong
from sync_daemon.settings import Settings

LEAST_PYTHON = (3, 11)
LEAST_FREE_OCTETS = 256 * 1024 * 1024
"""Four segments of the journal: below it the disk may be full before somebody looks."""
COMFORTABLE_FREE_OCTETS = 2 * 1024 * 1024 * 1024
LEAST_FREE_INODES = 1_000
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs")
ASK_SECONDS = 10


def look_at_python() -> Iterator[Finding]:
    """Look at the Python we run under."""
    version = platform.python_version()
    if sys.version_info >= LEAST_PYTHON:
        yield good("Python", version)
    else:
        yield wrong("Python", f"{version} is too old", "install herotill under Python 3.11 or later")


def look_at_journal(directory: Path, raddb: Path) -> Iterator[Finding]:
    """Look at where FreeRADIUS writes accounting: without room there no Accounting-Request is answered."""
    topic = "journal"
    if not directory.is_dir():
        mend = "herotill freeradius install makes it" if not directory.exists() else "move away what is there"
        yield wrong(topic, f"{directory} is not a directory", mend)
        return
    yield _judge_writing(directory, raddb)
    yield judge_space(directory, shutil.disk_usage(directory).free, os.statvfs(directory).f_favail)
    kind = file_system_of(directory, Path("/proc/self/mounts"))
    if kind in NETWORK_FILE_SYSTEMS:
        yield wrong(
            f"{topic}: file system",
            f"{directory} is on {kind}, where locks and fdatasync cannot be trusted",
            "put journal_directory on a local disk, then herotill freeradius install",
        )


def _judge_writing(directory: Path, raddb: Path) -> Finding:
    topic = "journal: writing"
    status = directory.stat()
    writer = raddb.stat().st_uid if (raddb / "sites-enabled/herotill").is_symlink() else os.geteuid()
    if status.st_uid == writer and status.st_mode & 0o300 == 0o300:
        return good(topic, f"{directory} belongs to the user that writes it")
    if writer == os.geteuid() and os.access(directory, os.W_OK | os.X_OK):
        return good(topic, f"{directory} can be written")
    mend = f"chown {writer} {directory}; chmod 750 {directory}"
    return wrong(
        topic, f"the user FreeRADIUS runs as may not write {directory}: no accounting is answered", mend
    )


def look_at_state(settings: Settings) -> Iterator[Finding]:
    """Look at the disk the embedded PostgreSQL is on: full, it writes nothing, and may not even start."""
    if settings.embedded:
        directory = settings.state_directory
        free = shutil.disk_usage(directory).free
        said = f"{free // 1024**2} MiB free for {directory}"
        if free < LEAST_FREE_OCTETS:
            mend = "make room, or shorten retention_days"
            yield wrong("PostgreSQL: space", f"{said}: when it is full, nothing is metered or sold", mend)
        else:
            yield good("PostgreSQL: space", said)


def judge_space(directory: Path, free_octets: int, free_inodes: int) -> Finding:
    """Judge the room that is left for the journal."""
    topic, mend = "journal: space", "make room, or shorten journal_retention_seconds"
    said = f"{free_octets // 1024**2} MiB free for {directory}"
    if free_octets < LEAST_FREE_OCTETS:
        return wrong(topic, f"{said}: when it is full, no accounting is answered and nobody can log in", mend)
    # A file system without a fixed number of inodes says 0.
    if 0 < free_inodes < LEAST_FREE_INODES:
        return wrong(topic, f"{free_inodes} inodes free for {directory}", mend)
    if free_octets < COMFORTABLE_FREE_OCTETS:
        return advice(topic, said, mend)
    return good(topic, said)


def file_system_of(path: Path, mounts: Path) -> str:
    """Return the kind of file system a path lies on, by the kernel's list of mounts; empty where it cannot be read."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    place = path.resolve()
    # Of mounts one above the other the last in the list is seen.
    found = [
        (len(Path(line[1]).parts), number, line[2])
        for number, line in enumerate(lines)
        if place.is_relative_to(line[1])
    ]
    return max(found)[2] if found else ""


def look_at_clock() -> Iterator[Finding]:
    """Ask systemd whether NTP sets the clock: ends to the second, and RFC 5176's windows of 300 s, need it."""
    answer = _ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if answer == "yes":
        yield good("clock", "set by NTP")
    elif answer == "no" and not Path("/run/systemd/container").exists():
        yield wrong(
            "clock", "nothing sets it: routers refuse Disconnects that look old", "timedatectl set-ntp true"
        )
    else:
        yield unknown(
            "clock", "nobody here knows whether it is set by NTP", "in a container: look on its host"
        )


def look_at_units(settings: Settings) -> Iterator[Finding]:
    """Ask systemd whether our services run and will start again."""
    if not Path("/run/systemd/system").is_dir():
        yield unknown(
            "units", "systemd does not run here", "see that whatever runs here starts herotill serve"
        )
        return
    ours = ("herotill-database", "herotill") if settings.embedded else ("herotill",)
    for unit in (*ours, "freeradius"):
        active = _ask("systemctl", "is-active", unit) or "unknown"
        enabled = _ask("systemctl", "is-enabled", unit) or "not installed"
        yield judge_unit(unit, active, enabled)


def judge_unit(unit: str, active: str, enabled: str) -> Finding:
    """Judge what `systemctl is-active` and `is-enabled` say."""
    topic = f"unit {unit}"
    if active != "active":
        return wrong(
            topic, f"{active}, {enabled}", f"systemctl enable --now {unit} (docs/operations.md, As a service)"
        )
    if enabled not in ("enabled", "static", "alias"):
        return advice(
            topic, f"runs, and does not start with the machine ({enabled})", f"systemctl enable {unit}"
        )
    return good(topic, "runs, and starts with the machine")


def _ask(*command: str) -> str | None:
    """Return what a program prints, or None where it is not there or fails to answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
