"""One login, from the Access-Request to the answer.

authorize finds the account and hands over its password; once FreeRADIUS has authenticated, post_auth decides, commits what
has to be committed first, and renders the reply. Each outcome is journalled, once.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from herotill.dialect import Dialect
from herotill.journal import LoginRecord, encode_login
from herotill.outage import decide_in_outage
from herotill.reasons import REPLY_MESSAGES, Reason
from herotill.reply import Reply, carried_reply, spread_interim_interval
from herotill.snapshot import AccountSnapshot, Row
from rlm_herotill.attributes import (
    ACCEPT_UNSEEN,
    DECIDED,
    LOGIN_ID,
    AccessRequest,
    ReplyPair,
    login_request,
    password_pairs,
)
from rlm_herotill.database import Unavailable
from rlm_herotill.guessing import Guesses
from rlm_herotill.journal import JournalWriter
from rlm_herotill.recent import Recent
from rlm_herotill.settings import PacketTimeSettings
from rlm_herotill.standing import StandingAnswers, reply_pairs
from rlm_herotill.store import SnapshotStore
from rlm_herotill.under_way import (
    Answer,
    Found,
    Login,
    accepted_before,
    login_under_way,
    ordinary_accept,
    reason_of_rejection,
    stranger,
)

MAX_STEPS = 8
IN_FLIGHT_LIMIT = 25_000


class LoginDesk:
    """Logins under way on this node."""

    def __init__(
        self,
        store: SnapshotStore,
        journal: JournalWriter,
        settings: PacketTimeSettings,
        complain: Callable[[str], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._settings = settings
        self._complain = complain
        self._standing = StandingAnswers(complain)
        self._in_flight = Recent[Login](IN_FLIGHT_LIMIT)
        self._guesses = Guesses()

    def authorize(self, access: AccessRequest) -> Found:
        """Find the account; while the database is away, as it was known last."""
        if self._guesses.must_wait(access.source, access.calling_station_id):
            return self._make_wait(access)
        if not access.is_one_of_many and (found := self._answer_at_once(access)) is not None:
            return found
        request = login_request(access)
        login = self._find(access, request)
        if not _was_used(login.snapshot) and self._guesses.is_guessed_at(access.source):
            return self._make_wait(access)
        mark: ReplyPair = (LOGIN_ID, ":=", request.login_id)
        if login.snapshot is not None:
            passwords = password_pairs(login.snapshot.check)
            early = None if access.is_one_of_many else self._accept_early(login, login.snapshot)
            if early is not None:
                return Found(passwords, (DECIDED, ":=", request.login_id), True, early.reply)
            self._in_flight.put(request.login_id, login)
            return Found(passwords, mark, True)
        self._in_flight.put(request.login_id, login)
        # Auth-Type Accept would end a conversation without its last word; the device would not believe it.
        admitted = (
            login.is_in_outage and self._settings.admits_unknown_in_outage and not access.is_one_of_many
        )
        return Found((ACCEPT_UNSEEN,) if admitted else (), mark, admitted)

    def _make_wait(self, access: AccessRequest) -> Found:
        """Refuse whatever was typed, right or wrong: `rejected` says why."""
        login = stranger(access)._replace(is_made_to_wait=True)
        self._in_flight.put(login.request.login_id, login)
        return Found((), (LOGIN_ID, ":=", login.request.login_id), False)

    def _answer_at_once(self, access: AccessRequest) -> Found | None:
        """Answer an ordinary login of an account that has not changed since its last one; None where that is not known."""
        store, now, device = self._store, _now(), access.calling_station_id
        snapshot = store.unchanged(access.username)
        if snapshot is None:
            return None
        answer = self._standing.find(snapshot, self._nas_of(access.source), now)
        if answer is None:
            return None
        if not answer.accept.has_room_for(device, store.pending.others(access.username, device, now)):
            return None
        request = login_request(access)
        if not self._write(access.source, ordinary_accept(access, request.login_id)):
            return None
        if answer.accept.max_sessions is not None:
            store.pending.note(request, now)
        reply = (self._class_pair(request), *answer.pairs, *answer.timed_pairs(request.login_id, now))
        return Found(answer.passwords, (DECIDED, ":=", request.login_id), True, reply)

    def _accept_early(self, login: Login, snapshot: AccountSnapshot) -> Answer | None:
        """Accept an ordinary login now and save the second call: if the password is wrong, `rejected` takes it back.

        Only where nothing has to be committed first and the account as it is known accepts.
        """
        if login.is_in_outage:
            return None
        decision = decide(login.request, snapshot, _now())
        if not isinstance(decision, Accept):
            return None
        answer = self._accept(login, snapshot.reply, decision)
        return answer if answer.accepted else None

    def _find(self, access: AccessRequest, request: LoginRequest) -> Login:
        now = _now()
        try:
            snapshot, is_from_memory = self._store.account(request.username, now)
        except Unavailable as error:
            self._complain(f"the database is away, the outage policy decides: {error}")
            remembered = self._store.remembered(request.username, now)
            return login_under_way(access, request, remembered, is_from_memory=True)._replace(
                is_in_outage=True
            )
        return login_under_way(access, request, snapshot, is_from_memory=is_from_memory)

    def rejected(self, access: AccessRequest) -> Answer:
        """Say why FreeRADIUS refused, unless we refused ourselves and said so."""
        if access.login_id:
            is_accepted = access.is_decided
            login = accepted_before(access) if is_accepted else self._in_flight.pop(access.login_id)
            if login is None:
                return Answer(None, ())
            if login.is_accepted:
                self._store.pending.forget(login.request)
            return self._refuse(login, reason_of_rejection(login))
        if access.is_one_of_many:
            # A tunnel that has refused has said why; one that never came about tells nothing of who asked.
            return Answer(None, ())
        # authorize failed before it knew the login.
        return self._refuse(stranger(access), Reason.UNAVAILABLE)

    def authenticated(self, access: AccessRequest) -> Answer:
        """Decide a login whose password was right."""
        login = self._in_flight.pop(access.login_id)
        if login is None:
            return self._refuse(stranger(access), Reason.UNKNOWN_USER)
        if login.snapshot is None:
            return self._admit_unknown(login)
        decision, snapshot = self._decide(login, login.snapshot)
        match decision:
            case Accept():
                return self._accept(login, snapshot.reply, decision)
            case Reject(reason):
                return self._refuse(login, reason)
            case Prepare():
                self._complain(f"login of {login.request.username!r} did not settle in {MAX_STEPS} steps")
                return self._refuse(login, Reason.UNAVAILABLE)

    def _admit_unknown(self, login: Login) -> Answer:
        """Let in whom nobody remembers: only where FreeRADIUS was told to accept without a password, in an outage."""
        if not (login.is_in_outage and self._settings.admits_unknown_in_outage):
            # Another module vouched for a name that is not ours.
            return self._refuse(login, reason_of_rejection(login))
        reply = Reply(session_timeout_seconds=self._settings.outage_session_seconds)
        return self._accept(login, (), Accept(reply, Reason.OUTAGE))

    def _decide(self, login: Login, snapshot: AccountSnapshot) -> tuple[Decision, AccountSnapshot]:
        """Decide; where the database is needed and away, by the outage policy."""
        if not login.is_in_outage:
            try:
                return self._decide_with_database(login, snapshot)
            except Unavailable as error:
                self._complain(f"the database is away, the outage policy decides: {error}")
        seconds = self._settings.outage_session_seconds
        return decide_in_outage(login.request, snapshot, _now(), seconds), snapshot

    def _decide_with_database(
        self, login: Login, snapshot: AccountSnapshot
    ) -> tuple[Decision, AccountSnapshot]:
        """Decide; commit what must be first, and believe a refusal only of a snapshot just read."""
        is_fresh = not login.is_from_memory
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

    def _accept(self, login: Login, rows: Sequence[Row], decision: Accept) -> Answer:
        request = login.request
        dialect, per_mille = self._nas_of(request.nas_address)
        reply = spread_interim_interval(carried_reply(decision.reply, per_mille), request.login_id)
        said = rows if decision.reason in (Reason.ACCEPTED, Reason.OUTAGE) else ()
        pairs = (self._class_pair(request), *reply_pairs(dialect, reply, said, self._complain))
        if not self._record(login, True, decision.reason):
            return self._refuse_unrecorded()
        self._store.pending.note(request, _now())
        return Answer(True, pairs)

    def _nas_of(self, address: str) -> tuple[Dialect, int]:
        """Return how the NAS is spoken to, and what its octets count."""
        nases = self._store.nases
        return nases.dialect_of(address), nases.multiplier_of(address)

    def _class_pair(self, request: LoginRequest) -> ReplyPair:
        token = sign_class(self._settings.class_secret, ClassToken(request.login_id, request.username))
        return "Class", ":=", "0x" + token.encode().hex()

    def _refuse(self, login: Login, reason: Reason) -> Answer:
        if reason in (Reason.BAD_CREDENTIALS, Reason.UNKNOWN_USER):
            self._guesses.note(login.request.nas_address, login.request.calling_station_id)
        self._record(login, False, reason)
        return Answer(False, (("Reply-Message", ":=", REPLY_MESSAGES[reason]),))

    def _refuse_unrecorded(self) -> Answer:
        return Answer(False, (("Reply-Message", ":=", REPLY_MESSAGES[Reason.UNAVAILABLE]),))

    def _record(self, login: Login, accepted: bool, reason: Reason) -> bool:
        request = login.request
        record = LoginRecord(
            request.username,
            accepted,
            reason,
            request.login_id,
            request.calling_station_id,
            login.called_station_id,
            login.is_accepted,
            login.is_unsigned,
        )
        return self._write(request.nas_address, record)

    def _write(self, nas_address: str, record: LoginRecord) -> bool:
        try:
            self._journal.append(encode_login(time.time_ns() // 1000, nas_address, record))
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


def _was_used(snapshot: AccountSnapshot | None) -> bool:
    """Whether an account has been logged in with before: no fresh code, which is what guesses find."""
    if snapshot is None:
        return False
    return snapshot.last_ended is not None or any(grant.first_used_at for grant in snapshot.grants)


def _now() -> datetime:
    return datetime.now(UTC)
