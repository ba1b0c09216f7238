"""What the tests of faults share: a PostgreSQL of their own that can be stopped and paused, and servers that start late."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sync_daemon.embedded_postgresql import EmbeddedPostgresql
from sync_daemon.settings import Settings
from tests.conftest import migrated_cluster
from tests.faults.postgresql import Fragile
from tests.integration.conftest import INSERT_NAS, NAS_SECRET
from tests.integration.freeradius import Freeradius
from tests.integration.isp import Isp
from tests.integration.workers import Workers


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedPostgresql]:
    """A PostgreSQL nobody else uses."""
    with migrated_cluster() as postgresql:
        yield postgresql


@pytest.fixture
def postgresql(cluster: EmbeddedPostgresql, database_name: str) -> Iterator[Fragile]:
    """That PostgreSQL, to be stopped and paused; it is well again after the test."""
    fragile = Fragile(cluster)
    yield fragile
    fragile.heal()


@pytest.fixture
def isp(settings: Settings) -> Isp:
    """An ISP whose NAS has the address 127.0.0.1."""
    books = Isp(settings)
    with books.radius() as cursor:
        cursor.execute(INSERT_NAS, ("127.0.0.1", "loopback", "mikrotik", NAS_SECRET))
    return books


class Node:
    """One FreeRADIUS with its own journal and its own meter; both are stopped at the end."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self.server = Freeradius(directory, settings, NAS_SECRET)
        self._meters: list[Workers] = []

    def start_meter(self) -> None:
        self._meters.append(Workers(self.settings, "meter"))
        self._meters[-1].start()

    def stop_meter(self) -> None:
        self._meters.pop().stop()

    def stop(self) -> None:
        self.server.stop()
        while self._meters:
            self.stop_meter()


class Nodes:
    """As many as a test asks for."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings, self._directory = settings, directory
        self._nodes: list[Node] = []

    def node(self, name: str = "a", **changes: object) -> Node:
        """Describe a node; nothing is started."""
        values = {"node": name, "journal_directory": self._directory / f"journal-{name}"} | changes
        settings = replace(self._settings, **values)  # type: ignore[arg-type]
        self._nodes.append(Node(settings, self._directory / f"freeradius-{name}"))
        return self._nodes[-1]

    def running(self, name: str = "a", **changes: object) -> Node:
        """Start a node and its meter."""
        node = self.node(name, **changes)
        node.server.start()
        node.start_meter()
        return node

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()


@pytest.fixture
def nodes(tmp_path: Path, settings: Settings, isp: Isp, postgresql: Fragile) -> Iterator[Nodes]:
    """FreeRADIUS nodes on one database."""
    several = Nodes(settings, tmp_path)
    yield several
    postgresql.heal()
    several.stop()
