"""Packet time without FreeRADIUS and PostgreSQL: a store that holds accounts in memory, and FreeRADIUS's radiusd module."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from herotill.decision import (
    GrantAllocation,
    LoginRequest,
    Preparation,
    ReserveSlice,
    StartFirstUse,
)
from herotill.journal import Record, decode_line
from herotill.nas import NasDirectory
from herotill.overlay import with_pending_logins
from herotill.snapshot import AccountSnapshot, Reservation, Row
from rlm_herotill.database import Unavailable
from rlm_herotill.pending import PendingLogins
from tests.unit.rules.build import account, begun

PASSWORD = Row("Cleartext-Password", ":=", "secret")


class FakeStore:
    """Accounts as the database has them, and as this node remembers them."""

    def __init__(self, *accounts: AccountSnapshot) -> None:
        self.accounts = {one.username: replace(one, check=(PASSWORD,)) for one in accounts}
        self.in_memory: dict[str, AccountSnapshot] = {}
        self.nases = NasDirectory([("192.0.2.1", "roof", "mikrotik", "s\\e")])
        self.is_down = False
        self.prepared: list[Preparation] = []
        self.refuses_slices = False
        self.pending = PendingLogins()

    def account(self, username: str, now: datetime) -> tuple[AccountSnapshot | None, bool]:
        if username in self.in_memory and not self.is_down:
            return self._with_pending(self.in_memory[username], now), True
        return self.reload(username, now), False

    def _with_pending(self, snapshot: AccountSnapshot, now: datetime) -> AccountSnapshot:
        return with_pending_logins(snapshot, self.pending.sessions(snapshot.username, now))

    def unchanged(self, username: str) -> AccountSnapshot | None:
        return None if self.is_down else self.in_memory.get(username)

    def remembered(self, username: str, now: datetime) -> AccountSnapshot | None:
        return self.in_memory.get(username)

    def reload(self, username: str, now: datetime) -> AccountSnapshot | None:
        if self.is_down:
            raise Unavailable("there is no connection to the database")
        known = self.accounts.get(username)
        return None if known is None else self._with_pending(known, now)

    def prepare(self, request: LoginRequest, step: Preparation, now: datetime) -> bool:
        if self.is_down:
            raise Unavailable("there is no connection to the database")
        self.prepared.append(step)
        known = self.accounts[request.username]
        match step:
            case GrantAllocation(key, until):
                granted = begun(50, quota_octets=77, first_used_at=None, expires_at=until)
                keys = known.allocation_keys | {key}
                known = replace(known, grants=(*known.grants, granted), allocation_keys=keys)
            case StartFirstUse(grant_id):
                grants = (
                    replace(g, first_used_at=now) if g.grant_id == grant_id else g for g in known.grants
                )
                known = replace(known, grants=tuple(grants))
            case ReserveSlice(grant_id, octets, until):
                if self.refuses_slices:
                    return False
                held = Reservation(request.login_id, grant_id, octets, 0, until)
                known = replace(known, reservations=(*known.reservations, held))
        self.accounts[request.username] = known
        return True


class FakeJournal:
    """Records in a list; a full disk when told."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int, str, Any]] = []
        self.is_full = False

    def append(self, line: bytes) -> tuple[str, int]:
        if self.is_full:
            raise OSError(28, "No space left on device")
        record = decode_line(line[:-1], 0)
        assert isinstance(record, Record)
        self.records.append((record.kind, record.received_at_us, record.nas_address, record.body))
        return "1.journal", len(self.records)

    def outcomes(self) -> list[tuple[bool, str]]:
        return [(body["ok"], body["reason"]) for kind, _, _, body in self.records if kind == "auth"]


def student(**changes: Any) -> AccountSnapshot:
    """student-1 with a gigabyte."""
    return account(**({"grants": (begun(quota_octets=2**30),)} | changes))
