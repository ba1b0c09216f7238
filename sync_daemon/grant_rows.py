"""Rows of radius.entitlement, read as grants and written back; shared by the meter and the schedule."""

from collections.abc import Iterable, Sequence

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.grants import GRANT_COLUMNS, Grant, grant_from_values
from sync_daemon.prepared import Prepared, array

# The policy as text: there are few different ones, and each is read once (herotill.policy.read_policy).
_COLUMNS = ", ".join("policy::text" if column == "policy" else column for column in GRANT_COLUMNS)

# Every living grant, and the one that ended last: it takes over-use, and its plan says what happens at the end.
SELECT_GRANTS = Prepared(
    "select_grants",
    ("text[]",),
    f"""
    SELECT {_COLUMNS}, username FROM radius.entitlement WHERE username = ANY($1) AND ended_at IS NULL
    UNION ALL
    SELECT last.* FROM unnest($1) AS wanted (username)
    CROSS JOIN LATERAL (
        SELECT {_COLUMNS}, username FROM radius.entitlement e
        WHERE e.username = wanted.username AND e.ended_at IS NOT NULL
        ORDER BY e.ended_at DESC, e.entitlement_id DESC LIMIT 1) AS last
""",  # noqa: S608 - the columns are ours
)

START_FIRST_USES = Prepared(
    "start_first_uses",
    ("bigint[]", "timestamptz[]", "timestamptz[]"),
    """
    WITH begun AS (
        UPDATE radius.entitlement e SET first_used_at = v.first_used_at, expires_at = v.expires_at
        FROM unnest($1, $2, $3) AS v (entitlement_id, first_used_at, expires_at)
        WHERE e.entitlement_id = v.entitlement_id AND e.first_used_at IS NULL
        RETURNING e.entitlement_id, e.username, e.first_used_at),
    noted AS (
        INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at)
        SELECT 'first_use:' || entitlement_id, 'first_use', username, entitlement_id, first_used_at FROM begun
        ON CONFLICT (event_key) DO NOTHING RETURNING 1)
    SELECT pg_notify('herotill_event', '') FROM noted LIMIT 1
""",
)

END_GRANTS = Prepared(
    "end_grants",
    ("bigint[]", "timestamptz[]", "text[]"),
    """
    UPDATE radius.entitlement e SET ended_at = v.ended_at, ended_reason = v.ended_reason
    FROM unnest($1, $2, $3) AS v (entitlement_id, ended_at, ended_reason)
    WHERE e.entitlement_id = v.entitlement_id AND e.ended_at IS NULL
""",
)


def read_grants(cursor: Cursor, usernames: Sequence[str]) -> list[tuple[str, Grant]]:
    """Return the living grants of these accounts and the last ended one of each, with the account's name."""
    SELECT_GRANTS.execute(cursor, array("text[]", usernames))
    return [(row[-1], grant_from_values(row)) for row in cursor.fetchall()]


def write_first_uses(cursor: Cursor, begun: Iterable[tuple[str, Grant]]) -> None:
    """Start clocks of grants that were used for the first time in the middle of a session, and tell the books."""
    rows = [(grant.grant_id, grant.first_used_at, grant.expires_at) for _, grant in begun]
    START_FIRST_USES.execute_rows(cursor, rows)


def write_ended(cursor: Cursor, grants: Iterable[Grant]) -> None:
    """Write down the ends of those grants that have one."""
    rows = [(g.grant_id, g.ended_at, str(g.ended_reason)) for g in grants if g.ended_at is not None]
    END_GRANTS.execute_rows(cursor, rows)
