"""A batch of reports applied to the accounts they belong to, in memory: sessions advance, grants burn, ends are found.

Pure but for its own bookkeeping: state in, changes out. Reading and writing rows is `statements`'s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from herotill.accounting import Report
from herotill.class_token import ClassToken
from herotill.grants import Burn, Grant, burn, grant_end, with_end_written
from herotill.multiplier import PER_MILLE, charged_usage
from herotill.notices import marks_passed
from herotill.sessions import Session, apply_report, begin_session, session_of
from herotill.snapshot import AccountKind, AccountStatus, Reservation
from herotill.usage import NOTHING_USED, Usage
from herotill.value import value

IntervalKey = tuple[str, datetime, int]
"""User name, start of the hour, grant id (0: nobody granted it)."""


@dataclass(slots=True)
class Account:
    """One account under the meter: what was loaded, as the batch changes it. `kind` is None where nobody manages it.

    `since` is when the books last said anything of it, its status too.
    """

    username: str
    kind: AccountKind | None = None
    grants: dict[int, Grant] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    status: AccountStatus = AccountStatus.ACTIVE
    since: datetime | None = None


@value
class PassedMarks:
    """The marks of use a grant has passed, rising, and the grant after it (rule R21)."""

    username: str
    grant: Grant
    percents: tuple[int, ...]
    at: datetime


@dataclass(slots=True)
class Changes:
    """What a batch changed: rows to be written."""

    sessions: dict[str, Session] = field(default_factory=dict)
    grants: dict[int, Grant] = field(default_factory=dict)
    begun_grants: dict[int, tuple[str, Grant]] = field(default_factory=dict)
    intervals: dict[IntervalKey, Usage] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    released: dict[str, datetime] = field(default_factory=dict)
    received_at: dict[str, datetime] = field(default_factory=dict)
    """When the last report of each account was received: what a cut is caused by."""
    passed: dict[int, PassedMarks] = field(default_factory=dict)
    before: dict[str, Session] = field(default_factory=dict)
    """The sessions as they were loaded."""


@value
class BoundReport:
    """A report and the account it is metered to: the one its Class names, else the one its User-Name names.

    `per_mille` is what an octet counts at its NAS (rule R22).
    """

    report: Report
    token: ClassToken | None
    per_mille: int = PER_MILLE

    @property
    def username(self) -> str:
        """The account the report speaks of by itself."""
        return self.report.username if self.token is None else self.token.username

    @property
    def login_id(self) -> str | None:
        """The login its Class names."""
        return None if self.token is None else self.token.login_id


def apply_reports(
    reports: Iterable[BoundReport], accounts: dict[str, Account], sessions: Sequence[Session]
) -> Changes:
    """Apply reports in order. `sessions` are all those whose NAS names them as one of the reports does."""
    changes = Changes(before={session.acct_unique_id: session for session in sessions})
    by_key: dict[str, list[Session]] = {}
    for session in sessions:
        by_key.setdefault(session.session_key, []).append(session)
    for bound in reports:
        report, login_id = bound.report, bound.login_id
        known = by_key.setdefault(report.session_key, [])
        before = session_of(report, login_id, known)
        session = before or begin_session(report, bound.username, login_id)
        after, usage = apply_report(session, report, login_id)
        if bound.per_mille != PER_MILLE:
            usage = charged_usage(session.meter.total, after.meter.total, bound.per_mille)
        by_key[report.session_key] = [after, *(other for other in known if other is not before)]
        changes.sessions[after.acct_unique_id] = after
        account = accounts.get(after.username)
        if account is None:
            account = accounts[after.username] = Account(after.username)
        _settle(account, after, usage, report, changes)
    return changes


def _settle(account: Account, session: Session, usage: Usage, report: Report, changes: Changes) -> None:
    """Burn the usage and look whether that ended anything."""
    reserved = account.reservations.get(session.login_id or "") if account.reservations else None
    if usage:
        reserved_grant_id = None if reserved is None else reserved.grant_id
        for taken in burn(account.grants.values(), usage, report.event_at, reserved_grant_id):
            _note_burn(account, taken, report, changes)
            if reserved is not None:
                reserved = reserved.settled(taken)
    if reserved is not None:
        _note_claim(account, reserved, session, report, changes)
    _end_grants(account, report.received_at, changes)
    changes.received_at[account.username] = report.received_at


def _note_burn(account: Account, taken: Burn, report: Report, changes: Changes) -> None:
    hour = report.event_at.replace(minute=0, second=0, microsecond=0)
    key = (account.username, hour, 0 if taken.grant is None else taken.grant.grant_id)
    changes.intervals[key] = changes.intervals.get(key, NOTHING_USED) + taken.usage
    if taken.grant is None:
        return
    before = account.grants[taken.grant.grant_id]
    if before.first_used_at is None and taken.grant.first_used_at is not None:
        changes.begun_grants[taken.grant.grant_id] = (account.username, taken.grant)
    if percents := marks_passed(before, taken.grant):
        _note_marks(account, taken.grant, percents, report, changes)
    account.grants[taken.grant.grant_id] = taken.grant
    changes.grants[taken.grant.grant_id] = taken.grant


def _note_marks(
    account: Account, grant: Grant, percents: tuple[int, ...], report: Report, changes: Changes
) -> None:
    earlier = changes.passed.get(grant.grant_id)
    all_percents = percents if earlier is None else earlier.percents + percents
    changes.passed[grant.grant_id] = PassedMarks(account.username, grant, all_percents, report.event_at)


def _note_claim(
    account: Account, reserved: Reservation, session: Session, report: Report, changes: Changes
) -> None:
    """Hold the slice of a session that reports, release that of one that stopped."""
    login_id = reserved.login_id
    if session.stopped_at is None:
        reserved = account.reservations[login_id] = reserved.held(report.received_at)
    else:
        changes.released[login_id] = session.stopped_at
        del account.reservations[login_id]
    changes.reservations[login_id] = reserved


def _end_grants(account: Account, now: datetime, changes: Changes) -> None:
    for grant in account.grants.values():
        ended = with_end_written(grant, now)
        if ended is not grant:
            # In place of one that is there: the dictionary keeps its order and its size.
            account.grants[grant.grant_id] = changes.grants[grant.grant_id] = ended


def has_ended(account: Account, now: datetime) -> bool:
    """Whether the account may have sessions to be cut.

    Asked after every report, not only when a grant ends: a session may begin after the end, its Accept having been under
    way when the pool ran out.
    """
    return account.kind is not None and all(grant_end(grant, now) for grant in account.grants.values())
