"""Marks of use that grants have passed, told to the books (rule R21)."""

import json
from collections.abc import Iterable
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from sync_daemon.meter.batch import PassedMarks
from sync_daemon.prepared import Prepared

TELL_MARKS = Prepared(
    "tell_marks",
    ("bigint[]", "bigint[]", "text[]", "timestamptz[]", "text[]"),
    """
    WITH told AS (
        INSERT INTO radius.access_event (event_key, kind, username, entitlement_id, occurred_at, details)
        SELECT 'notice:' || entitlement_id || ':' || percent, 'usage_notice', username, entitlement_id, occurred_at,
               details::jsonb
        FROM unnest($1, $2, $3, $4, $5) AS v (entitlement_id, percent, username, occurred_at, details)
        ON CONFLICT (event_key) DO NOTHING RETURNING 1)
    SELECT pg_notify('herotill_event', '') FROM told LIMIT 1
    """,
)


def write_passed_marks(cursor: Cursor, passed: Iterable[PassedMarks]) -> None:
    """Tell each mark once for a grant, however often it is passed."""
    TELL_MARKS.execute_rows(cursor, [row for marks in passed for row in _rows(marks)])


def _rows(passed: PassedMarks) -> list[tuple[Any, ...]]:
    """One row for each mark; of several passed at once the highest overtakes the others."""
    grant, highest = passed.grant, passed.percents[-1]
    said = {
        "plan_name": grant.plan_name,
        "quota_octets": grant.quota_octets,
        "quota_seconds": grant.quota_seconds,
        "used_octets": grant.used_octets,
        "used_seconds": grant.used.seconds,
        "remaining_octets": grant.remaining_octets,
        "remaining_seconds": grant.remaining_seconds,
    }
    rows = []
    for percent in passed.percents:
        details = said | {"percent": percent, "superseded_by": None if percent == highest else highest}
        rows.append((grant.grant_id, percent, passed.username, passed.at, json.dumps(details)))
    return rows
