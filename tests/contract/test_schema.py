"""The stock tables are FreeRADIUS's own, name by name and type by type."""

import os
from pathlib import Path

import pytest

from sync_daemon import database

# A user who may not read Debian's has a copy of it made by scripts/bootstrap.
STOCK_RADDB = Path(os.environ.get("HEROTILL_STOCK_RADDB", "/etc/freeradius/3.0"))
STOCK_SCHEMA = STOCK_RADDB / "mods-config/sql/main/postgresql/schema.sql"

COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, coalesce(character_maximum_length, 0),
           regexp_replace(coalesce(column_default, ''), '[a-z]+\\.', '')
    FROM information_schema.columns WHERE table_schema = %s ORDER BY table_name, column_name
"""
INDEXES = """
    SELECT tablename, regexp_replace(replace(indexdef, schemaname || '.', ''), 'INDEX \\w+ ON', 'INDEX ON')
    FROM pg_indexes WHERE schemaname = %s ORDER BY 1, 2
"""


@pytest.mark.parametrize("question", [COLUMNS, INDEXES], ids=["columns", "indexes"])
def test_stock_tables_equal_those_of_freeradius(owner_url: str, question: str) -> None:
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA stock; SET search_path = stock")
        cursor.execute(STOCK_SCHEMA.read_text())
        cursor.execute(question, ("stock",))
        stock = cursor.fetchall()
        cursor.execute(question, ("radius",))
        ours = cursor.fetchall()
    stock_tables = {row[0] for row in stock}
    assert {
        "radacct",
        "radcheck",
        "radreply",
        "radusergroup",
        "radgroupcheck",
        "radgroupreply",
        "radpostauth",
        "nas",
    } <= (stock_tables)
    assert [row for row in ours if row[0] in stock_tables] == stock


def test_upgrading_twice_changes_nothing(owner_url: str) -> None:
    before, after = database.upgrade(owner_url)
    assert before == after == "0002"


def test_sessions_are_in_utc_and_named(database_url: str) -> None:
    with database.transaction(database_url, "a test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('TimeZone'), current_setting('application_name')")
        assert cursor.fetchone() == ("UTC", "a test")
