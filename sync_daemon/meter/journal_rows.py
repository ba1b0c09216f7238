"""What the journal says beside usage, and how far it has been read: positions, login outcomes, quarantine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extras import execute_values

from herotill.journal import Damaged, Record
from sync_daemon.meter.staging import copy_rows

OUTCOME = (
    "username", "occurred_at", "accepted", "reason", "login_id", "nas_address", "calling_station_id", "node",
)  # fmt: skip

# The password column stays empty (rule R36).
RADPOSTAUTH = ("username", "reply", "calledstationid", "callingstationid", "authdate", "class")

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
MOVE_POSITION = """
    INSERT INTO radius.journal_position AS p (node, segment, read_offset) VALUES (%(node)s, %(segment)s, %(end)s)
    ON CONFLICT (node, segment) DO UPDATE SET read_offset = %(end)s, updated_at = now()
    WHERE p.read_offset = %(start)s
"""

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


def write_outcomes(cursor: Cursor, outcomes: Sequence[LoginOutcome], node: str) -> None:
    """Write logins to radpostauth and, with their reasons, to login_outcome, which radpostauth has no column for."""
    known, corrections = _corrected(outcomes)
    _insert_outcomes(cursor, known, node)
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


def _insert_outcomes(cursor: Cursor, outcomes: Sequence[LoginOutcome], node: str) -> None:
    if not outcomes:
        return
    reasons = [
        (
            o.username,
            o.occurred_at,
            o.accepted,
            o.reason,
            o.login_id,
            o.nas_address,
            o.calling_station_id,
            node,
        )
        for o in outcomes
    ]
    copy_rows(cursor, "radius.login_outcome", OUTCOME, reasons)
    replies = [
        (
            o.username,
            "Access-Accept" if o.accepted else "Access-Reject",
            o.called_station_id,
            o.calling_station_id,
            o.occurred_at,
            o.login_id,
        )
        for o in outcomes
    ]
    copy_rows(cursor, "radius.radpostauth", RADPOSTAUTH, replies)


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
    cursor.execute(MOVE_POSITION, {"node": node, "segment": segment, "start": start, "end": end})
    return cursor.rowcount == 1


def forget_positions(cursor: Cursor, node: str, segments: list[str]) -> None:
    """Forget segments whose files are gone."""
    cursor.execute(FORGET_POSITIONS, (node, segments))
