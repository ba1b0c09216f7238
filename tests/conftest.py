"""What all tests share: a real PostgreSQL for each test process, a fresh migrated database for each test."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner, Result

from sync_daemon import database
from sync_daemon.cli import main
from sync_daemon.embedded_postgresql import DAEMON_ROLE, OWNER_ROLE, RADIUS_ROLE, EmbeddedPostgresql
from sync_daemon.settings import (
    FILE_NAME,
    Settings,
    load_settings,
    new_class_secret,
    render_settings,
    write_private,
)

TEMPLATE = "herotill_template"
IN_A_HURRY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_numbers = itertools.count(1)

RunHerotill = Callable[..., Result]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured (their property `measured`)."""
    passed = terminalreporter.getreports("passed")
    figures = [str(value) for each in passed for name, value in each.user_properties if name == "measured"]
    if figures:
        terminalreporter.section("measured")
        for figure in dict.fromkeys(figures):
            terminalreporter.line(figure)


@contextmanager
def migrated_cluster() -> Iterator[EmbeddedPostgresql]:
    """A private PostgreSQL with a migrated template database, stopped and removed at the end."""
    # Not tmp_path: the path of a unix socket must be short, and PostgreSQL's OS user must reach it.
    directory = Path(tempfile.mkdtemp(prefix="herotill-test-"))
    postgresql = EmbeddedPostgresql(directory, IN_A_HURRY)
    try:
        postgresql.start()
        postgresql.create_database(TEMPLATE)
        owner_url = postgresql.url(OWNER_ROLE, TEMPLATE)
        database.upgrade(owner_url)
        database.allow_logins(owner_url)
        yield postgresql
    finally:
        postgresql.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgresql]:
    """The PostgreSQL of this test process."""
    with migrated_cluster() as postgresql:
        yield postgresql


@pytest.fixture
def database_name(cluster: EmbeddedPostgresql) -> Iterator[str]:
    """A fresh migrated database, dropped after the test with whoever is still connected."""
    name = f"test_{next(_numbers)}"
    cluster.create_database(name, TEMPLATE)
    yield name
    connection = psycopg2.connect(cluster.url(OWNER_ROLE, "postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


@pytest.fixture
def database_url(cluster: EmbeddedPostgresql, database_name: str) -> str:
    """The fresh database as the daemon and the CLI see it (role herotill_daemon)."""
    return cluster.url(DAEMON_ROLE, database_name)


@pytest.fixture
def packet_time_url(cluster: EmbeddedPostgresql, database_name: str) -> str:
    """The fresh database as FreeRADIUS sees it (role herotill_radius)."""
    return cluster.url(RADIUS_ROLE, database_name)


@pytest.fixture
def owner_url(cluster: EmbeddedPostgresql, database_name: str) -> str:
    """The fresh database as its owner sees it, who may change the schema."""
    return cluster.url(OWNER_ROLE, database_name)


@pytest.fixture
def state(tmp_path: Path, database_url: str, packet_time_url: str) -> Path:
    """The state directory of an installation that uses the fresh database; `herotill.yaml` is written."""
    directory = tmp_path / "state"
    (directory / "journal").mkdir(parents=True)
    values = {
        "class_secret": new_class_secret(),
        "billing_url": database_url,
        "packet_time_url": packet_time_url,
        "node": "test",
    }
    write_private(directory / FILE_NAME, render_settings(values))
    return directory


@pytest.fixture
def settings(state: Path) -> Settings:
    """The settings of that installation."""
    return load_settings(state / FILE_NAME, state)


@pytest.fixture
def run_herotill(state: Path) -> RunHerotill:
    """Run the `herotill` command on that installation: run_herotill("plan", "list").exit_code."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, ["--state", str(state), *arguments], input=stdin)

    return run
