"""Which commands do with a streaming replica: those that only look, `docs/operations.md`, Growing."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner, Result

from sync_daemon.cli import main
from sync_daemon.embedded_postgresql import DAEMON_ROLE, OWNER_ROLE, EmbeddedPostgresql
from sync_daemon.settings import FILE_NAME, new_class_secret, render_settings, write_private
from tests.conftest import TEMPLATE, migrated_cluster

READY_SECONDS = 60.0
LOOKS = (
    ("report", "usage"),
    ("report", "sales"),
    ("report", "expenditure"),
    ("report", "online"),
    ("report", "cuts"),
    ("sessions", "--all"),
    ("explain", "anna"),
    ("customer", "list"),
    ("account", "list"),
    ("voucher", "list"),
    ("ledger", "list"),
    ("coa", "log"),
    ("sync", "status"),
)


@pytest.fixture(scope="module")
def primary() -> Iterator[EmbeddedPostgresql]:
    """A PostgreSQL of its own that lets replicas in."""
    with migrated_cluster() as postgresql:
        with (postgresql.data_directory / "herotill_hba.conf").open("a") as file:
            file.write("local replication postgres peer map=herotill\n")
        execute(postgresql, "SELECT pg_reload_conf()")
        yield postgresql


@pytest.fixture(scope="module")
def replica(primary: EmbeddedPostgresql) -> Iterator[Path]:
    """A hot standby; its socket's directory."""
    with tempfile.TemporaryDirectory(prefix="herotill-replica-") as name:
        directory = Path(name)
        owner = primary.data_directory.stat().st_uid
        directory.chmod(0o755)
        shutil.chown(directory, owner)
        data, programs = directory / "data", primary._programs
        run(
            owner,
            programs / "pg_basebackup",
            "-R",
            "-c",
            "fast",
            "-U",
            OWNER_ROLE,
            "-h",
            primary.socket_directory,
            "-D",
            data,
        )
        adapt(data, directory)
        log = directory / "log"
        run(owner, programs / "pg_ctl", "-w", "-D", data, "-l", log, "start")
        yield directory
        run(owner, programs / "pg_ctl", "-m", "immediate", "-D", data, "stop")


@pytest.fixture
def state(tmp_path: Path, replica: Path) -> Path:
    """Settings of which every URL is the replica's."""
    url = f"postgresql://{DAEMON_ROLE}@/{TEMPLATE}?host={replica}"
    values = {"class_secret": new_class_secret(), "billing_url": url, "packet_time_url": url, "node": "test"}
    write_private(tmp_path / FILE_NAME, render_settings(values))
    return tmp_path


def adapt(data: Path, directory: Path) -> None:
    """Let the copy lie elsewhere: what names the primary's directories names its own."""
    lines = (data / "herotill.conf").read_text().splitlines()
    changed = [
        f"unix_socket_directories = '{directory}'" if "socket_directories" in line else line for line in lines
    ]
    changed = [
        f"{line.split(' ')[0]} = '{data}/herotill_{line.split('_')[0]}.conf'"
        if line.startswith(("hba_", "ident_"))
        else line
        for line in changed
    ]
    (data / "herotill.conf").write_text("\n".join(changed) + "\n")


def run(user: int, *command: object) -> None:
    # Output goes nowhere: the server inherits it.
    nowhere = subprocess.DEVNULL
    subprocess.run(
        [str(part) for part in command], user=user, cwd="/", check=True, stdout=nowhere, stderr=nowhere
    )


def execute(postgresql: EmbeddedPostgresql, statement: str) -> None:
    connection = psycopg2.connect(postgresql.url(OWNER_ROLE, TEMPLATE))
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def herotill(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *arguments])


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_what_only_looks_does_with_a_replica(state: Path, command: tuple[str, ...]) -> None:
    looked = herotill(state, *command)
    assert looked.exit_code == 0, looked.output
    assert "recovery" not in looked.output
    assert "read-only" not in looked.output


def test_what_is_written_on_the_primary_is_seen_on_the_replica(
    primary: EmbeddedPostgresql, state: Path
) -> None:
    execute(
        primary,
        "INSERT INTO radius.managed_account (username, kind, status, policy) VALUES ('zoe', 'prepaid', 'active', '{}')",
    )
    deadline = time.monotonic() + READY_SECONDS
    while (
        "zoe" not in herotill(state, "explain", "zoe").output or herotill(state, "explain", "zoe").exit_code
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_writes_is_refused_by_a_replica_in_one_line(state: Path) -> None:
    refused = herotill(state, "nas", "add", "a", "--address", "192.0.2.1", "--generate-secret")
    assert refused.exit_code == 3
    assert "is a replica" in refused.output
    assert len(refused.output.splitlines()) == 1
