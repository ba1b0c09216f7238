"""A real FreeRADIUS for a test: private directory, free loopback ports, started, watched and stopped."""

import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from sync_daemon.eap_certificate import ServerCertificate
from sync_daemon.freeradius_install_apply import install_private, server_environment
from sync_daemon.freeradius_install_probe import values_from_settings
from sync_daemon.freeradius_install_render import Listening
from sync_daemon.settings import Settings
from tests.integration.radclient import ask

READY = "Ready to process requests"
DEADLINE_SECONDS = 15.0


class FreeradiusError(AssertionError):
    """FreeRADIUS did not do what it was told; the message ends with its log."""


@dataclass
class Freeradius:
    """One private FreeRADIUS below `directory`, on 127.0.0.1 and ::1.

    With a `nas_secret`, starting waits until 127.0.0.1 is known as a NAS: the module learns them from the database
    after its first packet, which a real NAS would send again.
    """

    directory: Path
    settings: Settings
    nas_secret: str | None = None
    require_message_authenticator: bool = True
    reject_delay_seconds: float = 0.0
    eap: ServerCertificate | None = None
    auth_port: int = 0
    acct_port: int = 0
    addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.auth_port:
            self.auth_port, self.acct_port = free_udp_ports(2)

    @property
    def raddb(self) -> Path:
        return self.directory / "raddb"

    @property
    def log_path(self) -> Path:
        return self.directory / "log/radius.log"

    @property
    def log(self) -> str:
        """Everything FreeRADIUS has logged so far, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def render(self) -> None:
        """Write the configuration."""
        values = values_from_settings(
            self.settings,
            Listening(self.addresses, self.auth_port, self.acct_port),
            require_message_authenticator=self.require_message_authenticator,
            reject_delay_seconds=self.reject_delay_seconds,
        )
        install_private(self.directory, replace(values, eap=self.eap))

    def start(self) -> None:
        """Render, start, and wait until it says that it is ready."""
        self.render()
        seen = len(self.log)
        command = ("freeradius", "-f", "-l", str(self.log_path), "-d", str(self.raddb))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=server_environment(),
        )
        self._await(lambda: READY in self.log[seen:], "did not become ready")
        if self.nas_secret is not None:
            self._await(self._answers_its_nas, "does not answer its NAS")

    def stop(self) -> None:
        """Stop it as systemd would; it must leave by itself, cleanly."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            status = process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise self._error("did not stop on SIGTERM") from None
        if status != 0:
            raise self._error(f"ended with status {status}")

    def kill(self) -> None:
        """Kill it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Let it hang: nothing is answered until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def await_log(self, pattern: str) -> "re.Match[str]":
        """Wait until a line of the log matches."""
        self._await(lambda: re.search(pattern, self.log), f"never logged {pattern!r}")
        found = re.search(pattern, self.log)
        assert found is not None
        return found

    def _answers_its_nas(self) -> bool:
        pairs = ("Message-Authenticator = 0x00",)
        assert self.nas_secret is not None
        return (
            ask("status", self.auth_port, pairs, secret=self.nas_secret, timeout_seconds=0.1).code is not None
        )

    def _await(self, is_true: Callable[[], object], otherwise: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_true():
            if self._process is not None and self._process.poll() is not None:
                status, self._process = self._process.returncode, None
                raise self._error(f"ended with status {status}")
            if time.monotonic() > deadline:
                raise self._error(otherwise)
            time.sleep(0.02)

    def _error(self, what: str) -> FreeradiusError:
        return FreeradiusError(f"FreeRADIUS {what}; its log ends:\n{self.log[-4000:]}")


def free_udp_ports(count: int) -> tuple[int, ...]:
    """Find different UDP ports that are free on IPv4 and IPv6 now."""
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(("::", 0))
            ports.append(int(probe.getsockname()[1]))
        return tuple(ports)
