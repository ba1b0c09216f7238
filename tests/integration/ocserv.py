"""A real ocserv with openconnect as its client, each in a network namespace of its own, and traffic of known size."""

import base64
import hashlib
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from tests.integration.namespaces import Namespace, end, lay_cable, namespaces, run, unique, why_not

PROGRAMS = ("ocserv", "openconnect", "openssl")
# Debian 12 has it in /etc.
RADCLI_DICTIONARY = next(
    (path for path in ("/usr/share/radcli/dictionary", "/etc/radcli/dictionary") if Path(path).exists()), ""
)
DEADLINE_SECONDS = 30.0
IP_AND_UDP_OCTETS = 28

CONFIGURATION = """\
auth = "radius[config={directory}/radiusclient.conf{options}]"
acct = "radius[config={directory}/radiusclient.conf{options}]"
stats-report-time = {interim_seconds}
tcp-port = 443
udp-port = 0
run-as-user = root
run-as-group = root
socket-file = {directory}/ocserv.socket
pid-file = {directory}/ocserv.pid
server-cert = {directory}/certificate.pem
server-key = {directory}/key.pem
isolate-workers = false
max-clients = 16
max-same-clients = 4
use-occtl = true
occtl-socket-file = {directory}/occtl.socket
cookie-timeout = 10
max-ban-score = 0
device = vpns
ipv4-network = {pool}.0
ipv4-netmask = 255.255.255.0
ping-leases = false
default-domain = example.com
try-mtu-discovery = false
"""
RADIUSCLIENT = """\
nas-identifier vpn
authserver {server}:{auth_port}
acctserver {server}:{acct_port}
servers {directory}/servers
dictionary {dictionary}
default_realm
radius_timeout 3
radius_retries 3
bindaddr {address}
"""
WHEN_CONNECTED = """\
#!/bin/sh
[ "$reason" = connect ] || exit 0
ip link set dev "$TUNDEV" up
ip address add "$INTERNAL_IP4_ADDRESS" peer {gateway} dev "$TUNDEV"
echo "$INTERNAL_IP4_ADDRESS" >"{directory}/$TUNDEV.address"
"""
ECHO = """\
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind((sys.argv[1], 7))
while True:
    datagram, source = listener.recvfrom(65535)
    listener.sendto(bytes(int(datagram[:8])), source)
"""
TALK = """\
import socket, sys
gateway, times, there, back = sys.argv[1], *map(int, sys.argv[2:])
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.settimeout(10)
for _ in range(times):
    line.sendto(b"%08d" % back + bytes(there - 8), (gateway, 7))
    assert len(line.recv(65535)) == back
"""


@dataclass(frozen=True, slots=True)
class RadiusServer:
    """Where ocserv asks, and with which secret."""

    address: str
    auth_port: int
    acct_port: int
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A client that is connected; `interface` is its end of the tunnel."""

    process: "subprocess.Popen[bytes]" = field(repr=False)
    interface: str

    @property
    def is_up(self) -> bool:
        return self.process.poll() is None


@dataclass(frozen=True)
class Vpn:
    """The two places, and the files of one test."""

    directory: Path
    router: Namespace
    client: Namespace
    radius_address: str
    router_address: str
    gateway_address: str
    pool: str
    processes: ExitStack = field(repr=False)

    def start(self, server: RadiusServer, interim_seconds: int = 2, options: str = "") -> None:
        """Configure ocserv as its page in docs/nas says, and start it; `options` follow the configuration's name."""
        self._write_configuration(server, interim_seconds, options)
        self._make_certificate()
        ocserv = self.router.start(
            self.directory / "ocserv.log", "ocserv", "-f", "-d", "2", "-c", f"{self.directory}/ocserv.conf"
        )
        self.processes.callback(end, ocserv)
        self._await(lambda: "listening" in self.log.lower(), "ocserv does not listen")

    @property
    def log(self) -> str:
        return (self.directory / "ocserv.log").read_text(errors="replace")

    def connect(self, username: str, password: str) -> Tunnel | None:
        """Log in with openconnect; None where ocserv would not have it."""
        tunnel = unique("t")
        log, script = self.directory / f"{tunnel}.log", self._script()
        (self.directory / "password").write_text(f"{password}\n")
        command = (
            f"exec openconnect --non-inter --passwd-on-stdin --user {username} --servercert {self._pin()}"
            f" --no-dtls --disable-ipv6 --reconnect-timeout 1 --interface {tunnel} --script {script}"
            f" https://{self.gateway_address}/ <{self.directory}/password"
        )
        process = self.client.start(log, "sh", "-c", command)
        self.processes.callback(end, process)
        connected = self.directory / f"{tunnel}.address"
        self._await(lambda: connected.exists() or process.poll() is not None, f"no answer: {log}")
        return Tunnel(process, tunnel) if connected.exists() else None

    def talk(self, times: int, upload_octets: int, download_octets: int) -> tuple[int, int]:
        """Carry datagrams there and back through the tunnel; return the octets up and down, with IP's and UDP's headers."""
        gateway = f"{self.pool}.1"
        echo = self.router.start(self.directory / "echo.log", sys.executable, "-c", ECHO, gateway)
        try:
            self._await(self._listens_on_7, "nobody echoes")
            numbers = (times, upload_octets, download_octets)
            self.client.run(sys.executable, "-c", TALK, gateway, *map(str, numbers))
        finally:
            end(echo)
        return (
            times * (upload_octets + IP_AND_UDP_OCTETS),
            times * (download_octets + IP_AND_UDP_OCTETS),
        )

    def occtl(self, *words: str) -> str:
        return self.router.run("occtl", "-s", f"{self.directory}/occtl.socket", *words)

    def disconnect(self, tunnel: Tunnel) -> None:
        """The subscriber leaves."""
        end(tunnel.process)

    def _listens_on_7(self) -> bool:
        return ":0007 " in self.router.run("cat", "/proc/net/udp")

    def _write_configuration(self, server: RadiusServer, interim_seconds: int, options: str) -> None:
        values = {
            "directory": self.directory, "options": options, "interim_seconds": interim_seconds, "pool": self.pool,
            "server": server.address, "auth_port": server.auth_port, "acct_port": server.acct_port,
            "address": self.router_address, "dictionary": RADCLI_DICTIONARY,
        }  # fmt: skip
        (self.directory / "ocserv.conf").write_text(CONFIGURATION.format(**values))
        (self.directory / "radiusclient.conf").write_text(RADIUSCLIENT.format(**values))
        (self.directory / "servers").write_text(f"{server.address} {server.secret}\n")

    def _make_certificate(self) -> None:
        key, certificate = self.directory / "key.pem", self.directory / "certificate.pem"
        if not certificate.exists():
            subject = ("-subj", "/CN=vpn.example.com", "-days", "3")
            files = ("-keyout", str(key), "-out", str(certificate))
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                *subject, *files)  # fmt: skip

    def _pin(self) -> str:
        public = run("openssl", "x509", "-in", f"{self.directory}/certificate.pem", "-noout", "-pubkey")
        octets = base64.b64decode("".join(public.strip().splitlines()[1:-1]))
        return f"pin-sha256:{base64.b64encode(hashlib.sha256(octets).digest()).decode()}"

    def _script(self) -> Path:
        script = self.directory / "connected"
        script.write_text(WHEN_CONNECTED.format(gateway=f"{self.pool}.1", directory=self.directory))
        script.chmod(0o755)
        return script

    def _await(self, is_true: Callable[[], object], otherwise: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_true():
            assert time.monotonic() < deadline, f"{otherwise}; ocserv's log ends:\n{self.log[-4000:]}"
            time.sleep(0.05)


def why_no_ocserv() -> str | None:
    """Say why this machine cannot run ocserv and openconnect against each other; None: it can."""
    return why_not(PROGRAMS, needs_tun=True)


@contextmanager
def vpn(directory: Path) -> Iterator[Vpn]:
    """Two namespaces and their cables: test - router (RADIUS), router - client (TLS)."""
    directory.mkdir()
    # Of the range for tests (RFC 2544), a network that no other test of this machine happens to have.
    first = ip_network("198.18.0.0/16")[4 * secrets.randbelow(16_384)]
    here_address, router_address = first + 1, first + 2
    wan, pool = "198.19.0", "10.77.77"
    with namespaces("v", "c") as (router, client), ExitStack() as processes:
        here, there, outside, subscriber = unique("r"), unique("s"), unique("o"), unique("u")
        lay_cable((None, here), (router, there))
        lay_cable((router, outside), (client, subscriber))
        run("ip", "address", "add", f"{here_address}/30", "dev", here)
        run("ip", "link", "set", "dev", here, "up")
        router.give_address(there, f"{router_address}/30")
        router.give_address(outside, f"{wan}.1/30")
        client.give_address(subscriber, f"{wan}.2/30")
        ends = (str(here_address), str(router_address), f"{wan}.1")
        yield Vpn(directory, router, client, *ends, pool, processes)
