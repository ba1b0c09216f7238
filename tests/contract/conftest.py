"""What tests of one installation with several databases share."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from sync_daemon import database
from sync_daemon.embedded_postgresql import DAEMON_ROLE, OWNER_ROLE, EmbeddedPostgresql
from sync_daemon.settings import new_class_secret, settings_from_mapping
from tests.conftest import TEMPLATE
from tests.contract.two_databases import Isp, OpenIsp

_numbers = count(1)
BEGINNING = datetime(2026, 10, 1, 9, tzinfo=UTC)


@pytest.fixture
def open_isp(cluster: EmbeddedPostgresql, tmp_path: Path) -> Iterator[OpenIsp]:
    """Open an ISP with so many databases, one or two, or one more region of another's books; all are gone afterwards."""
    names: list[str] = []
    isps: list[Isp] = []

    def fresh() -> str:
        names.append(f"test_isp_{next(_numbers)}")
        cluster.create_database(names[-1], TEMPLATE)
        return cluster.url(DAEMON_ROLE, names[-1])

    def opened(databases: int, *, books_of: Isp | None = None, region: str = "main") -> Isp:
        url = fresh() if books_of is None else books_of.billing_url
        radius_url = None if databases == 1 else fresh()
        journal = tmp_path / f"journal-{len(names)}"
        journal.mkdir()
        values = {"class_secret": new_class_secret(), "billing_url": url, "journal_directory": str(journal)}
        values |= {"region": region} | ({} if radius_url is None else {"radius_url": radius_url})
        isps.append(Isp(settings_from_mapping(values, tmp_path), BEGINNING))
        return isps[-1]

    yield opened
    for isp in isps:
        isp.engine.dispose()
    connection = database.connect(cluster.url(OWNER_ROLE, "postgres"), "test", autocommit=True)
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()
