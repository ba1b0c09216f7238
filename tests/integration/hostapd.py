"""A real hostapd on its wired driver with wpa_supplicant at its port, each in a network namespace of its own."""

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from tests.integration.namespaces import Namespace, end, lay_cable, namespaces, run, unique, why_not

PROGRAMS = ("hostapd", "hostapd_cli", "wpa_supplicant", "wpa_cli", "radclient")
DAS_PORT = 3799
SECRET = "a secret of hostapd's own"
MAC = "02:00:00:00:00:01"
# wpa_supplicant says nothing for the first seconds, and hostapd asks a busy server again after three.
DEADLINE_SECONDS = 45.0

CONFIGURATION = """\
interface={port}
driver=wired
logger_stdout=-1
logger_stdout_level=1
ctrl_interface={directory}/hostapd
use_pae_group_addr=1
ieee8021x=1
eap_reauth_period=0
own_ip_addr={address}
nas_identifier=switch
auth_server_addr={server}
auth_server_port={auth_port}
auth_server_shared_secret={secret}
acct_server_addr={server}
acct_server_port={acct_port}
acct_server_shared_secret={secret}
radius_das_port={das_port}
radius_das_client={server} {secret}
radius_das_time_window=300
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
"""
SUPPLICANT = """\
ctrl_interface={control}
ap_scan=0
network={{
  key_mgmt=IEEE8021X
  eapol_flags=0
{lines}
}}
"""
FRAMES = """\
import socket, sys
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
line.bind((sys.argv[1], 0))
for _ in range(50):
    line.send(b"\\xff" * 6 + bytes.fromhex(sys.argv[2].replace(":", "")) + b"\\x88\\xb5" + bytes(1000))
"""


@dataclass(frozen=True, slots=True)
class RadiusServer:
    """Where hostapd asks, and the authority its devices trust."""

    address: str
    auth_port: int
    acct_port: int
    authority: Path


@dataclass
class Device:
    """wpa_supplicant at the port."""

    process: "subprocess.Popen[bytes]" = field(repr=False)
    log_path: Path
    control: Path
    interface: str
    namespace: Namespace = field(repr=False)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def is_connected(self) -> bool:
        """Whether its port is open, as it is told by 802.1X."""
        return self.log.rfind("CTRL-EVENT-CONNECTED") > self.log.rfind("CTRL-EVENT-DISCONNECTED")

    @property
    def is_refused(self) -> bool:
        return "CTRL-EVENT-EAP-FAILURE" in self.log

    def log_off(self) -> None:
        """The subscriber leaves, and says so (EAPOL-Logoff)."""
        self.namespace.run("wpa_cli", "-p", str(self.control), "-i", self.interface, "logoff")


@dataclass(frozen=True)
class Switch:
    """hostapd's place, the subscriber's place, and the files of one test."""

    directory: Path
    switch: Namespace
    subscriber: Namespace
    server_address: str
    address: str
    port: str
    outlet: str
    processes: ExitStack = field(repr=False)

    def start(self, server: RadiusServer, *more: str) -> None:
        """Configure hostapd as its page in docs/nas says, and more, and start it."""
        values = {
            "port": self.port, "directory": self.directory, "address": self.address, "server": server.address,
            "auth_port": server.auth_port, "acct_port": server.acct_port, "secret": SECRET, "das_port": DAS_PORT,
        }  # fmt: skip
        configuration = self.directory / "hostapd.conf"
        configuration.write_text(CONFIGURATION.format(**values) + "".join(f"{line}\n" for line in more))
        process = self.switch.start(self.directory / "hostapd.log", "hostapd", str(configuration))
        self.processes.callback(end, process)
        self.wait_until(lambda: "AP-ENABLED" in self.log, "hostapd does not begin")

    @property
    def log(self) -> str:
        return (self.directory / "hostapd.log").read_text(errors="replace")

    def plug_in(self, **network: str) -> Device:
        """Connect a device with what wpa_supplicant is to know of the network."""
        name = unique("d")
        log, control = self.directory / f"{name}.log", self.directory / name
        configuration = self.directory / f"{name}.conf"
        lines = "\n".join(f"  {key}={value}" for key, value in network.items())
        configuration.write_text(SUPPLICANT.format(control=control, lines=lines))
        command = ("wpa_supplicant", "-D", "wired", "-i", self.outlet, "-c", str(configuration), "-t")
        process = self.subscriber.start(log, *command)
        self.processes.callback(end, process)
        return Device(process, log, control, self.outlet, self.subscriber)

    def carry_traffic(self) -> None:
        """Send frames through the port, 50 of 1014 octets."""
        self.subscriber.run(sys.executable, "-c", FRAMES, self.outlet, MAC)

    def stations(self) -> str:
        """What hostapd knows of who is at its port."""
        return self.switch.run("hostapd_cli", "-p", f"{self.directory}/hostapd", "-i", self.port, "all_sta")

    def wait_until(
        self, is_true: Callable[[], object], otherwise: str, seconds: float = DEADLINE_SECONDS
    ) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, f"{otherwise}; hostapd's log ends:\n{self.log[-4000:]}"
            time.sleep(0.05)


def why_no_hostapd() -> str | None:
    """Say why this machine cannot put hostapd and wpa_supplicant on a cable; None: it can."""
    return why_not(PROGRAMS)


@contextmanager
def switch(directory: Path) -> Iterator[Switch]:
    """Two namespaces and their cables: test - switch (RADIUS), switch - subscriber (802.1X)."""
    directory.mkdir()
    radius = IPv4Address("198.18.0.0") + 4 * secrets.randbelow(2**14)
    server_address, address = str(radius + 1), str(radius + 2)
    with namespaces("h", "w") as (middle, subscriber), ExitStack() as processes:
        here, there, port, outlet = unique("r"), unique("s"), unique("p"), unique("o")
        lay_cable((None, here), (middle, there))
        lay_cable((middle, port), (subscriber, outlet))
        run("ip", "address", "add", f"{server_address}/30", "dev", here)
        run("ip", "link", "set", "dev", here, "up")
        middle.give_address(there, f"{address}/30")
        middle.run("ip", "link", "set", "dev", port, "up")
        subscriber.run("ip", "link", "set", "dev", outlet, "address", MAC, "up")
        yield Switch(directory, middle, subscriber, server_address, address, port, outlet, processes)
