"""What integration tests share: a real FreeRADIUS on the fresh database, and one NAS on the loopback addresses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_daemon import database
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.workers import Workers

NAS_SECRET = "a secret of sixteen"

INSERT_NAS = "INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES (%s, %s, %s, %s)"


@pytest.fixture
def nas_secret(database_url: str) -> str:
    """The loopback addresses are a MikroTik each; returns their secret."""
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        for address, name in (("127.0.0.1", "loopback4"), ("::1", "loopback6")):
            cursor.execute(INSERT_NAS, (address, name, "mikrotik", NAS_SECRET))
    return NAS_SECRET


@pytest.fixture
def radius_server(tmp_path: Path, settings: Settings, nas_secret: str) -> Iterator[Freeradius]:
    """A running FreeRADIUS with our module; it must stop cleanly after the test."""
    server = Freeradius(tmp_path / "freeradius", settings, nas_secret)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def workers(settings: Settings) -> Iterator[Workers]:
    """The meter, the schedule and dynamic authorization, at work."""
    running = Workers(settings)
    running.start()
    yield running
    running.stop()
