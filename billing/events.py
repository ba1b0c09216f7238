"""Events: what happened that somebody outside must be told, written in the transaction in which it happened.

An event happens once per key. The worker `events` of the daemon delivers it to every sink of the settings, at least once
each; the receiver tells repetitions by the key. What a receiver makes of a kind is its business.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.models import Event
from herotill.errors import InvalidValue

MAX_KEY_CHARACTERS = 300
_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", re.ASCII)
# PostgreSQL makes one of the many of one transaction.
_NOTIFY = text("SELECT pg_notify('herotill_event', '')")

_INSERT_ALL = text("""
    INSERT INTO billing.event (event_key, kind, customer_id, payload, occurred_at)
    SELECT key, :kind, owner, payload, :now
    FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS happened (key text, payload jsonb, owner bigint)
    ON CONFLICT (event_key) DO NOTHING
""")


def emit(
    session: Session,
    kind: str,
    key: str,
    payload: Mapping[str, Any],
    now: datetime,
    customer_id: int | None = None,
) -> bool:
    """Record that something of this kind happened; False when its key was recorded before, and then nothing changes.

    `kind` is dotted lower case, such as `invoice.issued`. `payload` is what JSON can hold, and dates and times, which become
    ISO 8601 text. A customer's events are theirs to be exported and erased. Raises InvalidValue.
    """
    _check(kind, key)
    values = {
        "kind": kind,
        "event_key": key,
        "payload": json.loads(json.dumps(dict(payload), default=_as_text)),
        "occurred_at": now,
        "customer_id": customer_id,
    }
    added = insert(Event).values(values).on_conflict_do_nothing().returning(Event.event_id)
    if session.scalar(added) is None:
        return False
    session.execute(_NOTIFY)
    return True


def emit_all(
    session: Session, kind: str, happened: Sequence[tuple[str, Mapping[str, Any], int | None]], now: datetime
) -> None:
    """Record many events of one kind at once: key, payload and whose it is. Keys recorded before are passed over."""
    for key, _, _ in happened:
        _check(kind, key)
    rows = [{"key": key, "payload": dict(payload), "owner": owner} for key, payload, owner in happened]
    if rows:
        values = {"kind": kind, "events": json.dumps(rows, default=_as_text), "now": now}
        session.execute(_INSERT_ALL, values)
        session.execute(_NOTIFY)


def _check(kind: str, key: str) -> None:
    if not _KIND.fullmatch(kind):
        raise InvalidValue("kind", kind, "it is lower-case words with dots between them, like invoice.issued")
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS or not key.isprintable():
        raise InvalidValue("key", key, f"it is 1 to {MAX_KEY_CHARACTERS} printable characters")


def _as_text(value: object) -> str:
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    raise TypeError(f"an event cannot hold {type(value).__name__}")
