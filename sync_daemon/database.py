"""Where the data is and how it is reached: URLs, connections, the SQLAlchemy engine, the schema's revision.

Every session runs in UTC, names itself in pg_stat_activity, and gives up on a statement after a bounded time.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import sqlalchemy
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import parse_dsn

from herotill.errors import InvalidValue
from sync_daemon.embedded_postgresql import DAEMON_ROLE, OWNER_ROLE, RADIUS_ROLE, EmbeddedPostgresql
from sync_daemon.resources import sql_directory
from sync_daemon.settings import Settings

DATABASE_NAME = "herotill"
CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MILLISECONDS = 60_000
IDLE_IN_TRANSACTION_MILLISECONDS = 30_000
"""A worker that stands still in a transaction (its machine is paused, or swaps) loses its locks, which others wait for."""
PATIENT_MILLISECONDS = 0
"""No such limit: for commands, which may wait for a person's answer, and hold no locks meanwhile."""
_SETTINGS = """
    SET timezone = 'UTC'; SET herotill.writer = 'herotill'; SET statement_timeout = %s;
    SET idle_in_transaction_session_timeout = %s;
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 20000
"""
_KEEPALIVES = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A machine that vanishes says no goodbye: by the kernel's own defaults both ends would wait for two hours, and what it had
locked would be nobody's to take. So each end gives up after 20 s of silence."""


def embedded_cluster(settings: Settings) -> EmbeddedPostgresql:
    """Return the private PostgreSQL of this installation, running or not."""
    return EmbeddedPostgresql(settings.state_directory / "postgresql")


def owner_urls(settings: Settings) -> tuple[str, ...]:
    """Return the URLs the schema is migrated through: one, or two when billing and radius live apart."""
    if settings.billing_url is None:
        return (embedded_cluster(settings).url(OWNER_ROLE, DATABASE_NAME),)
    return tuple(dict.fromkeys((settings.billing_url, settings.radius_url or settings.billing_url)))


def billing_url(settings: Settings) -> str:
    """Return the libpq URI of the schema billing."""
    return settings.billing_url or embedded_cluster(settings).url(DAEMON_ROLE, DATABASE_NAME)


def radius_url(settings: Settings) -> str:
    """Return the libpq URI of the schema radius, as the daemon sees it."""
    return settings.radius_url or billing_url(settings)


def are_apart(settings: Settings) -> bool:
    """Whether the books and RADIUS are in two databases."""
    return radius_url(settings) != billing_url(settings)


def packet_time_url(settings: Settings) -> str:
    """Return the libpq URI FreeRADIUS uses, with the role herotill_radius. Raises InvalidValue where none is set."""
    if settings.packet_time_url is not None:
        return settings.packet_time_url
    if not settings.embedded:
        allowed = f"with a PostgreSQL of your own it is set, with the role {RADIUS_ROLE}: FreeRADIUS is not given yours"
        raise InvalidValue("packet_time_url", None, allowed)
    return embedded_cluster(settings).url(RADIUS_ROLE, DATABASE_NAME)


def ensure_running(settings: Settings) -> None:
    """Start the embedded PostgreSQL if this installation has one and it is down."""
    if settings.embedded:
        embedded_cluster(settings).start()


def connect(
    url: str,
    application_name: str,
    *,
    autocommit: bool = False,
    statement_timeout_milliseconds: int = STATEMENT_TIMEOUT_MILLISECONDS,
    idle_in_transaction_milliseconds: int = IDLE_IN_TRANSACTION_MILLISECONDS,
) -> Connection:
    """Open a psycopg2 connection in UTC; the caller closes it. What the URL says of keepalives holds for our end.

    autocommit is for LISTEN and for single statements; otherwise the caller commits. A timeout of 0 is none.
    herotill.writer tells what our programs write from edits by hand (sql/0002_reconcile.sql). Set by a statement, because
    a connection pooler refuses these as parameters of the connection.
    """
    ours = {"application_name": application_name, "connect_timeout": CONNECT_TIMEOUT_SECONDS}
    connection: Connection = psycopg2.connect(**(_KEEPALIVES | parse_dsn(url) | ours))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_SETTINGS, (statement_timeout_milliseconds, idle_in_transaction_milliseconds))
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(url: str, application_name: str) -> Iterator[Connection]:
    """Open a connection for one transaction of a command: committed at the end, rolled back on an exception."""
    connection = connect(url, application_name, idle_in_transaction_milliseconds=PATIENT_MILLISECONDS)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def billing_engine(
    settings: Settings,
    application_name: str = "herotill",
    connections: int = 5,
    idle_in_transaction_milliseconds: int = IDLE_IN_TRANSACTION_MILLISECONDS,
) -> sqlalchemy.Engine:
    """Return a SQLAlchemy engine on the books, for so many connections at once; the caller disposes of it."""
    url, idle = billing_url(settings), idle_in_transaction_milliseconds
    return sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: connect(url, application_name, idle_in_transaction_milliseconds=idle),
        pool_pre_ping=True,
        pool_size=connections,
    )


def upgrade(url: str, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema at `url` to `revision`; return the revisions before and after.

    Safe to run from several processes at once: they wait for each other.
    """
    from alembic import command  # noqa: PLC0415 - slow to import, and only installing needs it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(sql_directory()).replace("%", "%%"))
    engine = _migration_engine(url)
    try:
        with engine.begin() as connection:
            # One lock for all migrations of this database; it ends with the transaction.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('herotill schema'))")
            config.attributes["connection"] = connection
            before = _revision(connection)
            command.upgrade(config, revision)
            return before, _revision(connection)
    finally:
        engine.dispose()


def allow_logins(url: str) -> None:
    """Let the roles of the schema log in; the embedded PostgreSQL knows them by their OS user."""
    with transaction(url, "herotill init") as connection, connection.cursor() as cursor:
        for role in (DAEMON_ROLE, RADIUS_ROLE):
            cursor.execute(f"ALTER ROLE {role} LOGIN")


def install_schema(settings: Settings) -> list[tuple[str | None, str | None]]:
    """Create the embedded database if needed and migrate every database of this installation."""
    if settings.embedded:
        cluster = embedded_cluster(settings)
        cluster.start()
        cluster.create_database(DATABASE_NAME)
    steps = [upgrade(url) for url in owner_urls(settings)]
    if settings.embedded:
        allow_logins(owner_urls(settings)[0])
    return steps


def _migration_engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: connect(url, "herotill init", statement_timeout_milliseconds=0),
        poolclass=sqlalchemy.NullPool,
    )


def _revision(connection: sqlalchemy.Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    return MigrationContext.configure(connection).get_current_revision()
