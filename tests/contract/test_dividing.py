"""`herotill database distribute`: what it divides, and how it refuses where there is no Citus.

With HEROTILL_CITUS_URL, a superuser's URL of a PostgreSQL that loads Citus, the tables are really divided there. Debian has
no package of it, so elsewhere that part is skipped.
"""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg2
import pytest

from herotill.errors import InvalidValue
from sync_daemon import database
from sync_daemon.dividing import Cluster, Node, divide, undivided
from sync_daemon.prepared import PLAN_BY_INDEXES
from tests.conftest import RunHerotill

CITUS_URL = os.environ.get("HEROTILL_CITUS_URL")
NAME = "herotill_divided"


def test_without_citus_it_refuses_in_one_line_and_changes_nothing(
    run_herotill: RunHerotill, owner_url: str
) -> None:
    refused = run_herotill("database", "distribute", "--yes")
    assert refused.exit_code == 1
    assert "this PostgreSQL has no Citus" in refused.output
    assert len(refused.output.splitlines()) == 1
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        assert undivided(cursor) == ["radius.radacct_archive", "radius.usage_interval"]


@pytest.mark.parametrize("node", ["", ":5432", "host:", "host:0", "host:65536", "host:x"])
def test_a_node_that_is_none_is_refused(run_herotill: RunHerotill, node: str) -> None:
    refused = run_herotill("database", "distribute", "--node", node, "--coordinator", "a", "--yes")
    assert refused.exit_code == 2


def test_nodes_need_to_know_the_coordinator() -> None:
    assert Node.parse("db-2") == Node("db-2", 5432)
    assert Node.parse("db-2:6000") == Node("db-2", 6000)
    with pytest.raises(InvalidValue):
        Cluster(None, [Node("db-2", 5432)])


DIVISIBLE = """
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'radius' AND c.oid::regclass::text = ANY (%s)
      AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid)
      AND NOT EXISTS (
          SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND NOT EXISTS (
              SELECT FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = 'username' AND a.attnum = ANY (i.indkey)))
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND c.oid IN (conrelid, confrelid))
    ORDER BY 1
"""


def test_what_is_divided_has_no_trigger_no_foreign_key_and_the_user_name_in_every_unique_one(
    owner_url: str,
) -> None:
    wanted = ["radius.radacct_archive", "radius.usage_interval"]
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(DIVISIBLE, (wanted,))
        assert [row[0] for row in cursor.fetchall()] == wanted


# -- with Citus


@pytest.fixture
def citus_url() -> Iterator[str]:
    """A migrated database of a PostgreSQL that has Citus."""
    if CITUS_URL is None:
        pytest.skip("no PostgreSQL with Citus: HEROTILL_CITUS_URL is not set")
    _create(CITUS_URL, f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)", f"CREATE DATABASE {NAME}")
    url = urlsplit(CITUS_URL)._replace(path=f"/{NAME}").geturl()
    database.upgrade(url)
    yield url
    _create(CITUS_URL, f"DROP DATABASE {NAME} WITH (FORCE)")


def _create(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    for statement in statements:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    connection.close()


def test_what_was_used_before_is_divided_and_what_is_used_afterwards_is_counted(citus_url: str) -> None:
    add = """
        PREPARE add (text[]) AS
        INSERT INTO radius.usage_interval (username, interval_start, entitlement_id, input_octets)
        SELECT name, '2026-11-22', 1, 1 FROM unnest($1) AS name
        ON CONFLICT (username, interval_start, entitlement_id)
        DO UPDATE SET input_octets = usage_interval.input_octets + EXCLUDED.input_octets
    """
    connection = database.connect(citus_url, "test")
    with connection, connection.cursor() as cursor:
        cursor.execute(add)
        cursor.execute("EXECUTE add ('{anna,bob,carl}')")
        cursor.execute("DEALLOCATE add")
    assert divide(connection, Cluster(None, [])) == ["radius.radacct_archive", "radius.usage_interval"]
    assert divide(connection, Cluster(None, [])) == []
    with connection, connection.cursor() as cursor:
        cursor.execute(PLAN_BY_INDEXES)
        cursor.execute(add)
        cursor.execute("EXECUTE add ('{anna,dora}')")
        cursor.execute("SELECT username, input_octets FROM radius.usage_interval ORDER BY 1")
        assert cursor.fetchall() == [("anna", 2), ("bob", 1), ("carl", 1), ("dora", 1)]
        cursor.execute(
            "SELECT count(*) > 1 FROM pg_dist_shard WHERE logicalrelid = 'radius.usage_interval'::regclass"
        )
        assert cursor.fetchone() == (True,)
    connection.close()
