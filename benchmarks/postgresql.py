"""The PostgreSQL of a benchmark: one private cluster, a database for each side, and so tuned alike."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sync_daemon import database
from sync_daemon.embedded_postgresql import OWNER_ROLE, EmbeddedPostgresql

PARAMETERS = {
    "shared_buffers": "512MB",
    "effective_cache_size": "4GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "512MB",
    "wal_buffers": "16MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
}
"""Durable, and roomy enough that no checkpoint falls into a run of one side only."""


@dataclass(frozen=True)
class Cluster:
    """A running private PostgreSQL and the directory everything of this benchmark lives in."""

    directory: Path
    server: EmbeddedPostgresql

    @property
    def pid(self) -> int:
        """The postmaster; every backend is its child."""
        return int((self.server.data_directory / "postmaster.pid").read_text().split("\n", 1)[0])

    def url(self, name: str, role: str = OWNER_ROLE) -> str:
        """Return the libpq URI of a database."""
        return self.server.url(role, name)

    def execute(self, name: str, *statements: str) -> None:
        """Run statements one by one, each in its own transaction and without a time limit."""
        connection = database.connect(
            self.url(name), "benchmark", autocommit=True, statement_timeout_milliseconds=0
        )
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def ask(self, name: str, query: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        with database.transaction(self.url(name), "benchmark") as connection, connection.cursor() as cursor:
            cursor.execute(query)
            rows: list[tuple[object, ...]] = cursor.fetchall()
        return rows


@contextmanager
def private_cluster() -> Iterator[Cluster]:
    """Make a cluster in a fresh directory; both are gone afterwards, whatever happens."""
    directory = Path(tempfile.mkdtemp(prefix="herotill-bench-"))
    directory.chmod(0o711)  # PostgreSQL's OS user passes through
    server = EmbeddedPostgresql(directory / "postgresql", PARAMETERS)
    try:
        server.start()
        yield Cluster(directory, server)
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
