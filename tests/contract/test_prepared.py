"""Arrays of columns: whatever text there is comes back as it went in."""

from datetime import UTC, datetime

import pytest

from sync_daemon import database
from sync_daemon.prepared import Prepared, array

ECHO = Prepared(
    "echo",
    ("text[]", "timestamptz[]", "bigint[]", "boolean[]"),
    "SELECT * FROM unnest($1, $2, $3, $4)",
)
NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "texts",
    [
        ["anna", "berta"],
        ["", "NULL", "null"],
        [None, "NULL", None],
        ['a "quoted" one', "back\\slash", '","', "\\"],
        ["{1,2}", "comma, brace }", " spaces ", "tab\tnewline\n"],
        ["Zoë", "日本", "🙂"],
    ],
)
def test_rows_come_back_as_they_went_in(owner_url: str, texts: list[str | None]) -> None:
    rows = [(text, None if n else NOON, 2**62 + n, n == 0) for n, text in enumerate(texts)]
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        for _ in range(2):  # the second time it is planned already
            ECHO.execute_rows(cursor, rows)
            assert cursor.fetchall() == rows


def test_an_empty_array_is_one(owner_url: str) -> None:
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT cardinality(%s::text[])", (array("text[]", []),))
        assert cursor.fetchall() == [(0,)]


def test_without_rows_nothing_is_asked(owner_url: str) -> None:
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        ECHO.execute_rows(cursor, [])
        assert cursor.description is None
