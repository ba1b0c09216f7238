"""Rows of radius.entitlement, read as grants and written back; shared by the meter and the schedule."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extras import execute_values

from herotill.grants import Grant, grant_from_row

# The policy as text: there are few different ones, and each is read once (herotill.policy.read_policy).
_COLUMNS = """
    username, entitlement_id, plan_name, source, counting, priority, policy::text AS policy, granted_at, quota_octets,
    quota_seconds, used_input_octets, used_output_octets, used_seconds, expires_at, seconds_after_first_use,
    seconds_after_last_use, first_used_at, last_used_at, ended_at, ended_reason
"""

# Every living grant, and the one that ended last: it takes over-use, and its plan says what happens at the end.
SELECT_GRANTS = f"""
    SELECT {_COLUMNS} FROM radius.entitlement WHERE username = ANY(%(usernames)s) AND ended_at IS NULL
    UNION ALL
    SELECT last.* FROM unnest(%(usernames)s::text[]) AS wanted (username)
    CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM radius.entitlement e
        WHERE e.username = wanted.username AND e.ended_at IS NOT NULL
        ORDER BY e.ended_at DESC, e.entitlement_id DESC LIMIT 1) AS last
"""  # noqa: S608 - the columns are ours

START_FIRST_USES = """
    WITH begun AS (
        UPDATE radius.entitlement e SET first_used_at = v.first_used_at, expires_at = v.expires_at
        FROM (VALUES %s) AS v (entitlement_id, first_used_at, expires_at)
        WHERE e.entitlement_id = v.entitlement_id AND e.first_used_at IS NULL
        RETURNING e.entitlement_id, e.username, e.first_used_at),
    noted AS (
        INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at)
        SELECT 'first_use:' || entitlement_id, 'first_use', username, entitlement_id, first_used_at FROM begun
        ON CONFLICT (event_key) DO NOTHING RETURNING 1)
    SELECT pg_notify('herotill_event', '') FROM noted LIMIT 1
"""

END_GRANTS = """
    UPDATE radius.entitlement e SET ended_at = v.ended_at, ended_reason = v.ended_reason
    FROM (VALUES %s) AS v (entitlement_id, ended_at, ended_reason)
    WHERE e.entitlement_id = v.entitlement_id AND e.ended_at IS NULL
"""


def read_grants(cursor: Cursor, usernames: Sequence[str]) -> list[tuple[str, Grant]]:
    """Return the living grants of these accounts and the last ended one of each, with the account's name."""
    cursor.execute(SELECT_GRANTS, {"usernames": list(usernames)})
    names = [column.name for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [(row["username"], grant_from_row(row)) for row in rows]


def write_first_uses(cursor: Cursor, begun: Iterable[tuple[str, Grant]]) -> None:
    """Start clocks of grants that were used for the first time in the middle of a session, and tell the books."""
    rows: list[tuple[Any, ...]] = [
        (grant.grant_id, grant.first_used_at, grant.expires_at) for _, grant in begun
    ]
    if rows:
        execute_values(cursor, START_FIRST_USES, rows, "(%s, %s::timestamptz, %s::timestamptz)")


def write_ended(cursor: Cursor, grants: Iterable[Grant]) -> None:
    """Write down the ends of those grants that have one."""
    rows = [(g.grant_id, g.ended_at, str(g.ended_reason)) for g in grants if g.ended_at is not None]
    if rows:
        execute_values(cursor, END_GRANTS, rows)
