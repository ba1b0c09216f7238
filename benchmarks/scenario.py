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
from benchmarks.saying import say
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
    """One running server with what belongs to it. `name` is also that of its database and its directory."""

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
    def database(self) -> str:
        """The name of its database."""
        return database_of(self.name)

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

    def start_meter(self, only: str = "meter", core: int | None = None) -> None:
        """Start `herotill serve --only meter`, on one core where it is named."""
        if self.settings is None:
            raise RuntimeError(f"{self.name} has no daemon")
        state = self.settings.state_directory
        command: tuple[str, ...] = (
            sys.executable,
            "-m",
            "sync_daemon",
            "--state",
            str(state),
            "serve",
            "--only",
            only,
        )
        if core is not None:
            command = ("taskset", "-c", str(core), *command)
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
        applied = self.cluster.ask(self.database, _APPLIED)[0][0]
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

    def log_in_at(self, packets: Sequence[bytes], rate: float, ports: int = 64) -> Load:
        """Send Access-Requests at random times, so many a second, whether or not they are answered."""
        return self._open(self.server.auth_port, packets, rate, ports)

    def account_at(self, packets: Sequence[bytes], rate: float, ports: int = 64) -> Load:
        """Send Accounting-Requests at random times, so many a second, whether or not they are answered."""
        return self._open(self.server.acct_port, packets, rate, ports)

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

    @staticmethod
    def _open(port: int, packets: Sequence[bytes], rate: float, ports: int) -> Load:
        sockets = Ports(port, ports)
        try:
            return Load(sockets, packets).open(rate)
        finally:
            sockets.close()

    def await_nas(self) -> None:
        """Wait until a login is answered: our module learns the NASes after its first packet."""

        def answers() -> bool:
            packets = [access_request(1, Subscriber(0), b"hello")]
            return self.log_in(packets, 0.3, 1).outcome(ACCESS_ACCEPT).answered > 0

        processes.until(answers, f"{self.name} does not answer a login")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scenario is set up: under a name, in a cluster, with so much data."""

    name: str
    cluster: Cluster
    sizes: Sizes

    @property
    def directory(self) -> Path:
        """Its directory."""
        return self.cluster.directory / self.name

    @property
    def database(self) -> str:
        """The name of its database."""
        return database_of(self.name)


Build = Callable[[Place], Scenario]


def database_of(name: str) -> str:
    """Return the name of a scenario's database."""
    return name.replace("-", "_")


# What waits for a database needs threads; what does not, or runs Python, is fastest with one: see radiusd.conf.
THREADS_FOR_SQL = 32


def _bare(site: str, modules: Mapping[str, str], threads: int = 1) -> Build:
    def build(place: Place) -> Scenario:
        server = Freeradius(place.directory, *free_ports())
        files = {"raddb/sites-enabled/bench": site} | dict(modules)
        placeholders = template_placeholders(place.directory, threads) | {
            "@AUTH@": str(server.auth_port),
            "@ACCT@": str(server.acct_port),
            "@SECRET@": SECRET.decode(),
            "@STOCK@": str(data.STOCK_RADDB),
            "@DATABASE@": _conninfo(place),
        }
        write_raddb(place.directory, files, placeholders)
        return Scenario(place.name, server, place.cluster)

    return build


def _conninfo(place: Place) -> str:
    host = unquote(place.cluster.url(place.database).rpartition("host=")[2])
    return f"host={host} user=postgres dbname={place.database}"


def _stock(*, counter: bool, indexed: bool) -> Build:
    modules = {"raddb/mods-enabled/sql": sites.SQL_MODULE}
    if counter:
        # Its name sorts behind sql, whose instance it looks for.
        modules["raddb/mods-enabled/sqlcounter"] = sites.COUNTER_MODULE
    bare = _bare(sites.sql_site(counter), modules, THREADS_FOR_SQL)

    def build(place: Place) -> Scenario:
        sizes = place.sizes
        data.create_stock(place.cluster, place.database, sizes.accounts, sizes.sessions, counter=counter)
        if indexed:
            data.index_stock(place.cluster, place.database)
        return bare(place)

    return build


def _ours(place: Place) -> Scenario:
    data.create_ours(place.cluster, place.database, place.sizes.accounts, place.sizes.sessions)
    settings = _our_settings(place)
    server = Freeradius(place.directory, *free_ports())
    listening = Listening(("127.0.0.1",), server.auth_port, server.acct_port)
    values = values_from_settings(
        settings, listening, require_message_authenticator=True, reject_delay_seconds=0
    )
    install_private(place.directory, values)
    return Scenario(place.name, server, place.cluster, settings, with_meter=True)


def _our_settings(place: Place) -> Settings:
    state = place.directory / "state"
    state.mkdir(parents=True)
    values = {
        "class_secret": new_class_secret(),
        "billing_url": place.cluster.url(place.database, DAEMON_ROLE),
        "packet_time_url": place.cluster.url(place.database, RADIUS_ROLE),
        "node": "bench",
    }
    write_private(state / FILE_NAME, render_settings(values))
    return load_settings(state / FILE_NAME, state)


_EMPTY = {"raddb/mods-enabled/empty": sites.EMPTY_MODULE, "empty_hooks.py": sites.EMPTY_HOOKS}
BUILDERS: dict[str, Build] = {
    "null": _bare(sites.NULL, {}),
    "noop": _bare(sites.NOOP, _EMPTY),
    "sql": _stock(counter=False, indexed=False),
    "stock": _stock(counter=True, indexed=False),
    "stock-indexed": _stock(counter=True, indexed=True),
    "ours": _ours,
}


@contextmanager
def running(names: Sequence[str], cluster: Cluster, sizes: Sizes) -> Iterator[dict[str, Scenario]]:
    """Set the named scenarios up, started and answering; all are stopped afterwards, whatever happens."""
    with running_sized({name: (name, sizes) for name in names}, cluster) as scenarios:
        yield scenarios


@contextmanager
def running_sized(kinds: Mapping[str, tuple[str, Sizes]], cluster: Cluster) -> Iterator[dict[str, Scenario]]:
    """Set scenarios up under names of their own, each a kind with an amount of data."""
    scenarios: dict[str, Scenario] = {}
    try:
        for name, (kind, sizes) in kinds.items():
            say(f"setting up {name}")
            scenarios[name] = scenario = BUILDERS[kind](Place(name, cluster, sizes))
            scenario.start()
            scenario.await_nas()
        yield scenarios
    finally:
        for scenario in scenarios.values():
            scenario.stop()
