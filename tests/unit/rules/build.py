"""Reports, grants and accounts in the words of the tests: what a test does not say does not matter to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from herotill.accounting import Report, Status, session_key
from herotill.grants import Grant
from herotill.metering import Counter
from herotill.policy import Counting, ServicePolicy
from herotill.sessions import Session
from herotill.snapshot import AccountKind, AccountSnapshot, AccountStatus
from herotill.usage import Usage

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
INSTANT = timedelta(microseconds=1)
WORD = 1 << 32
NAS = "192.0.2.1"
PHONE = "02-00-00-00-00-01"
LAPTOP = "02-00-00-00-00-02"


def at(seconds: float) -> datetime:
    """A moment of the story, in seconds after its beginning."""
    return NOW + timedelta(seconds=seconds)


def report(status: Status, event_at: datetime, seconds: int | None = None, **changes: Any) -> Report:
    """What the NAS says of student-1's session 0001; counters default to zero, without Gigawords."""
    said: dict[str, Any] = {
        "username": "student-1",
        "nas_address": NAS,
        "acct_session_id": "0001",
        "calling_station_id": PHONE,
        "class_value": None,
        "received_at": event_at,
        "input": Counter(0),
        "output": Counter(0),
        "terminate_cause": None,
        "details": {},
    } | changes
    names = (said["username"], said["nas_address"], said["acct_session_id"], said["calling_station_id"])
    return Report(status=status, session_key=session_key(*names), event_at=event_at, seconds=seconds, **said)


def start(event_at: datetime, **changes: Any) -> Report:
    return report(Status.START, event_at, **changes)


def interim(event_at: datetime, seconds: int | None, octets: int = 0, **changes: Any) -> Report:
    return report(Status.INTERIM, event_at, seconds, output=Counter(octets), **changes)


def stop(event_at: datetime, seconds: int | None, octets: int = 0, **changes: Any) -> Report:
    return report(Status.STOP, event_at, seconds, output=Counter(octets), **changes)


def grant(grant_id: int = 1, **changes: Any) -> Grant:
    """A grant of yesterday without limits."""
    given: dict[str, Any] = {
        "plan_name": "plan",
        "source": "purchase",
        "counting": Counting.SUM,
        "priority": 100,
        "policy": ServicePolicy(),
        "granted_at": NOW - timedelta(days=1),
    } | changes
    return Grant(grant_id=grant_id, **given)


def begun(grant_id: int = 1, **changes: Any) -> Grant:
    """The same, used before."""
    return grant(grant_id, **({"first_used_at": NOW - timedelta(hours=1)} | changes))


def account(**changes: Any) -> AccountSnapshot:
    """An active prepaid account with nothing on it."""
    given: dict[str, Any] = {
        "username": "student-1",
        "kind": AccountKind.PREPAID,
        "status": AccountStatus.ACTIVE,
        "policy": ServicePolicy(),
    } | changes
    return AccountSnapshot(**given)


def session(name: str = "a", device: str = PHONE, **changes: Any) -> Session:
    """A session that is online since the beginning of the story."""
    given: dict[str, Any] = {
        "acct_unique_id": name,
        "session_key": f"key of {name}",
        "username": "student-1",
        "nas_address": NAS,
        "acct_session_id": name,
        "calling_station_id": device,
        "login_id": None,
        "started_at": NOW,
        "last_report_at": NOW,
    } | changes
    return Session(**given)


def total(usages: list[Usage]) -> Usage:
    """The sum of usages."""
    whole = Usage()
    for usage in usages:
        whole += usage
    return whole
