"""A private FreeRADIUS below one directory on loopback: written, started, awaited, stopped."""

import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes
from sync_daemon.freeradius_install_apply import server_environment
from sync_daemon.resources import freeradius_config_directory

READY = "Ready to process requests"


@dataclass
class Freeradius:
    """One server. `directory`/raddb holds its configuration, written by `write_raddb` or by our own installer."""

    directory: Path
    auth_port: int
    acct_port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise RuntimeError("FreeRADIUS does not run")
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything it has logged."""
        path = self.directory / "log/radius.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it and wait until it is ready."""
        seen = len(self.log)
        command = (
            "freeradius",
            "-f",
            "-l",
            str(self.directory / "log/radius.log"),
            "-d",
            str(self.directory / "raddb"),
        )
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, stdin=quiet, stdout=quiet, stderr=quiet, env=server_environment(), start_new_session=True
        )
        processes.until(lambda: READY in self.log[seen:] or self._ended(), "FreeRADIUS did not become ready")
        if self._ended():
            raise RuntimeError(f"FreeRADIUS ended; its log ends:\n{self.log[-3000:]}")

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """Stop it."""
        process, self._process = self._process, None
        if process is not None:
            processes.stop(process)


def free_ports() -> tuple[int, int]:
    """Find two UDP ports that are free now."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return found[0].getsockname()[1], found[1].getsockname()[1]


def write_raddb(directory: Path, files: Mapping[str, str], placeholders: Mapping[str, str]) -> None:
    """Write a raddb around our own radiusd.conf: the same threads, limits and cleanup_delay for every scenario."""
    template = freeradius_config_directory()
    ours = {
        "raddb/radiusd.conf": (template / "radiusd.conf").read_text(),
        "raddb/dictionary": "$INCLUDE /usr/share/freeradius/dictionary\n",
        "raddb/mods-enabled/standard": (template / "mods-available/herotill_standard").read_text(),
    }
    for path in ("log", "run"):
        (directory / path).mkdir(parents=True, exist_ok=True)
    for path, text in {**ours, **files}.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(text, placeholders))
        target.chmod(0o640)
    (directory / "raddb").chmod(0o750)


def _filled(text: str, placeholders: Mapping[str, str]) -> str:
    for name, value in placeholders.items():
        text = text.replace(name, value)
    return text


def template_placeholders(directory: Path, threads: int) -> dict[str, str]:
    """Return what our radiusd.conf is filled with."""
    return {
        "@@HEROTILL_DIRECTORY@@": str(directory),
        "@@HEROTILL_THREADS@@": str(threads),
        "@@HEROTILL_REJECT_DELAY_SECONDS@@": "0",
        "@@HEROTILL_REQUIRE_MESSAGE_AUTHENTICATOR@@": "no",
        "@DIRECTORY@": str(directory),
    }
