"""What the journal says beside usage, and how far it has been read: positions, login outcomes, quarantine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extras import execute_values

from herotill.journal import Damaged, Record
from sync_daemon.prepared import Prepared

# In radpostauth the password column stays empty (rule R36).
INSERT_OUTCOMES = Prepared(
    "insert_outcomes",
    (
        "text[]",
        "timestamptz[]",
        "boolean[]",
        "text[]",
        "text[]",
        "inet[]",
        "text[]",
        "text[]",
        "boolean[]",
        "text",
    ),
    """
    WITH v AS MATERIALIZED (
        SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) AS v (
            username, occurred_at, accepted, reason, login_id, nas_address, calling_station_id, called_station_id,
            unsigned)),
    explained AS (
        INSERT INTO radius.login_outcome (
            username, occurred_at, accepted, reason, login_id, nas_address, calling_station_id, unsigned, node)
        SELECT username, occurred_at, accepted, reason, login_id, nas_address, calling_station_id, unsigned, $10 FROM v)
    INSERT INTO radius.radpostauth (username, reply, calledstationid, callingstationid, authdate, class)
    SELECT username, CASE WHEN accepted THEN 'Access-Accept' ELSE 'Access-Reject' END, called_station_id,
           calling_station_id, occurred_at, login_id FROM v
    """,
)

CORRECT_OUTCOME = (
    "UPDATE radius.login_outcome SET accepted = false, reason = %(reason)s WHERE login_id = %(login_id)s"
)
CORRECT_RADPOSTAUTH = "UPDATE radius.radpostauth SET reply = 'Access-Reject' WHERE class = %(login_id)s"

QUARANTINE = """
    INSERT INTO radius.accounting_quarantine (node, segment, segment_offset, reason, record) VALUES %s
    ON CONFLICT (node, segment, segment_offset) DO NOTHING
"""

SELECT_POSITIONS = "SELECT segment, read_offset FROM radius.journal_position WHERE node = %s"

# The old offset is part of the key: should two meters ever read one journal, the slower one's batch is rolled back.
MOVE_POSITION = Prepared(
    "move_position",
    ("text", "text", "bigint", "bigint"),
    """
    INSERT INTO radius.journal_position AS p (node, segment, read_offset) VALUES ($1, $2, $4)
    ON CONFLICT (node, segment) DO UPDATE SET read_offset = $4, updated_at = now()
    WHERE p.read_offset = $3
    """,
)

FORGET_POSITIONS = "DELETE FROM radius.journal_position WHERE node = %s AND segment = ANY(%s)"


@dataclass(frozen=True, slots=True)
class LoginOutcome:
    """One login as packet time journalled it."""

    username: str
    occurred_at: datetime
    accepted: bool
    reason: str
    login_id: str
    nas_address: str
    calling_station_id: str
    called_station_id: str
    corrects: bool = False
    """Takes back an accept of the same login: the password was wrong."""
    is_unsigned: bool = False


def write_outcomes(cursor: Cursor, outcomes: Sequence[LoginOutcome], node: str) -> None:
    """Write logins to radpostauth and, with their reasons, to login_outcome, which radpostauth has no column for."""
    known, corrections = _corrected(outcomes)
    INSERT_OUTCOMES.execute_rows(cursor, map(_outcome_row, known), node)
    for correction in corrections:
        wanted = {"login_id": correction.login_id, "reason": correction.reason}
        cursor.execute(CORRECT_OUTCOME, wanted)
        cursor.execute(CORRECT_RADPOSTAUTH, wanted)


def _corrected(outcomes: Iterable[LoginOutcome]) -> tuple[list[LoginOutcome], list[LoginOutcome]]:
    """Return the outcomes with corrections of their own batch made, and the corrections of earlier ones."""
    known: dict[str, LoginOutcome] = {}
    corrections: list[LoginOutcome] = []
    for outcome in outcomes:
        if outcome.corrects and outcome.login_id not in known:
            corrections.append(outcome)
        else:
            known[outcome.login_id] = outcome
    return list(known.values()), corrections


def _outcome_row(o: LoginOutcome) -> tuple[Any, ...]:
    return (
        o.username, o.occurred_at, o.accepted, o.reason, o.login_id, o.nas_address, o.calling_station_id,
        o.called_station_id, o.is_unsigned,
    )  # fmt: skip


def quarantine(
    cursor: Cursor, node: str, segment: str, rejected: Iterable[tuple[Record | Damaged, str]]
) -> None:
    """Keep records that could not be metered, with the reason."""
    rows = [(node, segment, record.offset, reason, _as_text(record)) for record, reason in rejected]
    if rows:
        execute_values(cursor, QUARANTINE, rows)


def _as_text(record: Record | Damaged) -> str:
    if isinstance(record, Damaged):
        return record.line.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return repr((record.kind, record.received_at_us, record.nas_address, record.body))


def read_positions(cursor: Cursor, node: str) -> dict[str, int]:
    """Return how far each segment of a node's journal has been applied."""
    cursor.execute(SELECT_POSITIONS, (node,))
    return dict(cursor.fetchall())


def move_position(cursor: Cursor, node: str, segment: str, start: int, end: int) -> bool:
    """Move a position from `start` to `end`; False where somebody else has moved it."""
    MOVE_POSITION.execute(cursor, node, segment, start, end)
    return cursor.rowcount == 1


def forget_positions(cursor: Cursor, node: str, segments: list[str]) -> None:
    """Forget segments whose files are gone."""
    cursor.execute(FORGET_POSITIONS, (node, segments))
