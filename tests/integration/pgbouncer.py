"""A real pgbouncer for a test, in front of the PostgreSQL of the test."""

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from sync_daemon.embedded_postgresql import DAEMON_ROLE, OWNER_ROLE, RADIUS_ROLE, EmbeddedPostgresql

PROGRAM = shutil.which("pgbouncer", path="/usr/bin:/bin:/usr/sbin:/sbin")
READY_SECONDS = 30.0
STOP_SECONDS = 10.0

# Who may come in is decided by PostgreSQL in real life; here one machine talks to itself.
CONFIGURATION = """
[databases]
* = host={sockets} port=5432

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = {pool_mode}
default_pool_size = {pool_size}
server_reset_query = DISCARD ALL
logfile = {directory}/log
"""


@dataclass
class Pgbouncer:
    """One pgbouncer; `pool_mode` is session or transaction."""

    directory: Path
    postgresql: EmbeddedPostgresql
    pool_mode: str
    pool_size: int = 20

    def __post_init__(self) -> None:
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it as the user the embedded PostgreSQL runs as, and wait until it answers."""
        owner = self.postgresql.data_directory.stat().st_uid
        for path in (self.directory, self.directory / "pgbouncer.ini", self.directory / "users"):
            self._write(path, owner)
        assert PROGRAM is not None
        command = (PROGRAM, str(self.directory / "pgbouncer.ini"))
        self._process = subprocess.Popen(command, user=owner, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "pgbouncer is not ready"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, whoever is connected."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)

    def url(self, role: str, database: str) -> str:
        """Return the libpq URI of `database` through it."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def _write(self, path: Path, owner: int) -> None:
        if path.name == "users":
            path.write_text("".join(f'"{role}" ""\n' for role in (OWNER_ROLE, DAEMON_ROLE, RADIUS_ROLE)))
        elif path.suffix:
            values = {
                "sockets": self.postgresql.socket_directory,
                "port": self.port,
                "directory": self.directory,
            }
            text = CONFIGURATION.format(pool_mode=self.pool_mode, pool_size=self.pool_size, **values)
            path.write_text(text)
        else:
            path.mkdir(exist_ok=True)
        shutil.chown(path, owner)

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self.url(OWNER_ROLE, "postgres"), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
