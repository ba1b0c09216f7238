"""The stage: an installation of its own in a private directory, on free loopback ports, everything real."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

READY = "Ready to process requests"
START_SECONDS = 20.0
STOP_SECONDS = 15.0
NAS_SECRET = "demo secret of this machine only"  # noqa: S105 - it opens nothing but this loopback stage
HEROTILL = (sys.executable, "-m", "sync_daemon")


class StageError(Exception):
    """Something on the stage did not do what it was told."""


class Stage:
    """Directory, ports and processes. Everything is stopped and removed by `close`, unless it is kept."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="herotill-demo-"))
        # As root PostgreSQL runs as a user of its own, who must be able to pass; what is secret inside has mode 0600.
        self.directory.chmod(0o711)
        self.state = self.directory / "state"
        self.auth_port, self.acct_port, *self.coa_ports = free_udp_ports(5)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def herotill(self, *arguments: str, stdin: str | None = None) -> str:
        """Run the `herotill` command as an operator would and return what it printed."""
        done = subprocess.run(
            (*HEROTILL, *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environment(),
            check=False,
        )
        if done.returncode != 0:
            raise StageError(
                f"`herotill {' '.join(arguments)}` ended with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def herotill_json(self, *arguments: str) -> Any:
        """Run a command with --json and return what it says."""
        return json.loads(self.herotill(*arguments, "--json"))

    def add_nas(self, name: str, address: str, nas_type: str, coa_port: int) -> None:
        """Enter a NAS of the demonstration."""
        secret_file = self.directory / "nas-secret"
        secret_file.write_text(NAS_SECRET)
        self.herotill(
            "nas", "add", name, "--address", address, "--type", nas_type,
            "--secret-file", str(secret_file), "--coa-port", str(coa_port),
        )  # fmt: skip

    def start_freeradius(self) -> None:
        """Render a private FreeRADIUS, start it and wait until it is ready."""
        directory = self.directory / "freeradius"
        self.herotill(
            "freeradius", "private", "--directory", str(directory),
            "--auth-port", str(self.auth_port), "--acct-port", str(self.acct_port),
        )  # fmt: skip
        log = directory / "log/radius.log"
        self._start("freeradius", "freeradius", "-f", "-l", str(log), "-d", str(directory / "raddb"))
        self._await_line("freeradius", log, READY)

    def start_daemon(self) -> None:
        """Start `herotill serve` and wait until its meter is at work."""
        self._start("daemon", *HEROTILL, "serve")
        self._await_line("daemon", self.directory / "daemon.log", "metering the journal")

    def _start(self, name: str, *command: str) -> None:
        with (self.directory / f"{name}.log").open("wb") as output:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )

    def _await_line(self, name: str, log: Path, wanted: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not log.exists() or wanted not in log.read_text(errors="replace"):
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"
                raise StageError(f"{name} did not start; its log ends:\n{tail}")
            time.sleep(0.02)

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "HEROTILL_STATE": str(self.state)}

    def keep(self) -> None:
        """Leave everything running and note how to stop it."""
        pids = {name: process.pid for name, process in self._processes.items()}
        (self.directory / "pids.json").write_text(json.dumps(pids))
        self._processes.clear()

    def close(self) -> None:
        """Stop all that runs and remove the directory."""
        for process in reversed(self._processes.values()):
            _end(process.pid, process)
        self._processes.clear()
        stop_database_and_remove(self.directory)


def stop_kept(directory: Path) -> None:
    """Stop what an earlier demonstration left running, and remove its directory."""
    noted = directory / "pids.json"
    if not noted.is_file():
        raise StageError(f"{directory} is not the directory of a kept demonstration")
    for pid in json.loads(noted.read_text()).values():
        _end(pid, None)
    stop_database_and_remove(directory)


def stop_database_and_remove(directory: Path) -> None:
    """Stop the embedded PostgreSQL and delete everything."""
    if (directory / "state/herotill.yaml").exists():
        environment = {**os.environ, "HEROTILL_STATE": str(directory / "state")}
        subprocess.run((*HEROTILL, "database", "stop"), env=environment, capture_output=True, check=False)
    shutil.rmtree(directory, ignore_errors=True)


def _end(pid: int, process: "subprocess.Popen[bytes] | None") -> None:
    """Ask a process to end, and insist if it does not."""
    try:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _is_alive(pid, process):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    except ProcessLookupError:
        pass


def _is_alive(pid: int, process: "subprocess.Popen[bytes] | None") -> bool:
    if process is not None:
        return process.poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def free_udp_ports(count: int) -> list[int]:
    """Return different UDP ports that are free on IPv4 and IPv6 now."""
    probes: list[socket.socket] = []
    try:
        for _ in range(count):
            probe = socket.socket(
                socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET, socket.SOCK_DGRAM
            )
            probes.append(probe)
            probe.bind(("", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
