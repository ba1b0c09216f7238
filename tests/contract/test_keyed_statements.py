"""What packet time and the meter ask for: rows of one account, or of a small table; so data can be divided by user name.

The statements are found in the sources and in the functions of the database, and PostgreSQL's own plans say by which key
each row is found. A new statement that is not keyed, or a new key, fails here.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

import rlm_herotill
import sync_daemon.meter
from herotill import nas
from sync_daemon import grant_rows, laddering, outbox
from sync_daemon.prepared import PLAN_BY_INDEXES, Prepared
from tests.contract.test_packet_time_scans import FILL

ACCOUNTS = 1_000

# One row for a router, a group, a journal segment: kept whole wherever the accounts are divided (reference tables).
SMALL = {"nas", "nas_profile", "group_allocation", "radgroupreply", "journal_position", "meter_state"}
# What a row is found by. A session is known by its own key before anybody knows whose it is; a grant, a reservation and a
# login are named by numbers that came from rows of their account.
OTHER_KEYS = {
    "session": {"session_key", "acct_unique_id", "nas_address"},
    "radacct": {"acctuniqueid"},
    "entitlement": {"entitlement_id"},
    "reservation": {"login_id"},
    "login_outcome": {"login_id"},
    "radpostauth": {"class"},
    "coa_request": {"coa_request_id", "acct_unique_id"},
}
# Statements that are about no account and read no row of one, with the reason.
SETTINGS = {"PREPARE_SNAPSHOT": "prepares SELECT_SNAPSHOT, and is explained with it"}
ALL_ACCOUNTS = {"SELECT_LIVE_ACCOUNTS": "who is online, once for a connection, in its background thread"}
IS_STATEMENT = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE|EXECUTE|PREPARE)\b")


@dataclass(frozen=True)
class Statement:
    """Its name, its text with $1, $2 ..., and the types of these."""

    name: str
    sql: str
    types: tuple[str, ...] = ()


# -- what there is


def constants(*modules: Any) -> Iterator[tuple[str, Any]]:
    for module in modules:
        for name, value in vars(module).items():
            if name.isupper() and name[0] != "_" and (isinstance(value, Prepared) or is_statement(value)):
                yield name, value


def is_statement(value: object) -> bool:
    return isinstance(value, str) and IS_STATEMENT.match(value) is not None


def submodules(package: Any) -> list[Any]:
    # hooks.py imports radiusd, which is only there inside FreeRADIUS; it has no SQL.
    found = (one.name for one in pkgutil.iter_modules(package.__path__) if one.name != "hooks")
    return [importlib.import_module(f"{package.__name__}.{name}") for name in found]


def packet_time_statements() -> dict[str, str]:
    return dict(constants(*submodules(rlm_herotill), nas))


def meter_statements() -> dict[str, Any]:
    return dict(constants(*submodules(sync_daemon.meter), grant_rows, laddering, outbox))


def as_statement(name: str, value: Any) -> Statement:
    if isinstance(value, Prepared):
        return Statement(name, value.sql, value.types)
    # psycopg2's parameters, by place or by name, become NULLs of the type the statement infers; its VALUES one such row.
    columns = re.search(r"\(([^()]*)\)\s*VALUES %s", value)
    row = ", ".join("NULL" for _ in columns[1].split(",")) if columns else ""
    return Statement(name, re.sub(r"%\(\w+\)s|%s", "NULL", value.replace("VALUES %s", f"VALUES ({row})")))


# -- functions of the database

FUNCTION = """
    SELECT prosrc, coalesce(proargnames, '{}'), ARRAY(SELECT format_type(one, NULL) FROM unnest(proargtypes) AS one)
    FROM pg_proc WHERE oid = %s::regproc
"""
DECLARED = re.compile(r"^\s*(\w+) (text|bigint);", re.MULTILINE)
INNER = re.compile(
    r"(?:;|BEGIN|THEN)\s*((?:SELECT|INSERT|UPDATE|DELETE)\b[^;]*)(?=;)|RETURN \((SELECT\b[^;]*)\)(?:::json)?;",
    re.DOTALL,
)


def inner_statements(cursor: Cursor, function: str) -> list[Statement]:
    """The statements of a PL/pgSQL function, its arguments and variables made parameters."""
    cursor.execute(FUNCTION, (function,))
    source, names, types = cursor.fetchone() or ("", [], [])
    declared, _, body = source.partition("BEGIN")
    values = dict(zip(names, types, strict=True)) | dict(DECLARED.findall(declared))
    found = enumerate(plain or returned for plain, returned in INNER.findall("BEGIN" + body))
    return [
        Statement(f"{function} {number}", parametrised(text, values), tuple(values.values()))
        for number, text in found
    ]


def parametrised(text: str, values: dict[str, str]) -> str:
    text = re.sub(r"\bINTO (?!radius\.)\w+(, \w+)*", "", text)
    for number, name in enumerate(values, 1):
        text = re.sub(rf"(?<![\w.]){name}\b(?! :=)", f"${number}", text)
    return text


# -- plans


def plan_of(cursor: Cursor, statement: Statement) -> dict[str, Any]:
    if statement.types:
        prepared = f"PREPARE keyed ({', '.join(statement.types)}) AS {statement.sql}"
        cursor.execute("DEALLOCATE ALL")
        cursor.execute(prepared)
        explained = f"EXECUTE keyed ({', '.join(['NULL'] * len(statement.types))})"
    else:
        explained = statement.sql
    cursor.execute(f"EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) {explained}")
    ((document,),) = cursor.fetchall()
    found: dict[str, Any] = document[0]["Plan"]
    return found


def reads(plan: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Every table that is read: its name, what it is called, and what its rows must fulfil, also to be joined."""
    told = " ".join([above, *(str(plan[what]) for what in CONDITIONS if what in plan)])
    below = plan.get("Plans", ())
    if "Relation Name" in plan and plan["Node Type"] != "ModifyTable":
        told += "".join(str(one.get("Index Cond", "")) for one in below)  # of a bitmap
        yield plan["Relation Name"], plan["Alias"], told
    for one in below:
        yield from reads(one, told)


CONDITIONS = ("Index Cond", "Recheck Cond", "Filter", "Join Filter", "Hash Cond", "Merge Cond")


def unkeyed(plan: dict[str, Any], others: dict[str, set[str]]) -> list[str]:
    """What is read otherwise than by the user name, or by one of these other keys, of a table that is not small."""
    return [
        f"{table}: {told}"
        for table, alias, told in reads(plan)
        if table not in SMALL and not is_keyed(told, alias, {"username"} | others.get(table, set()))
    ]


def is_keyed(told: str, alias: str, keys: set[str]) -> bool:
    """Whether a key of this table equals something: `e.username = $1`, `$1 = e.username`, `e.username = ANY (...)`."""
    column = rf"\(?{alias}\.({'|'.join(keys)})\b\)?(::\w+)?"
    return re.search(rf"{column} = |[^<>!]= {column}", told) is not None


# -- the tests


@pytest.fixture
def cursor(owner_url: str) -> Iterator[Cursor]:
    """In a database with some accounts, as the owner, planning as packet time and the meter do."""
    connection = psycopg2.connect(owner_url)
    with connection, connection.cursor() as opened:
        opened.execute(FILL, {"accounts": ACCOUNTS})
        opened.execute("ANALYZE")
        opened.execute(PLAN_BY_INDEXES)
        yield opened
    connection.close()


def explain_packet_time(cursor: Cursor) -> dict[str, list[str]]:
    """Each statement of packet time, and each within the functions it calls, with what it reads unkeyed."""
    found: dict[str, list[str]] = {}
    statements = packet_time_statements()
    cursor.execute(statements["PREPARE_SNAPSHOT"])
    found["SELECT_SNAPSHOT"] = unkeyed(plan_of(cursor, Statement("", "EXECUTE account ('anna')")), {})
    for name, sql in statements.items():
        if name in SETTINGS or name in ALL_ACCOUNTS or name in found:
            continue
        found[name] = unkeyed(plan_of(cursor, as_statement(name, sql)), {})
    for function in called_functions(statements.values()):
        for inner in inner_statements(cursor, function):
            found[inner.name] = unkeyed(plan_of(cursor, inner), {})
    return found


def called_functions(statements: Any) -> list[str]:
    called = {name for sql in statements for name in re.findall(r"(radius\.\w+)\(", sql)}
    return sorted(called - {"radius.account_parts"})  # written in SQL: PostgreSQL explains through it


def test_every_statement_of_packet_time_is_keyed_by_the_user_name(cursor: Cursor) -> None:
    found = explain_packet_time(cursor)
    assert {"SELECT_SNAPSHOT", "SELECT_SNAPSHOTS", "GRANT_ALLOCATION", "SELECT_NASES"} <= found.keys()
    within = {name.split()[0] for name in found if name.startswith("radius.")}
    assert within == {f"radius.{one}" for one in FUNCTIONS}
    assert {name: read for name, read in found.items() if read} == {}


FUNCTIONS = ("account_snapshot", "grant_allocation", "reserve_slice", "start_first_use")


def test_the_statements_within_the_functions_are_all_found(cursor: Cursor) -> None:
    counts = {one: len(inner_statements(cursor, f"radius.{one}")) for one in FUNCTIONS}
    # account_snapshot asks account_parts; the notifications are SELECTs of no table.
    assert counts == {"account_snapshot": 1, "grant_allocation": 2, "reserve_slice": 4, "start_first_use": 2}


def test_a_statement_that_is_not_keyed_by_the_user_name_is_found(cursor: Cursor) -> None:
    for sql in (
        "SELECT 1 FROM radius.entitlement WHERE entitlement_id = 1",
        "UPDATE radius.reservation SET released_at = now() WHERE login_id = 'x'",
        "SELECT 1 FROM radius.session WHERE nas_address = '192.0.2.1' AND username <> 'anna'",
    ):
        assert unkeyed(plan_of(cursor, Statement("", sql)), {}), sql


def test_everything_written_at_packet_time_says_whose_it_is(cursor: Cursor) -> None:
    for function in FUNCTIONS:
        for inner in inner_statements(cursor, f"radius.{function}"):
            inserted = re.match(r"INSERT INTO \S+ \(([^)]*)\)", inner.sql)
            assert inserted is None or "username" in inserted[1].split(", "), inner.sql


def test_every_statement_of_the_meter_is_keyed_by_the_user_name_or_by_a_key_of_its_own(
    cursor: Cursor,
) -> None:
    statements = meter_statements()
    assert {
        "LOCK_ACCOUNTS",
        "ADD_USAGE",
        "USE_GRANTS",
        "ADVANCE_SESSIONS",
        "INSERT_REQUESTS",
    } <= statements.keys()
    read = {
        name: unkeyed(plan_of(cursor, as_statement(name, value)), OTHER_KEYS)
        for name, value in statements.items()
    }
    assert {name: what for name, what in read.items() if what} == {}
