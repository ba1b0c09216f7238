"""Logins that were accepted moments ago and whose Start has not arrived: two at once cannot both be the last (rule R6)."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from herotill.decision import LoginRequest
from herotill.sessions import Session
from rlm_herotill.recent import Recent

LIFETIME = timedelta(seconds=60)
LIMIT = 50_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Pending(NamedTuple):
    login_id: str
    device: str
    nas_address: str
    accepted_at: datetime


class PendingLogins:
    """By user name, one for each device, each for a minute."""

    def __init__(self) -> None:
        self._known = Recent[tuple[_Pending, ...]](LIMIT)
        self._turned_at = EPOCH

    def note(self, request: LoginRequest, now: datetime) -> None:
        """Count an accepted login as a session. A device without a name cannot be told from others, and is not."""
        device = request.calling_station_id
        if not device:
            return
        if now - self._turned_at >= LIFETIME:
            self._known.turn()
            self._turned_at = now
        pending = _Pending(request.login_id, device, request.nas_address, now)
        self._known.put(request.username, (*self._others(request.username, device, now), pending))

    def others(self, username: str, device: str, now: datetime) -> int:
        """Return how many devices but this one wait."""
        return len(self._others(username, device, now))

    def _others(self, username: str, device: str, now: datetime) -> tuple[_Pending, ...]:
        known = self._known.get(username)
        if known is None or (len(known) == 1 and known[0].device == device):
            return ()
        return tuple(one for one in known if one.device != device and now - one.accepted_at < LIFETIME)

    def forget(self, request: LoginRequest) -> None:
        """Take back `note`: the password was wrong."""
        self._keep(request.username, lambda one: one.login_id != request.login_id)

    def arrived(self, username: str, device: str) -> None:
        """Forget a login whose device has reported."""
        if self._known.get(username):
            self._keep(username, lambda one: one.device != device)

    def _keep(self, username: str, wanted: Callable[[_Pending], bool]) -> None:
        kept = tuple(filter(wanted, self._known.pop(username) or ()))
        if kept:
            self._known.put(username, kept)

    def sessions(self, username: str, now: datetime) -> Iterable[Session]:
        """Return them as sessions, to be laid over what the database knows."""
        known = self._known.get(username) or ()
        return [_session(username, one) for one in known if now - one.accepted_at < LIFETIME]


def _session(username: str, pending: _Pending) -> Session:
    return Session(
        acct_unique_id=f"pending:{pending.login_id}",
        session_key="",
        username=username,
        nas_address=pending.nas_address,
        acct_session_id="",
        calling_station_id=pending.device,
        login_id=pending.login_id,
        started_at=pending.accepted_at,
        last_report_at=pending.accepted_at,
    )
