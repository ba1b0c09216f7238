"""One batch of journal chunks applied in one transaction: usage, ends, cuts, outcomes and the journal position together."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.accounting import Malformed, NasRestart, Report, parse_accounting
from herotill.class_token import verify_class
from herotill.ending import cuts_at_end
from herotill.journal import ACCOUNTING, LOGIN, Damaged, Record
from herotill.nas import NasDirectory
from herotill.sessions import Session
from sync_daemon.meter.batch import Account, BoundReport, Changes, apply_reports, has_ended
from sync_daemon.meter.denied import end_denied_sessions
from sync_daemon.meter.journal_rows import LoginOutcome, move_position, quarantine, write_outcomes
from sync_daemon.meter.late_gifts import review_late_gifts
from sync_daemon.meter.reading import Chunk
from sync_daemon.meter.replacing import replace_old_sessions
from sync_daemon.meter.service_steps import services_before, tell_steps
from sync_daemon.meter.statements import (
    close_nas_sessions,
    load_accounts,
    load_live_sessions,
    load_sessions,
    write_changes,
)
from sync_daemon.outbox import request_cuts
from sync_daemon.prepared import Prepared

NOTIFY = Prepared(
    "notify_usage",
    ("text[]",),
    "SELECT pg_notify('herotill_usage', payload) FROM unnest($1) AS v (payload)",
)
NOTIFICATION_NAMES = 100
"""Names in one notification: its payload is limited to 8,000 octets, and a name to 253 in RADIUS (RFC 2865 §5.1)."""
NOTIFICATION_OCTETS = 7_000


class JournalReadTwice(Exception):  # noqa: N818 - it says what happened
    """Another meter has applied this journal meanwhile."""


@dataclass(frozen=True, slots=True)
class RecordReader:
    """What it takes to understand a record: whose NAS it came from, and the secret our Class is signed with."""

    nases: NasDirectory
    class_secret: bytes


@dataclass(slots=True)
class Contents:
    """What a chunk holds, understood: runs of reports with restarts of NASes between them, in order."""

    steps: list[BoundReport | tuple[NasRestart, datetime]] = field(default_factory=list)
    outcomes: list[LoginOutcome] = field(default_factory=list)
    rejected: list[tuple[Record | Damaged, str]] = field(default_factory=list)
    user_names: set[str] = field(default_factory=set)


def understand(records: Iterable[Record | Damaged], reader: RecordReader) -> Contents:
    """Sort the records of a chunk; what makes no sense is rejected with its reason, and nothing around it is."""
    contents = Contents()
    for record in records:
        if isinstance(record, Damaged):
            contents.rejected.append((record, record.reason))
            continue
        try:
            _understand_record(record, contents, reader)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            contents.rejected.append((record, f"not understood: {error!r}"))
    return contents


def _understand_record(record: Record, contents: Contents, reader: RecordReader) -> None:
    received_at = datetime.fromtimestamp(record.received_at_us / 1_000_000, UTC)
    if record.kind == LOGIN:
        contents.outcomes.append(_outcome(record, received_at))
        return
    if record.kind != ACCOUNTING:
        raise ValueError(f"unknown kind {record.kind!r}")
    input_is_upload = reader.nases.dialect_of(record.nas_address).input_is_upload
    parsed = parse_accounting(record.body, record.nas_address, received_at, input_is_upload)
    match parsed:
        case Malformed(reason):
            contents.rejected.append((record, reason))
        case NasRestart():
            contents.steps.append((parsed, received_at))
        case Report():
            contents.user_names.add(parsed.username)
            token = verify_class(reader.class_secret, parsed.class_value or "", parsed.username)
            contents.steps.append(BoundReport(parsed, token, reader.nases.multiplier_of(record.nas_address)))


def _outcome(record: Record, received_at: datetime) -> LoginOutcome:
    body: dict[str, Any] = record.body
    return LoginOutcome(
        body["user"],
        received_at,
        body["ok"],
        body["reason"],
        body["login"],
        record.nas_address,
        body["calling"],
        body["called"],
        bool(body.get("corrects")),
        bool(body.get("unsigned")),
    )


def apply_chunk(connection: Connection, node: str, chunk: Chunk, contents: Contents) -> None:
    """Apply what one chunk holds and commit. Raises JournalReadTwice, and psycopg2's errors; then nothing has happened."""
    with connection, connection.cursor() as cursor:
        if not move_position(cursor, node, chunk.segment, chunk.start, chunk.end):
            raise JournalReadTwice(chunk.segment)
        touched = set(contents.user_names)
        restarts: dict[str, str] = {}
        write_outcomes(cursor, contents.outcomes, node)
        for run in _runs(contents.steps):
            if isinstance(run, tuple):
                touched.update(close_nas_sessions(cursor, *run))
                restarts[run[0].nas_address] = run[0].event_at.isoformat()
            else:
                touched.update(_apply_run(cursor, run))
        quarantine(cursor, node, chunk.segment, contents.rejected)
        _notify(cursor, node, chunk, sorted(touched), restarts)


def _runs(
    steps: Sequence[BoundReport | tuple[NasRestart, datetime]],
) -> list[list[BoundReport] | tuple[NasRestart, datetime]]:
    """Split at every restart, which must see all that came before it."""
    runs: list[list[BoundReport] | tuple[NasRestart, datetime]] = []
    for step in steps:
        if isinstance(step, tuple):
            runs.append(step)
        elif runs and isinstance(runs[-1], list):
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def _apply_run(cursor: Cursor, reports: Sequence[BoundReport]) -> set[str]:
    accounts = load_accounts(cursor, [bound.username for bound in reports])
    sessions = load_sessions(cursor, (bound.report.session_key for bound in reports))
    # A session keeps the account it began with, also where a later report has lost its Class.
    others = {session.username for session in sessions} - accounts.keys()
    if others:
        accounts.update(load_accounts(cursor, sorted(others)))
    services = services_before(accounts)
    changes = apply_reports(reports, accounts, sessions)
    write_changes(cursor, changes)
    replace_old_sessions(cursor, accounts, changes)
    end_denied_sessions(cursor, accounts, changes)
    review_late_gifts(cursor, accounts, changes)
    stepped_at = tell_steps(cursor, accounts, changes, services)
    _cut_ended(cursor, accounts, changes, stepped_at)
    return set(changes.received_at)


def _cut_ended(
    cursor: Cursor, accounts: dict[str, Account], changes: Changes, stepped_at: Mapping[str, datetime]
) -> None:
    """Put a request for every session of an account whose last grant has ended into the outbox."""
    now = datetime.now(UTC)
    ended = [name for name in changes.received_at if has_ended(accounts[name], now)]
    if not ended:
        return
    live: dict[str, list[Session]] = {}
    for session in load_live_sessions(cursor, ended):
        live.setdefault(session.username, []).append(session)
    for name in ended:
        account = accounts[name]
        if account.kind is not None:
            grants, since = account.grants.values(), stepped_at.get(name)
            cuts = cuts_at_end(account.kind, grants, live.get(name, ()), now, since)
            request_cuts(cursor, cuts, changes.received_at[name])


def _notify(
    cursor: Cursor, node: str, chunk: Chunk, names: Sequence[str], restarts: Mapping[str, str]
) -> None:
    """Tell every node whose accounts changed and which NASes restarted, and this one how far its journal is applied."""
    told = {"node": node, "segment": chunk.segment, "offset": chunk.end}
    payloads = [json.dumps(told | {"accounts": part}, ensure_ascii=False) for part in _parts(names)]
    payloads += [
        json.dumps(told | {"accounts": [], "restarts": {nas_address: restarted_at}})
        for nas_address, restarted_at in restarts.items()
    ]
    NOTIFY.execute_rows(cursor, zip(payloads, strict=True))


def _parts(names: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = []
    room = 0
    for name in names:
        size = len(name.encode()) * 2 + 4
        if not parts or size > room:
            parts.append([])
            room = NOTIFICATION_OCTETS
        parts[-1].append(name)
        room -= size
    return parts
