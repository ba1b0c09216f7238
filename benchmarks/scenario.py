"""The scenarios: a FreeRADIUS each, set up in one of several ways, with the database and the meter that belong to it."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from benchmarks import data, processes, sites
from benchmarks.freeradius import Freeradius, free_ports, template_placeholders, write_raddb
from benchmarks.generator import Load, Ports
from benchmarks.measuring import Settled
from benchmarks.packets import ACCESS_ACCEPT, SECRET, Subscriber, access_request
from benchmarks.postgresql import Cluster
from sync_daemon.embedded_postgresql import DAEMON_ROLE, RADIUS_ROLE
from sync_daemon.freeradius_install_apply import install_private
from sync_daemon.freeradius_install_probe import values_from_settings
from sync_daemon.freeradius_install_render import Listening
from sync_daemon.settings import (
    FILE_NAME,
    Settings,
    load_settings,
    new_class_secret,
    render_settings,
    write_private,
)

SCENARIOS = ("null", "noop", "sql", "stock", "stock-indexed", "ours")
SETTLE_SECONDS = 60.0
_APPLIED = "SELECT coalesce(sum(read_offset), 0)::bigint FROM radius.journal_position"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much data there is: accounts, and closed sessions of all of them together."""

    accounts: int = 10_000
    sessions: int = 100_000


@dataclass
class Scenario:
    """One running server with what belongs to it."""

    name: str
    server: Freeradius
    cluster: Cluster
    settings: Settings | None = None
    with_meter: bool = False
    _meter: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def cpu(self) -> Mapping[str, float]:
        """Return the CPU seconds used so far, of each kind of process."""
        used = {"freeradius": processes.cpu_seconds([self.server.pid])}
        if self.name not in ("null", "noop"):
            used["postgresql"] = processes.cpu_seconds([self.cluster.pid])
        if self._meter is not None:
            used["meter"] = processes.cpu_seconds([self._meter.pid])
        return used

    @property
    def meter_pid(self) -> int:
        """The supervisor of the meter."""
        if self._meter is None:
            raise RuntimeError("there is no meter")
        return self._meter.pid

    def start(self) -> None:
        """Start FreeRADIUS, and the meter where one belongs to it."""
        self.server.start()
        if self.with_meter:
            self.start_meter()

    def start_meter(self, only: str = "meter") -> None:
        """Start `herotill serve --only meter`."""
        if self.settings is None:
            raise RuntimeError(f"{self.name} has no daemon")
        state = self.settings.state_directory
        command = (sys.executable, "-m", "sync_daemon", "--state", str(state), "serve", "--only", only)
        with (state / "serve.log").open("ab") as log:
            self._meter = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[1],
                start_new_session=True,
            )

    def stop_meter(self) -> None:
        """Stop the daemon."""
        meter, self._meter = self._meter, None
        if meter is not None:
            processes.stop(meter)

    def stop(self) -> None:
        """Stop everything of it."""
        self.stop_meter()
        self.server.stop()

    def backlog_octets(self) -> int:
        """Return how much of the journal is not applied."""
        if self.settings is None:
            return 0
        written = sum(path.stat().st_size for path in self.settings.journal_directory.glob("*.journal"))
        applied = self.cluster.ask("ours", _APPLIED)[0][0]
        assert isinstance(applied, int)
        return written - applied

    def settle(self) -> Settled:
        """Wait until the meter has applied all there is."""
        if self._meter is None:
            return Settled()
        began = time.monotonic()
        behind = left = self.backlog_octets()
        while left > 0:
            if time.monotonic() - began > SETTLE_SECONDS:
                raise TimeoutError(f"the meter is {left} octets behind after {SETTLE_SECONDS:.0f} s")
            time.sleep(0.02)
            left = self.backlog_octets()
        return Settled(behind, time.monotonic() - began)

    def warm(self, accounts: int) -> None:
        """Log every account in once, so that snapshots, connections and caches are as in the middle of a day."""
        packets = [access_request(n % 128, Subscriber(n), b"warm%07d" % n) for n in range(accounts)]
        self.log_in(packets, 60.0)
        self.settle()

    def log_in(self, packets: Sequence[bytes], seconds: float, ports: int = 64) -> Load:
        """Send Access-Requests, one in flight on each source port."""
        return self._closed(self.server.auth_port, packets, seconds, ports)

    def account(self, packets: Sequence[bytes], seconds: float, ports: int = 64) -> Load:
        """Send Accounting-Requests, one in flight on each source port."""
        return self._closed(self.server.acct_port, packets, seconds, ports)

    @staticmethod
    def _closed(port: int, packets: Sequence[bytes], seconds: float, ports: int) -> Load:
        sockets = Ports(port, ports)
        try:
            return Load(sockets, packets).closed(seconds)
        finally:
            sockets.close()

    def await_nas(self) -> None:
        """Wait until a login is answered: our module learns the NASes after its first packet."""

        def answers() -> bool:
            packets = [access_request(1, Subscriber(0), b"hello")]
            return self.log_in(packets, 0.3, 1).outcome(ACCESS_ACCEPT).answered > 0

        processes.until(answers, f"{self.name} does not answer a login")


Build = Callable[[Cluster, Sizes, Path], Scenario]


def _bare(name: str, site: str, modules: Mapping[str, str]) -> Build:
    def build(cluster: Cluster, _sizes: Sizes, directory: Path) -> Scenario:
        server = Freeradius(directory, *free_ports())
        files = {"raddb/sites-enabled/bench": site} | dict(modules)
        placeholders = template_placeholders(directory) | {
            "@AUTH@": str(server.auth_port),
            "@ACCT@": str(server.acct_port),
            "@SECRET@": SECRET.decode(),
            "@STOCK@": str(data.STOCK_RADDB),
            "@DATABASE@": _conninfo(cluster, name.replace("-", "_")),
        }
        write_raddb(directory, files, placeholders)
        return Scenario(name, server, cluster)

    return build


def _conninfo(cluster: Cluster, database: str) -> str:
    host = unquote(cluster.url(database).rpartition("host=")[2])
    return f"host={host} user=postgres dbname={database}"


def _stock(name: str, *, counter: bool, indexed: bool) -> Build:
    modules = {"raddb/mods-enabled/sql": sites.SQL_MODULE}
    if counter:
        # Its name sorts behind sql, whose instance it looks for.
        modules["raddb/mods-enabled/sqlcounter"] = sites.COUNTER_MODULE
    bare = _bare(name, sites.sql_site(counter), modules)

    def build(cluster: Cluster, sizes: Sizes, directory: Path) -> Scenario:
        database = name.replace("-", "_")
        data.create_stock(cluster, database, sizes.accounts, sizes.sessions, counter=counter)
        if indexed:
            data.index_stock(cluster, database)
        return bare(cluster, sizes, directory)

    return build


def _ours(cluster: Cluster, sizes: Sizes, directory: Path) -> Scenario:
    data.create_ours(cluster, "ours", sizes.accounts, sizes.sessions)
    settings = _our_settings(cluster, directory / "state")
    server = Freeradius(directory, *free_ports())
    listening = Listening(("127.0.0.1",), server.auth_port, server.acct_port)
    values = values_from_settings(
        settings, listening, require_message_authenticator=True, reject_delay_seconds=0
    )
    install_private(directory, values)
    return Scenario("ours", server, cluster, settings, with_meter=True)


def _our_settings(cluster: Cluster, state: Path) -> Settings:
    state.mkdir(parents=True)
    values = {
        "class_secret": new_class_secret(),
        "billing_url": cluster.url("ours", DAEMON_ROLE),
        "packet_time_url": cluster.url("ours", RADIUS_ROLE),
        "node": "bench",
    }
    write_private(state / FILE_NAME, render_settings(values))
    return load_settings(state / FILE_NAME, state)


_EMPTY = {"raddb/mods-enabled/empty": sites.EMPTY_MODULE, "empty_hooks.py": sites.EMPTY_HOOKS}
BUILDERS: dict[str, Build] = {
    "null": _bare("null", sites.NULL, {}),
    "noop": _bare("noop", sites.NOOP, _EMPTY),
    "sql": _stock("sql", counter=False, indexed=False),
    "stock": _stock("stock", counter=True, indexed=False),
    "stock-indexed": _stock("stock-indexed", counter=True, indexed=True),
    "ours": _ours,
}


@contextmanager
def running(names: Sequence[str], cluster: Cluster, sizes: Sizes) -> Iterator[dict[str, Scenario]]:
    """Set the named scenarios up, started and answering; all are stopped afterwards, whatever happens."""
    scenarios: dict[str, Scenario] = {}
    try:
        for name in names:
            scenarios[name] = scenario = BUILDERS[name](cluster, sizes, cluster.directory / name)
            scenario.start()
            scenario.await_nas()
        yield scenarios
    finally:
        for scenario in scenarios.values():
            scenario.stop()
