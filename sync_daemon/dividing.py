"""Spreads the history of use over several machines by user name, with Citus where PostgreSQL has it.

Only tables nothing else hangs on can be divided: no triggers, no keys without the user name. These are the ones that grow
for ever; all that a login reads is a few rows for each account and stays on the coordinator
(docs/decisions/0031-what-is-divided-by-user-name.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from billing.personal_tables import DIVIDED
from herotill.errors import InvalidValue, Refused

RULE = "database"
SELECT_AVAILABLE = "SELECT default_version FROM pg_available_extensions WHERE name = 'citus'"
SELECT_IS_LOADED = "SELECT current_setting('shared_preload_libraries') ~ '\\mcitus\\M'"
SELECT_MAY = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
CREATE = "CREATE EXTENSION IF NOT EXISTS citus"
SET_COORDINATOR = "SELECT citus_set_coordinator_host(%s, %s)"
ADD_NODE = "SELECT citus_add_node(%s, %s)"
SELECT_IS_DIVIDED = "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = %s::regclass)"
DIVIDE = "SELECT create_distributed_table(%s, 'username', shard_count => %s)"
SHARDS = 32
"""Citus's own default: room for 32 machines without dividing anew."""


@dataclass(frozen=True, slots=True)
class Node:
    """Where a PostgreSQL with Citus listens, as the others reach it."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Node":
        """Return the node of `HOST` or `HOST:PORT`. Raises InvalidValue."""
        host, _, port = text.rpartition(":") if ":" in text else (text, ":", "5432")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise InvalidValue("node", text, "HOST or HOST:PORT")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True)
class Cluster:
    """The coordinator, which is the database of the settings, and the machines the rows shall lie on."""

    coordinator: Node | None
    workers: Sequence[Node]
    shards: int = SHARDS

    def __post_init__(self) -> None:
        if self.workers and self.coordinator is None:
            raise InvalidValue("coordinator", None, "where the other nodes reach this database, as HOST:PORT")


def refuse_without_citus(cursor: Cursor) -> str:
    """Return Citus's version. Raises Refused where this PostgreSQL has none, or does not load it, or we may not use it."""
    cursor.execute(SELECT_AVAILABLE)
    row = cursor.fetchone()
    if row is None:
        raise Refused(
            "this PostgreSQL has no Citus (Debian has no package of it): install the extension from its maker's packages, "
            "or go on without: docs/operations.md, Growing",
            RULE,
        )
    cursor.execute(SELECT_IS_LOADED)
    if cursor.fetchone() != (True,):
        raise Refused(
            "Citus is not loaded: shared_preload_libraries = 'citus' in postgresql.conf, then restart PostgreSQL",
            RULE,
        )
    cursor.execute(SELECT_MAY)
    if cursor.fetchone() != (True,):
        raise Refused(
            "Citus is set up by a superuser: use the owner's URL (herotill --config owner.yaml)", RULE
        )
    return str(row[0])


def undivided(cursor: Cursor) -> list[str]:
    """Return the tables that can be divided and are not."""
    cursor.execute("SELECT to_regclass('pg_dist_partition') IS NOT NULL")
    if cursor.fetchone() != (True,):
        return sorted(DIVIDED)
    found = []
    for table in sorted(DIVIDED):
        cursor.execute(SELECT_IS_DIVIDED, (table,))
        if cursor.fetchone() != (True,):
            found.append(table)
    return found


def divide(connection: Connection, cluster: Cluster) -> list[str]:
    """Divide what can be and is not; return these tables. All or nothing; writers wait meanwhile."""
    with connection, connection.cursor() as cursor:
        refuse_without_citus(cursor)
        cursor.execute(CREATE)
        _add_nodes(cursor, cluster)
        tables = undivided(cursor)
        for table in tables:
            cursor.execute(DIVIDE, (table, cluster.shards))
    return tables


def _add_nodes(cursor: Cursor, cluster: Cluster) -> None:
    if cluster.coordinator is not None:
        cursor.execute(SET_COORDINATOR, (cluster.coordinator.host, cluster.coordinator.port))
    for node in cluster.workers:
        _load_on(node, cursor.connection)
        cursor.execute(ADD_NODE, (node.host, node.port))


def _load_on(node: Node, coordinator: Connection) -> None:
    """Create the extension on a worker, in the database of the same name, as the same role."""
    parameters: dict[str, Any] = coordinator.get_dsn_parameters() | {
        "host": node.host,
        "port": str(node.port),
    }
    parameters.pop("hostaddr", None)
    connection = psycopg2.connect(password=coordinator.info.password or None, **parameters)
    try:
        with connection, connection.cursor() as cursor:
            refuse_without_citus(cursor)
            cursor.execute(CREATE)
    finally:
        connection.close()
