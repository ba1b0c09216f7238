"""How long what happened is kept (rule R36): past its time it is deleted, in batches, oldest first.

Owns what each period removes; the periods are the setting's (sync_daemon/retention_days.py). Books,
grants and usage per hour are not here: they stay.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from sync_daemon.retention_days import RetentionDays

DELETED_AT_ONCE = 5000

# Without an index on the time: a key that rises with it finds the oldest as well, and costs the meter nothing.
_BY_KEY = """
    DELETE FROM {table} USING (SELECT {key} FROM {table} ORDER BY {key} LIMIT %(limit)s) AS oldest
    WHERE {table}.{key} = oldest.{key} AND {time} < %(before)s
"""
DELETIONS = {
    "logins": (
        _BY_KEY.format(table="radius.login_outcome", key="login_outcome_id", time="occurred_at"),
        _BY_KEY.format(table="radius.radpostauth", key="id", time="authdate"),
    ),
    # Attempts go with their request (ON DELETE CASCADE).
    "disconnects": (
        """DELETE FROM radius.coa_request WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM radius.coa_request WHERE finished_at < %(before)s ORDER BY finished_at LIMIT %(limit)s))""",
    ),
    # What a sink has not taken stays until it has, or an operator discards it.
    "events": (
        """WITH old AS MATERIALIZED (
            SELECT event_id FROM billing.event
            WHERE dispatched_at IS NOT NULL AND occurred_at < %(before)s
              AND NOT EXISTS (SELECT FROM billing.event_delivery d
                              WHERE d.event_id = event.event_id AND d.state IN ('pending', 'dead'))
            ORDER BY occurred_at LIMIT %(limit)s),
        deliveries AS (DELETE FROM billing.event_delivery USING old WHERE event_delivery.event_id = old.event_id)
        DELETE FROM billing.event USING old WHERE event.event_id = old.event_id""",
    ),
    "quarantine": (
        _BY_KEY.format(table="radius.accounting_quarantine", key="quarantine_id", time="quarantined_at"),
    ),
    "drift": (_BY_KEY.format(table="radius.drift", key="drift_id", time="mended_at"),),
}


def delete_old(
    copies: Sequence[Connection], books: Connection, kept: RetentionDays, now: datetime
) -> Iterator[tuple[str, int]]:
    """Delete what is past its time, a batch a transaction; yield after each what it was and how many.

    `copies` are the databases whose schema radius is in use.
    """
    for name, statements in DELETIONS.items():
        days: int | None = getattr(kept, name)
        if days is None:
            continue
        values: dict[str, Any] = {"before": now - timedelta(days=days), "limit": DELETED_AT_ONCE}
        wherever = [books] if name == "events" else copies
        for connection, statement in product(wherever, statements):
            deleted = DELETED_AT_ONCE
            while deleted >= DELETED_AT_ONCE:
                with connection, connection.cursor() as cursor:
                    cursor.execute(statement, values)
                    deleted = cursor.rowcount
                if deleted:
                    yield name, deleted
