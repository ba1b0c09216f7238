"""One login, from the Access-Request to the answer.

authorize finds the account and hands over its password; once FreeRADIUS has authenticated, post_auth decides, commits what
has to be committed first, and renders the reply. Each outcome is journalled, once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from herotill.class_token import ClassToken, sign_class
from herotill.decision import (
    Accept,
    Decision,
    GrantAllocation,
    LoginRequest,
    Preparation,
    Prepare,
    Reject,
    ReserveSlice,
    decide,
)
from herotill.dialect import render
from herotill.journal import LOGIN
from herotill.reasons import REPLY_MESSAGES, Reason
from herotill.reply import spread_interim_interval
from herotill.snapshot import AccountSnapshot
from rlm_herotill.attributes import (
    LOGIN_ID,
    AccessRequest,
    Pairs,
    ReplyPair,
    checked_pairs,
    checked_rows,
    login_request,
    parse_access_request,
    password_pairs,
)
from rlm_herotill.database import Unavailable
from rlm_herotill.journal import JournalWriter
from rlm_herotill.store import SnapshotStore

MAX_STEPS = 8
IN_FLIGHT_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Login:
    """A login between authorize and post_auth; `snapshot` is None for an unknown user."""

    request: LoginRequest
    called_station_id: str
    snapshot: AccountSnapshot | None
    is_from_memory: bool


@dataclass(frozen=True, slots=True)
class Found:
    """authorize's answer: the known good passwords, and what post-auth needs to find this login again."""

    passwords: tuple[ReplyPair, ...]
    request_pairs: tuple[ReplyPair, ...]
    is_known: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """post_auth's answer; None as `accepted` means it was given before."""

    accepted: bool | None
    reply: tuple[ReplyPair, ...]


class LoginDesk:
    """Logins under way on this node."""

    def __init__(
        self,
        store: SnapshotStore,
        journal: JournalWriter,
        class_secret: bytes,
        complain: Callable[[str], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._class_secret = class_secret
        self._complain = complain
        self._in_flight: dict[str, Login] = {}

    def authorize(self, pairs: Pairs) -> Found:
        """Find the account. Raises Unavailable."""
        access = parse_access_request(pairs)
        request = login_request(access)
        snapshot, is_from_memory = self._store.account(request.username, _now())
        login = Login(request, access.called_station_id, snapshot, is_from_memory)
        if len(self._in_flight) >= IN_FLIGHT_LIMIT:
            self._in_flight.pop(next(iter(self._in_flight)))
        self._in_flight[request.login_id] = login
        passwords = () if snapshot is None else password_pairs(snapshot.check)
        return Found(passwords, ((LOGIN_ID, ":=", request.login_id),), snapshot is not None)

    def rejected(self, pairs: Pairs) -> Answer:
        """Say why FreeRADIUS refused, unless we refused ourselves and said so."""
        access = parse_access_request(pairs)
        if access.login_id:
            login = self._in_flight.pop(access.login_id, None)
            if login is None:
                return Answer(None, ())
            known = login.snapshot is not None
            return self._refuse(login, Reason.BAD_CREDENTIALS if known else Reason.UNKNOWN_USER)
        # authorize never found out who this is: the database did not answer.
        return self._refuse(
            Login(login_request(access), access.called_station_id, None, False), Reason.UNAVAILABLE
        )

    def authenticated(self, pairs: Pairs) -> Answer:
        """Decide a login whose password was right."""
        access = parse_access_request(pairs)
        login = self._in_flight.pop(access.login_id, None)
        if login is None or login.snapshot is None:
            return self._refuse(_stranger(access), Reason.UNKNOWN_USER)
        try:
            decision, snapshot = self._decide(login)
        except Unavailable as error:
            self._complain(f"login of {login.request.username!r} refused: {error}")
            return self._refuse(login, Reason.UNAVAILABLE)
        match decision:
            case Accept():
                return self._accept(login, snapshot, decision)
            case Reject(reason):
                return self._refuse(login, reason)
            case Prepare():
                self._complain(f"login of {login.request.username!r} did not settle in {MAX_STEPS} steps")
                return self._refuse(login, Reason.UNAVAILABLE)

    def _decide(self, login: Login) -> tuple[Decision, AccountSnapshot]:
        """Decide; commit what must be first, and believe a refusal only of a snapshot just read."""
        assert login.snapshot is not None  # noqa: S101 - the caller looked
        snapshot, is_fresh = login.snapshot, not login.is_from_memory
        exhausted: Preparation | None = None
        for _ in range(MAX_STEPS):
            now = _now()
            decision = decide(login.request, snapshot, now)
            if isinstance(decision, Prepare):
                if _asks_again(decision.step, exhausted):
                    # What we have journalled frees a slice, but the meter has not released it yet.
                    return Reject(Reason.ALL_RESERVED), snapshot
                if not self._store.prepare(login.request, decision.step, now):
                    exhausted = decision.step
            elif isinstance(decision, Accept) or is_fresh:
                break
            reloaded = self._store.reload(login.request.username, now)
            if reloaded is None:
                return Reject(Reason.UNKNOWN_USER), snapshot
            snapshot, is_fresh = _with_granted_key(reloaded, decision), True
        return decision, snapshot

    def _accept(self, login: Login, snapshot: AccountSnapshot, decision: Accept) -> Answer:
        request = login.request
        token = sign_class(self._class_secret, ClassToken(request.login_id, request.username))
        reply = spread_interim_interval(decision.reply, request.login_id)
        pairs: list[ReplyPair] = [("Class", ":=", "0x" + token.encode().hex())]
        pairs += checked_pairs(
            render(self._store.nases.dialect_of(request.nas_address), reply), self._complain
        )
        if decision.reason is Reason.ACCEPTED:
            pairs += checked_rows(snapshot.reply, self._complain)
        if not self._record(login, True, decision.reason):
            return self._refuse_unrecorded()
        self._store.note_login(request, _now())
        return Answer(True, tuple(pairs))

    def _refuse(self, login: Login, reason: Reason) -> Answer:
        self._record(login, False, reason)
        return Answer(False, (("Reply-Message", ":=", REPLY_MESSAGES[reason]),))

    def _refuse_unrecorded(self) -> Answer:
        return Answer(False, (("Reply-Message", ":=", REPLY_MESSAGES[Reason.UNAVAILABLE]),))

    def _record(self, login: Login, accepted: bool, reason: Reason) -> bool:
        request = login.request
        body = {
            "user": request.username,
            "ok": accepted,
            "reason": str(reason),
            "login": request.login_id,
            "calling": request.calling_station_id,
            "called": login.called_station_id,
        }
        try:
            self._journal.append(LOGIN, time.time_ns() // 1000, request.nas_address, body)
        except OSError as error:
            self._complain(f"the journal cannot be written, so nobody can log in: {error}")
            return False
        return True


def _asks_again(step: Preparation, exhausted: Preparation | None) -> bool:
    """Whether this is a slice of the grant that had none to give a moment ago."""
    return (
        isinstance(step, ReserveSlice)
        and isinstance(exhausted, ReserveSlice)
        and step.grant_id == exhausted.grant_id
    )


def _with_granted_key(snapshot: AccountSnapshot, decision: Decision) -> AccountSnapshot:
    """Return the snapshot knowing the key just granted, whoever granted it; the database lists only the latest keys."""
    if isinstance(decision, Prepare) and isinstance(decision.step, GrantAllocation):
        return replace(snapshot, allocation_keys=snapshot.allocation_keys | {decision.step.key})
    return snapshot


def _stranger(access: AccessRequest) -> Login:
    return Login(login_request(access), access.called_station_id, None, False)


def _now() -> datetime:
    return datetime.now(UTC)
