"""Two databases: what was sold goes to RADIUS, what was used comes back, and all is told as with one (rule R30)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from sync_daemon import database
from sync_daemon.embedded_postgresql import DAEMON_ROLE, OWNER_ROLE, EmbeddedPostgresql
from sync_daemon.settings import Settings
from tests.conftest import TEMPLATE
from tests.contract import two_databases_story as story
from tests.contract.two_databases import Isp

BEGINNING = datetime(2026, 10, 1, 9, tzinfo=UTC)
OpenIsp = Callable[[int], Isp]


@pytest.fixture
def open_isp(
    cluster: EmbeddedPostgresql, settings: Settings, database_name: str, tmp_path: Path
) -> Iterator[OpenIsp]:
    """Open an ISP with so many databases, one or two; all are gone after the test."""
    numbers, names, isps = count(1), [], []

    def fresh() -> str:
        names.append(f"{database_name}_{next(numbers)}")
        cluster.create_database(names[-1], TEMPLATE)
        return cluster.url(DAEMON_ROLE, names[-1])

    def opened(databases: int) -> Isp:
        url = fresh()
        journal = tmp_path / f"journal-{len(names)}"
        journal.mkdir()
        radius_url = None if databases == 1 else fresh()
        apart = replace(settings, billing_url=url, radius_url=radius_url, journal_directory=journal)
        isps.append(Isp(apart, BEGINNING))
        return isps[-1]

    yield opened
    for isp in isps:
        isp.engine.dispose()
    connection = database.connect(cluster.url(OWNER_ROLE, "postgres"), "test", autocommit=True)
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    connection.close()


def test_r30_a_story_of_sales_and_use_is_told_alike_with_one_database_and_with_two(open_isp: OpenIsp) -> None:
    one, two = open_isp(1), open_isp(2)
    expected, told = story.tell(one, story.play(one)), story.tell(two, story.play(two))
    for what in expected:
        assert "\n".join(told[what]) == "\n".join(expected[what]), what
