"""The staging of an import: every row of the file in a temporary table, and every row's problems in another (rule R4).

Rows come in by COPY and are compared, with each other and with the books, by set-based statements. The tables end with
the transaction.
"""

import io
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.confusables import skeleton
from billing.import_rows import ImportRow

KNOWN_AT_ONCE = 5_000
_SECRET_OCTETS = 15

_TABLES = text("""
    DROP TABLE IF EXISTS pg_temp.import_row, pg_temp.import_identity, pg_temp.import_known, pg_temp.import_problem;
    CREATE TEMPORARY TABLE import_row (
        line        bigint NOT NULL,
        cells       jsonb NOT NULL,
        name        text,
        username    text,
        phone       text,
        email       text,
        secret      text NOT NULL,
        fingerprint text NOT NULL,
        outcome     text NOT NULL DEFAULT 'new',       -- new, unchanged or refused
        whose       bigint                             -- customer of an unchanged row
    ) ON COMMIT DROP;
    -- What a row is told apart by: one line for each user name, phone and e-mail.
    CREATE TEMPORARY TABLE import_identity (
        line bigint NOT NULL, field text NOT NULL, value text NOT NULL, key text NOT NULL, skeleton text
    ) ON COMMIT DROP;
    CREATE TEMPORARY TABLE import_known (
        field text NOT NULL, value text NOT NULL, key text NOT NULL, skeleton text NOT NULL, customer_id bigint
    ) ON COMMIT DROP;
    CREATE TEMPORARY TABLE import_problem (
        line bigint NOT NULL, field text NOT NULL, reason text NOT NULL, is_look_alike boolean NOT NULL DEFAULT false
    ) ON COMMIT DROP
""")
_INDEXES = text("""
    CREATE UNIQUE INDEX ON pg_temp.import_row (line);
    ANALYZE pg_temp.import_row;
    ANALYZE pg_temp.import_identity
""")
# Tickets are codes, which nobody takes for a name.
_KNOWN = text("""
    SELECT 'user' AS field, username AS value, customer_id FROM billing.account
    WHERE status <> 'closed' AND customer_id IS NOT NULL
    UNION ALL
    SELECT 'email', email, customer_id FROM billing.customer WHERE email IS NOT NULL AND deleted_at IS NULL
""")
_ANALYZE_KNOWN = text("ANALYZE pg_temp.import_known")

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"})


class _Stream(io.RawIOBase):
    """What COPY reads from: lines that are made while it reads."""

    def __init__(self, lines: Iterator[str]) -> None:
        super().__init__()
        self._lines = lines

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - a little more or less does not matter
        return "".join(islice(self._lines, 500)).encode()


def stage(session: Session, rows: Iterable[ImportRow], group: str) -> int:
    """Bring every row into the staging tables and return how many there are."""
    session.execute(_TABLES)
    count = 0
    pending = iter(rows)
    # One row makes lines of three tables, and one connection copies into one table at a time.
    while chunk := list(islice(pending, 5000)):
        with _cursor(session) as cursor:
            _copy(cursor, "import_row (line, cells, name, username, phone, email, secret, fingerprint)",
                  (_row_values(row, group) for row in chunk))  # fmt: skip
            _copy(cursor, "import_identity", (value for row in chunk for value in _identities(row)))
            _copy(cursor, "import_problem (line, field, reason)",
                  ((str(row.line), each.field, each.reason) for row in chunk for each in row.problems))  # fmt: skip
        count += len(chunk)
    session.execute(_INDEXES)
    return count


def stage_known(session: Session, told: Callable[[int], None]) -> None:
    """Stage the user names and addresses of the books with what they look like; `told` hears how many at a time."""
    stream = session.execute(_KNOWN, execution_options={"yield_per": KNOWN_AT_ONCE})
    for chunk in stream.partitions(KNOWN_AT_ONCE):
        lines = (
            (row.field, row.value, row.value.lower(), skeleton(row.value), _text(row.customer_id))
            for row in chunk
        )
        with _cursor(session) as cursor:
            _copy(cursor, "import_known", lines)
        told(len(chunk))
    session.execute(_ANALYZE_KNOWN)


def _cursor(session: Session) -> Cursor:
    return cast(Cursor, session.connection().connection.cursor())


def _copy(cursor: Cursor, table: str, rows: Iterable[Sequence[str | None]]) -> None:
    lines = (
        "\t".join("\\N" if value is None else value.translate(_ESCAPES) for value in row) + "\n"
        for row in rows
    )
    cursor.copy_expert(f"COPY pg_temp.{table} FROM STDIN", _Stream(lines))


def _row_values(row: ImportRow, group: str) -> tuple[str | None, ...]:
    cells = json.dumps([cell.replace("\0", "\ufffd") for cell in row.cells], ensure_ascii=False)
    made_up = secrets.token_urlsafe(_SECRET_OCTETS)
    return (
        str(row.line), cells, row.name, row.username, row.phone, row.email, made_up, row.fingerprint(group)
    )  # fmt: skip


def _identities(row: ImportRow) -> Iterator[tuple[str, str, str, str, str | None]]:
    line = str(row.line)
    if row.username is not None:
        yield line, "user", row.username, row.username.lower(), skeleton(row.username)
    if row.email is not None:
        yield line, "email", row.email, row.email.lower(), skeleton(row.email)
    if row.phone is not None:
        yield line, "phone", row.phone, row.phone, None


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
