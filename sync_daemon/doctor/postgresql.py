"""Looks at the databases: version, revision of the schema, what each role may and may not do, whose clock it is."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.errors import InvalidValue
from sync_daemon import database
from sync_daemon.doctor.findings import Finding, advice, good, unknown, wrong
from sync_daemon.resources import sql_directory
from sync_daemon.settings import Settings

VERSIONS = range(15, 19)
MOST_CLOCK_SECONDS = 1.0
TO_CONNECT = "embedded: herotill database start; your own: check billing_url, radius_url and packet_time_url"

# What the daemon needs and packet time must not have. to_regclass: a database that was never migrated has neither.
SELECT_RIGHTS = """
    SELECT session_user, coalesce(r.rolsuper, false),
           coalesce(has_schema_privilege(to_regnamespace('radius')::oid, 'USAGE'), false),
           coalesce(has_schema_privilege(to_regnamespace('billing')::oid, 'USAGE'), false)
    FROM pg_roles r WHERE rolname = session_user
"""
SELECT_UNREACHABLE = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p')
      AND NOT has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE')
"""
SELECT_READS_PACKET_TIME = "SELECT has_function_privilege('radius.account_parts(text)', 'EXECUTE')"
SELECT_WRITES = """
    SELECT coalesce(string_agg(c.relname, ', ' ORDER BY c.relname), '')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'radius' AND c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE')
"""


def look_at_databases(settings: Settings) -> Iterator[Finding]:
    """Look at every database through the URLs the daemon and FreeRADIUS use."""
    for name, url in {
        "billing": database.billing_url(settings),
        "radius": database.radius_url(settings),
    }.items():
        if name == "radius" and url == database.billing_url(settings):
            continue
        schemas = ("billing", "radius") if settings.radius_url in (None, settings.billing_url) else (name,)
        yield from _connected(f"database {name}", url, schemas)
    try:
        yield from _look_as_packet_time(database.packet_time_url(settings))
    except InvalidValue as error:
        yield wrong(
            "packet time's role", str(error), "set packet_time_url: docs/operations.md, Your own PostgreSQL"
        )


def _connected(topic: str, url: str, schemas: tuple[str, ...]) -> Iterator[Finding]:
    try:
        with database.transaction(url, "herotill doctor") as connection, connection.cursor() as cursor:
            yield _judge_version(topic, connection.server_version)
            yield _judge_clock(topic, cursor)
            if "radius" in schemas:
                yield _judge_revision(cursor)
            yield _judge_daemon(topic, cursor, schemas)
    except psycopg2.Error as error:
        yield wrong(topic, _in_one_line(error), TO_CONNECT)


def _judge_version(topic: str, number: int) -> Finding:
    major = number // 10_000
    if major in VERSIONS:
        return good(topic, f"PostgreSQL {major}.{number % 10_000}")
    return wrong(topic, f"PostgreSQL {major} is not supported", f"use {VERSIONS[0]} to {VERSIONS[-1]}")


def _judge_clock(topic: str, cursor: Cursor) -> Finding:
    before = datetime.now(UTC)
    cursor.execute("SELECT clock_timestamp()")
    (theirs,) = cursor.fetchone() or (before,)
    # Somewhere between asking and answer; where the answer was slow, so is our judgement.
    apart_seconds = max((before - theirs).total_seconds(), (theirs - datetime.now(UTC)).total_seconds())
    if apart_seconds <= MOST_CLOCK_SECONDS:
        return good(f"{topic}: clock", "agrees with ours")
    return wrong(
        f"{topic}: clock",
        f"differs from ours by {apart_seconds:.1f} s: grants end too early or too late",
        "let NTP set the clocks of both machines: timedatectl set-ntp true",
    )


def _judge_revision(cursor: Cursor) -> Finding:
    topic, wanted = "schema", _head()
    cursor.execute("SELECT to_regprocedure('radius.schema_revision()') IS NOT NULL")
    if cursor.fetchone() != (True,):
        return wrong(topic, f"older than revision {wanted}", "herotill init, with the owner's URL")
    cursor.execute("SELECT radius.schema_revision()")
    (present,) = cursor.fetchone() or (None,)
    if present == wanted:
        return good(topic, f"revision {present}")
    return wrong(
        topic, f"revision {present}, and this program needs {wanted}", "herotill init, with the owner's URL"
    )


def _head() -> str:
    from alembic.config import Config  # noqa: PLC0415 - slow to import
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(sql_directory()).replace("%", "%%"))
    return str(ScriptDirectory.from_config(config).get_current_head())


def _judge_daemon(topic: str, cursor: Cursor, schemas: tuple[str, ...]) -> Finding:
    topic = f"{topic}: role"
    cursor.execute(SELECT_RIGHTS)
    role, is_superuser, *_ = cursor.fetchone() or ("nobody", False)
    cursor.execute(SELECT_UNREACHABLE, (list(schemas),))
    (missing,) = cursor.fetchone() or (0,)
    if missing:
        mend = "use the role herotill_daemon, or repeat herotill init with the owner's URL"
        return wrong(topic, f"{role} may not use {missing} of our tables", mend)
    if is_superuser:
        return advice(
            topic,
            f"{role} is a superuser, which the daemon needs not be",
            "put herotill_daemon into billing_url",
        )
    return good(topic, f"{role} may do what the daemon does")


def _look_as_packet_time(url: str) -> Iterator[Finding]:
    topic = "packet time's role"
    try:
        with database.transaction(url, "herotill doctor") as connection, connection.cursor() as cursor:
            yield _judge_packet_time(topic, cursor)
    except psycopg2.OperationalError as error:
        yield unknown(topic, _in_one_line(error), "ask as the user FreeRADIUS runs as, or: " + TO_CONNECT)
    except psycopg2.Error as error:
        yield wrong(topic, _in_one_line(error), "herotill init, with the owner's URL")


def _judge_packet_time(topic: str, cursor: Cursor) -> Finding:
    mend = "put the role herotill_radius into packet_time_url, then herotill freeradius install"
    cursor.execute(SELECT_RIGHTS)
    role, is_superuser, sees_radius, sees_billing = cursor.fetchone() or ("nobody", False, False, False)
    if is_superuser or sees_billing:
        return wrong(topic, f"{role} can read the books, and FreeRADIUS must not", mend)
    if not sees_radius:
        return wrong(topic, f"{role} may not see the schema radius: nobody can log in", mend)
    cursor.execute(SELECT_READS_PACKET_TIME)
    if cursor.fetchone() != (True,):
        return wrong(topic, f"{role} may not ask for an account: nobody can log in", mend)
    cursor.execute(SELECT_WRITES)
    (written,) = cursor.fetchone() or ("",)
    if written:
        return wrong(topic, f"{role} may write {written}", f"{mend}; REVOKE what was granted by hand")
    return good(topic, f"{role} may log users in and nothing else")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
