"""Statements planned once for a connection, their rows sent as one array for each column.

That costs a third of COPY into a temporary table and a statement over it, and a hundredth of bound values.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

PLAN_BY_INDEXES = """
    SET plan_cache_mode = force_generic_plan; SET jit = off;
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SELECT set_config('plan_cache_mode', 'force_custom_plan', false) FROM pg_extension WHERE extname = 'citus'
"""
"""For a connection whose statements look up rows by their keys: one plan for one row and for a thousand, for an empty table
and for a million accounts. A plan made while a table was small must not read all of it when it is large. Citus must know the
values to tell where a row lies, so there each batch is planned."""

_prepared: "WeakKeyDictionary[Connection, set[str]]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement under a name of its own; its parameters `$1`, `$2` ... are of these types."""

    name: str
    types: tuple[str, ...]
    sql: str

    def execute(self, cursor: Cursor, *parameters: Any) -> None:
        """Run it, the first time on a connection planning it. Raises psycopg2.DataError for an impossible value."""
        known = _prepared.setdefault(cursor.connection, set())
        if self.name not in known:
            cursor.execute(f"PREPARE {self.name} ({', '.join(self.types)}) AS {self.sql}")
            known.add(self.name)
        cursor.execute(f"EXECUTE {self.name} ({', '.join(['%s'] * len(parameters))})", parameters)

    def execute_rows(self, cursor: Cursor, rows: Iterable[Sequence[Any]], *others: Any) -> None:
        """Run it with an array for each column of `rows`, and then `others`; not at all where there is no row."""
        columns = list(zip(*rows, strict=True))
        if columns:
            arrays = [array(kind, column) for kind, column in zip(self.types, columns, strict=False)]
            self.execute(cursor, *arrays, *others)


def array(kind: str, values: Sequence[Any]) -> str:
    """Return an array of the type `kind` ("text[]" ...) as PostgreSQL reads it (its manual, Array Input)."""
    return "{" + _ELEMENTS[kind](values) + "}"


def _texts(values: Sequence[Any]) -> str:
    try:
        joined = '","'.join(values)
    except TypeError:
        return ",".join(["NULL" if value is None else _quoted(str(value)) for value in values])
    if "\\" in joined or joined.count('"') != 2 * (len(values) - 1):
        return ",".join(map(_quoted, values))
    return f'"{joined}"' if values else ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _times(values: Sequence[datetime | None]) -> str:
    return ",".join(["NULL" if value is None else value.isoformat() for value in values])


def _plain(values: Sequence[Any]) -> str:
    return ",".join(map(str, values))


# One look at a whole column instead of one at each of its values.
_ELEMENTS: dict[str, Callable[[Sequence[Any]], str]] = {
    "text[]": _texts,
    "inet[]": _texts,
    "timestamptz[]": _times,
    "bigint[]": _plain,
    "boolean[]": _plain,
}
