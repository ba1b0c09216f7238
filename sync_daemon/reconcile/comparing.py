"""Finding what differs: sums of hashes where rows are many, then the rows behind unequal sums, one query for each table.

What the books want is carried into temporary tables of the RADIUS connection, so one database and two work alike. Where both
schemas are in one database, both connections see one snapshot.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.reconciling import Change, changed_fields
from sync_daemon.database import PATIENT_MILLISECONDS, are_apart, billing_url, connect, radius_url
from sync_daemon.reconcile.carrying import carry, carry_few
from sync_daemon.reconcile.relations import BY_NAME, RELATIONS, SUMMED, Relation, Scope
from sync_daemon.returning.carrying import Region
from sync_daemon.returning.regions import join
from sync_daemon.settings import Settings

BUCKETS = 1 << 14
CHANGES_AT_ONCE = 1_000
STATEMENT_TIMEOUT_MILLISECONDS = 600_000

_PREPARE = """
    CREATE TEMPORARY TABLE wanted (name text NOT NULL, item text NOT NULL, content jsonb NOT NULL);
    CREATE TEMPORARY TABLE uneven (
        relation text NOT NULL, name text NOT NULL, item text NOT NULL, content jsonb NOT NULL, surplus integer NOT NULL);
    SET work_mem = '64MB'; SET jit = off; SET herotill.writer = 'reconcile';
"""
_COMPARE = """
    INSERT INTO uneven
    SELECT %(relation)s, name, item, content, sum(side) FROM (
        SELECT name, item, content, -1 AS side FROM wanted
        UNION ALL
        SELECT name, item, content, 1 FROM ({present}) AS present) AS both_sides
    GROUP BY name, item, content HAVING sum(side) <> 0
"""
_READ = "SELECT relation, name, item, content, surplus FROM uneven ORDER BY relation, name, item, surplus, content"
# What the meter may have done to a grant beside the books: start its first clock, and end it for a reason it has.
_EXPLAINED = """
    SELECT external_key FROM radius.entitlement e
    JOIN jsonb_to_recordset(%s) AS w (external_key text, expires_at timestamptz) USING (external_key)
    WHERE (ended_at IS NULL OR (ended_reason = 'quota' AND used_octets >= quota_octets)
           OR (ended_reason = 'time' AND used_seconds >= quota_seconds)
           OR (ended_reason = 'expiry' AND (e.expires_at <= ended_at OR seconds_after_last_use IS NOT NULL)))
      AND (e.expires_at IS NOT DISTINCT FROM w.expires_at
           OR e.expires_at = LEAST(w.expires_at, first_used_at + make_interval(secs => seconds_after_first_use)))
"""
# With several RADIUS databases each has the accounts of its region.
_IN_REGION = "name IN (SELECT username FROM billing.account_region WHERE region_id = {region_id})"
_IS_DIVIDED = "SELECT count(*) > 1 FROM billing.region"
_ELSEWHERE = """
    SELECT external_key FROM billing.granted JOIN billing.account_region USING (username)
    WHERE external_key = ANY(%s) AND region_id <> {region_id}
"""
_GRANTED = """
    SELECT external_key, to_jsonb(granted) - 'external_key' - 'entitlement_id' FROM billing.granted
    WHERE external_key = ANY(%s) AND ended_at IS NOT NULL
"""


@dataclass(frozen=True)
class Databases:
    """The two connections: to the books, which are read, and to RADIUS. Both in a transaction of the caller's.

    `region` is which RADIUS database that is, where it is not the one of the books.
    """

    books: Connection
    radius: Connection
    region: Region | None = None

    @property
    def is_one(self) -> bool:
        """Whether both are connected to the same database."""
        return self.region is None

    def close(self) -> None:
        """Close both."""
        self.books.close()
        self.radius.close()

    def share_snapshot(self) -> None:
        """Let both see the same moment, where there is one database; call it first in both transactions."""
        with self.books.cursor() as books, self.radius.cursor() as radius:
            books.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if self.is_one:
                books.execute("SELECT pg_export_snapshot()")
                (snapshot,) = books.fetchone() or (None,)
                radius.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                radius.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))


def open_databases(settings: Settings, who: str = "herotill sync") -> Databases:
    """Connect to both and make the temporary tables. Raises psycopg2.OperationalError.

    Raises Refused where the two do not belong together (sync_daemon/returning/regions.py).
    """
    books = _connect(billing_url(settings), f"{who} books")
    try:
        radius = _connect(radius_url(settings), who)
    except BaseException:
        books.close()
        raise
    with radius, radius.cursor() as cursor:
        cursor.execute(_PREPARE)
    if not are_apart(settings):
        return Databases(books, radius)
    try:
        return Databases(books, radius, join(books, radius, settings.region))
    except BaseException:
        books.close()
        radius.close()
        raise


def _connect(url: str, who: str) -> Connection:
    # One side waits, in a transaction, for as long as the other reads; whoever takes locks sets a limit (mending.py).
    return connect(
        url,
        who,
        statement_timeout_milliseconds=STATEMENT_TIMEOUT_MILLISECONDS,
        idle_in_transaction_milliseconds=PATIENT_MILLISECONDS,
    )


def compare_all(databases: Databases) -> None:
    """Fill `uneven` with every difference there is. Ends what was in the transactions of both connections."""
    databases.books.rollback()
    databases.radius.rollback()
    databases.share_snapshot()
    with databases.radius.cursor() as cursor:
        cursor.execute("TRUNCATE uneven")
    for relation in _relations(databases):
        if relation.name not in SUMMED:
            _compare(databases, relation, "true", {})
        elif buckets := _unequal_buckets(databases, relation):
            condition = f"hashtext(name) & {BUCKETS - 1} = ANY(%(buckets)s)"
            few = len(buckets) < BUCKETS // 2
            _compare(databases, relation, condition if few else "true", {"buckets": buckets})


def compare_names(databases: Databases, scope: Scope, names: Sequence[str]) -> None:
    """Fill `uneven` with the differences of these names."""
    with databases.radius.cursor() as cursor:
        cursor.execute("DELETE FROM uneven")
    for relation in _relations(databases):
        if relation.scope is scope:
            _compare(databases, relation, "name = ANY(%(names)s)", {"names": list(names)})


def _relations(databases: Databases) -> Iterable[Relation]:
    return (relation for relation in RELATIONS if not (databases.is_one and relation.apart))


def _wanted(databases: Databases, relation: Relation) -> str:
    """Return what the books want of this relation, here."""
    region = databases.region
    if region is None or relation.scope is not Scope.ACCOUNT or not _is_divided(databases.books):
        return relation.wanted
    condition = _IN_REGION.format(region_id=region.region_id)
    return f"SELECT * FROM ({relation.wanted}) AS everywhere WHERE {condition}"  # noqa: S608 - our own text


def _is_divided(books: Connection) -> bool:
    with books.cursor() as cursor:
        cursor.execute(_IS_DIVIDED)
        return cursor.fetchone() == (True,)


def _compare(databases: Databases, relation: Relation, condition: str, values: Mapping[str, Any]) -> None:
    with databases.books.cursor() as books, databases.radius.cursor() as radius:
        radius.execute("DELETE FROM wanted" if "names" in values else "TRUNCATE wanted")
        query = f"{relation.as_rows(_wanted(databases, relation))} WHERE {condition}"
        if relation.entered_in_radius or (databases.is_one and "names" in values):
            radius.execute(f"INSERT INTO wanted {query}", values)
        else:
            (carry_few if "names" in values else carry)(books, books.mogrify(query, values), radius, "wanted")
        if "names" not in values:
            radius.execute("ANALYZE wanted")
        statement = _COMPARE.format(present=f"{relation.as_rows(relation.present)} WHERE {condition}")
        radius.execute(statement, {**values, "relation": relation.name})


def _unequal_buckets(databases: Databases, relation: Relation) -> list[int]:
    """Return the buckets of names in which the two sides have not the same rows."""
    rows = _wanted(databases, relation)
    with ThreadPoolExecutor(1) as other:
        wanted = other.submit(_sums, databases.books, relation.as_sums(rows, BUCKETS - 1))
        columns = relation.present_once or relation.present
        present = _sums(databases.radius, relation.as_sums(columns, BUCKETS - 1))
    return sorted({bucket for bucket, _, _ in wanted.result() ^ present})


def _sums(connection: Connection, statement: str) -> set[tuple[int, int, str]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return set(cursor.fetchall())


def read_changes(databases: Databases) -> Iterator[list[Change]]:
    """Yield the changes `uneven` stands for, a thousand at a time; what is nobody's and what the meter did is left out."""
    with databases.radius.cursor("uneven") as cursor:
        cursor.itersize = CHANGES_AT_ONCE
        cursor.execute(_READ)
        pairs = (
            change for _, rows in groupby(cursor, key=lambda row: row[:3]) for change in _paired(list(rows))
        )
        while page := list(islice(pairs, CHANGES_AT_ONCE)):
            yield _of_ours(databases, page)


def _paired(rows: Sequence[tuple[Any, ...]]) -> Iterator[Change]:
    """Make one change of what is missing and what is too much under one name and item, where that is what it is."""
    relation, name, item = rows[0][:3]
    missing = [(content, -surplus) for *_, content, surplus in rows if surplus < 0]
    extra = [(content, surplus) for *_, content, surplus in rows if surplus > 0]
    if len(missing) == len(extra) == 1 and missing[0][1] == extra[0][1] == 1:
        yield Change(relation, name, item, extra[0][0], missing[0][0])
        return
    for content, count in extra:
        yield Change(relation, name, item, content, None, count)
    for content, count in missing:
        yield Change(relation, name, item, None, content, count)


def _of_ours(databases: Databases, page: Sequence[Change]) -> list[Change]:
    kept: list[Change] = []
    for name, changes in groupby(page, key=lambda change: change.relation):
        relation = BY_NAME[name]
        chosen = list(changes)
        if relation.name == "entitlement":
            chosen = _of_grants(databases, chosen)
        elif relation.known is not None:
            chosen = _of_known(databases.books, relation.known, chosen)
        kept.extend(chosen)
    return kept


def _of_known(books: Connection, query: str, changes: Sequence[Change]) -> list[Change]:
    """Leave out rows whose name the books have never known."""
    doubtful = [change.name for change in changes if change.after is None]
    if not doubtful:
        return list(changes)
    with books.cursor() as cursor:
        cursor.execute(query, (doubtful,))
        known = {row[0] for row in cursor.fetchall()}
    return [change for change in changes if change.after is not None or change.name in known]


def _of_grants(databases: Databases, changes: Sequence[Change]) -> list[Change]:
    """Leave out what the meter did, and grants nobody sold; what the books ended is to end, what moved on is to go."""
    explained = _explained(databases.radius, [change for change in changes if _may_be_the_meters(change)])
    extra = [change.item for change in changes if change.after is None]
    ended = _ended(databases.books, extra)
    moved = _elsewhere(databases, extra)
    kept = []
    for change in changes:
        if change.after is None and change.item in ended:
            kept.append(Change(change.relation, change.name, change.item, change.before, ended[change.item]))
        elif change.item in moved or (change.after is not None and change.item not in explained):
            kept.append(change)
    return kept


def _may_be_the_meters(change: Change) -> bool:
    if change.before is None or change.after is None:
        return False
    return not set(changed_fields(change.before, change.after)) - {"expires_at", "ended_at", "ended_reason"}


def _explained(radius: Connection, changes: Iterable[Change]) -> set[str]:
    wanted = [
        {"external_key": change.item, "expires_at": change.after["expires_at"]}
        for change in changes
        if change.after is not None
    ]
    return {row[0] for row in _asked(radius.cursor(), _EXPLAINED, json.dumps(wanted))} if wanted else set()


def _ended(books: Connection, keys: Sequence[str]) -> dict[str, Any]:
    return dict(_asked(books.cursor(), _GRANTED, list(keys))) if keys else {}


def _elsewhere(databases: Databases, keys: Sequence[str]) -> set[str]:
    """Return the keys of grants whose account belongs to another region now."""
    if databases.region is None or not keys or not _is_divided(databases.books):
        return set()
    query = _ELSEWHERE.format(region_id=databases.region.region_id)
    return {row[0] for row in _asked(databases.books.cursor(), query, list(keys))}


def _asked(cursor: Cursor, statement: str, value: object) -> list[Any]:
    with cursor:
        cursor.execute(statement, (value,))
        return cursor.fetchall()
