"""Guessing refill codes is limited for everybody who has a part in it: who types, whose account, which NAS, which device.

A failure is kept for each of them. They take turns, so that tries made at once cannot all be the last one allowed
(rule R10). Successes are not limited and forgive nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

WINDOW = timedelta(minutes=15)
KEPT_FOR = timedelta(days=30)
# A NAS has many users, and an operator at a desk types for many customers.
FAILURES_ALLOWED: Mapping[str, int] = {"account": 5, "device": 5, "actor": 20, "nas": 50}

# In one order for everybody, so that nobody waits for somebody who waits for him.
_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtextextended('refill ' || :party || ' ' || :name, 0))")
_COUNT = text("""
    SELECT count(*) FROM billing.refill_failure
    WHERE party = :party AND name = :name AND failed_at > :since
""")
_ADD = text("INSERT INTO billing.refill_failure (party, name, failed_at) VALUES (:party, :name, :now)")
_FORGET = text("DELETE FROM billing.refill_failure WHERE failed_at < :before")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A code somebody typed, and who had a part in it; what is not known is empty. The code is not shown."""

    code: str = field(repr=False)
    username: str
    actor: str
    nas_address: str = ""
    device: str = ""

    @property
    def parties(self) -> list[tuple[str, str]]:
        """Return who is to be held responsible, in one order."""
        known = {
            "account": self.username,
            "actor": self.actor,
            "device": self.device,
            "nas": self.nas_address,
        }
        return [(party, name) for party, name in known.items() if name]


def too_many(session: Session, attempt: Attempt, now: datetime) -> bool:
    """Whether one of the parties has failed too often of late; holds them all until the transaction ends."""
    for party, name in attempt.parties:
        session.execute(_TAKE_TURNS, {"party": party, "name": name})
    counted = [(party, _failures(session, party, name, now)) for party, name in attempt.parties]
    return any(failures >= FAILURES_ALLOWED[party] for party, failures in counted)


def note_failure(session: Session, attempt: Attempt, now: datetime) -> None:
    """Keep a failure; the caller commits although the code was refused."""
    rows = [{"party": party, "name": name, "now": now} for party, name in attempt.parties]
    session.execute(_ADD, rows)


def forget_failures(session: Session, now: datetime) -> None:
    """Remove failures nobody counts any more."""
    session.execute(_FORGET, {"before": now - KEPT_FOR})


def _failures(session: Session, party: str, name: str, now: datetime) -> int:
    values = {"party": party, "name": name, "since": now - WINDOW}
    return int(session.execute(_COUNT, values).scalar_one())
