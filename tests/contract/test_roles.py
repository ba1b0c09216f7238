"""Least privilege, tried by logging in as the role: packet time cannot touch the books."""

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege, ObjectNotInPrerequisiteState, RestrictViolation

from sync_daemon import database

TABLES_OF = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s ORDER BY 1"


def _tables(owner_url: str, schema: str) -> list[str]:
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        # information_schema shows only what the asking role may touch: ask as the owner.
        cursor.execute(TABLES_OF, (schema,))
        return [name for (name,) in cursor.fetchall()]


def _is_refused(connection: psycopg2.extensions.connection, statement: str) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except InsufficientPrivilege:
        return True
    except (RestrictViolation, ObjectNotInPrerequisiteState):
        return False  # the role may; an append-only table or a view lets nobody
    return False


WRITES = ("INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}")


def test_packet_time_sees_nothing_of_the_books(owner_url: str, packet_time_url: str) -> None:
    tables = _tables(owner_url, "billing")
    assert tables
    connection = database.connect(packet_time_url, "test", autocommit=True)
    try:
        for table in tables:
            for statement in ("SELECT 1 FROM {}", *WRITES):
                assert _is_refused(connection, statement.format(f"billing.{table}")), (table, statement)
    finally:
        connection.close()


def test_packet_time_writes_radius_tables_through_functions_only(
    owner_url: str, packet_time_url: str
) -> None:
    connection = database.connect(packet_time_url, "test", autocommit=True)
    try:
        for table in _tables(owner_url, "radius"):
            for statement in WRITES:
                assert _is_refused(connection, statement.format(f"radius.{table}")), (table, statement)
        assert _is_refused(connection, "SELECT coa_secret FROM radius.nas_profile")
        with connection.cursor() as cursor:
            cursor.execute("SELECT radius.account_snapshot('nobody')")
            assert cursor.fetchone() == (None,)
    finally:
        connection.close()


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE public.mine ()", "CREATE SCHEMA mine", "CREATE ROLE mine"]
)
def test_no_role_of_ours_changes_the_schema(database_url: str, packet_time_url: str, statement: str) -> None:
    for url in (database_url, packet_time_url):
        connection = database.connect(url, "test", autocommit=True)
        try:
            assert _is_refused(connection, statement)
        finally:
            connection.close()


def test_the_daemon_reads_and_writes_both_schemas(owner_url: str, database_url: str) -> None:
    connection = database.connect(database_url, "test", autocommit=True)
    try:
        for schema in ("radius", "billing"):
            for table in _tables(owner_url, schema):
                for statement in ("SELECT 1 FROM {}", "DELETE FROM {} WHERE false"):
                    assert not _is_refused(connection, statement.format(f"{schema}.{table}")), (
                        table,
                        statement,
                    )
    finally:
        connection.close()
