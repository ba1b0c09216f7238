"""A simulated NAS: it logs users in, meters them, and does as it is told.

Owns the sockets' lives, the sessions and their numbers. What packets look like is in `credentials` and `accounting`, what
limits mean in `limits`, what a make does in `makes`.
"""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine
from datetime import datetime
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any, Self

from herotill.errors import InvalidValue
from nas_simulator import wire
from nas_simulator.accounting import NasStatus, session_pairs
from nas_simulator.credentials import Credentials, Method
from nas_simulator.dynamic_authorization import Decision, DynamicAuthorization, DynamicRequest, Verdict
from nas_simulator.exchange import Answer
from nas_simulator.faults import NORMALLY, Delivery
from nas_simulator.identification import ErrorCause, identified
from nas_simulator.limits import Limits, Usage
from nas_simulator.line import Line
from nas_simulator.moods import Mood
from nas_simulator.outcomes import (
    Accepted,
    LogEntry,
    LoginOutcome,
    NoAnswer,
    Rejected,
    entry_of_access,
    entry_of_accounting,
)
from nas_simulator.session import Accounted, Identity, Session, Status
from nas_simulator.settings import NasSettings, mac_address
from nas_simulator.wire import Pairs, Received

_FIRST_ADDRESS = IPv4Address("10.64.0.10")


class SimulatedNas:
    """A NAS on real sockets; use it as an asynchronous context manager.

    `sessions` are all it ever had, in order, with the octets it counted itself; `log` is every request it sent.
    """

    def __init__(self, settings: NasSettings) -> None:
        self.settings = settings
        self.sessions: list[Session] = []
        self.log: list[LogEntry] = []
        self._numbers = itertools.count(1)
        self._boot = secrets.token_hex(3)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures: list[BaseException] = []
        self._line: Line
        self._dynamic: DynamicAuthorization | None = None

    async def __aenter__(self) -> Self:
        """Open the sockets."""
        settings = self.settings
        self._line = await Line.opened(settings)
        try:
            if settings.dynamic_authorization.enabled:
                self._dynamic = await DynamicAuthorization.listening(settings, self.address, self._decide)
        except OSError:
            await self._line.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything. Sessions still on are lost, as in a power cut: no Stops are sent.

        Raises what failed in the background, which nobody could be told before.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._dynamic is not None:
            await self._dynamic.close()
        await self._line.close()
        if self._failures and error is None:
            raise self._failures[0]

    # Who we are

    @property
    def address(self) -> str:
        """The address our packets come from, and where dynamic authorization listens."""
        return self._line.address

    @property
    def dynamic_authorization_port(self) -> int:
        """The UDP port to send Disconnect- and CoA-Requests to."""
        return self._open_dynamic().port

    @property
    def requests(self) -> list[DynamicRequest]:
        """Every datagram that came to the dynamic authorization port."""
        return self._open_dynamic().requests

    @property
    def discarded_replies(self) -> list[str]:
        """Why replies of the server were not believed, or came for nobody."""
        return self._line.discarded

    @property
    def live_sessions(self) -> list[Session]:
        """The sessions that are on."""
        return [session for session in self.sessions if not session.ended]

    def totals(self) -> dict[str, Usage]:
        """Return what each login name used in all its sessions, as this NAS counted it."""
        totals: dict[str, Usage] = {}
        for session in self.sessions:
            name = session.identity.login_name
            totals[name] = totals.get(name, Usage()) + session.used
        return totals

    # Access

    async def login(
        self,
        user_name: str,
        password: str,
        *,
        device: str | None = None,
        method: Method = Method.PAP,
        delivery: Delivery = NORMALLY,
        extra: Pairs = (),
    ) -> LoginOutcome:
        """Log a user in and, if accepted, send Accounting-Start.

        `device` is a MAC or any name of one (the same name has the same MAC); `extra` attributes join the Access-Request.
        """
        return await self.visit(
            Credentials(method, user_name, password), device or user_name, delivery, extra
        )

    async def visit(
        self, credentials: Credentials, device: str, delivery: Delivery = NORMALLY, extra: Pairs = ()
    ) -> LoginOutcome:
        """Do as `login` does, with credentials made by the caller."""
        outcome = await self.authenticate(credentials, device, delivery, extra)
        if isinstance(outcome, Accepted):
            await outcome.session.start()
            self._begin_living(outcome.session)
        return outcome

    async def authenticate(
        self, credentials: Credentials, device: str, delivery: Delivery = NORMALLY, extra: Pairs = ()
    ) -> LoginOutcome:
        """Send an Access-Request only: an accepted session is kept, but nothing is accounted."""
        sent_at, identity = self.settings.clock(), self._new_identity(credentials.user_name, device)
        answer = await self._line.ask_for_access(
            credentials, [*self._access_pairs(identity), *extra], delivery
        )
        outcome = self._outcome(credentials, identity, answer, sent_at)
        self._record(entry_of_access(credentials.user_name, outcome, sent_at))
        return outcome

    # Accounting

    async def announce(self, status: NasStatus = NasStatus.ON) -> Answer:
        """Send Accounting-On or Accounting-Off: every session is over, whether or not it had its Stop."""
        self.lose_power()
        now = self.settings.clock()
        pairs: Pairs = [
            ("Acct-Status-Type", str(status)),
            ("Acct-Session-Id", f"00000000-{self._boot}"),
            ("Event-Timestamp", int(now.timestamp())),
        ]
        return await self.account(pairs, str(status))

    async def account(
        self, pairs: Pairs, kind: str, who: tuple[str, str] = ("", ""), delivery: Delivery = NORMALLY
    ) -> Answer:
        """Send an Accounting-Request of the given attributes; ours (NAS-Identifier, ...) are added."""
        sent_at = self.settings.clock()
        answer = await self._line.account(pairs, delivery)
        self._record(entry_of_accounting(kind, who, answer, sent_at))
        return answer

    def send_accounting_octets(self, octets: bytes) -> None:
        """Send octets to the accounting port as they are, wanting no answer."""
        self._line.send_accounting_octets(octets)

    def lose_power(self) -> None:
        """Lose every live session without a Stop."""
        for session in self.live_sessions:
            session.lose()

    # Dynamic authorization

    def set_moods(self, *moods: Mood) -> None:
        """Answer the next Disconnect- and CoA-Requests in these moods, one each, and the rest in the last."""
        self._open_dynamic().set_moods(*moods)

    async def wait_for_disconnect(
        self, who: Session | str | None = None, timeout_seconds: float = 10.0
    ) -> DynamicRequest:
        """Return the first Disconnect-Request we ACKed for a session (or user name), past or to come.

        Raises TimeoutError.
        """

        def wanted(request: DynamicRequest) -> bool:
            acked = request.kind == "disconnect" and request.verdict is Verdict.ACKED
            return acked and (who is None or any(_is_of(session, who) for session in request.sessions))

        return await self._open_dynamic().wait_for(wanted, timeout_seconds)

    async def wait_for_requests(self, count: int, timeout_seconds: float = 10.0) -> list[DynamicRequest]:
        """Return all requests once there are at least so many, whatever became of them. Raises TimeoutError."""
        await self._open_dynamic().wait_for(lambda _: len(self.requests) >= count, timeout_seconds)
        return list(self.requests)

    # How it is done

    def _record(self, entry: LogEntry) -> None:
        self.log.append(entry)
        if self.settings.listener is not None:
            self.settings.listener(entry)

    def _outcome(
        self, credentials: Credentials, identity: Identity, answer: Answer, now: datetime
    ) -> LoginOutcome:
        reply = answer.reply
        if reply is None:
            return NoAnswer(answer, tuple(self._line.discarded))
        if reply.code != wire.ACCESS_ACCEPT:
            messages = [str(message) for message in reply.values("Reply-Message")]
            challenge = "Access-Challenge, which this NAS cannot answer"
            return Rejected(
                "; ".join(messages) or (challenge if reply.code == wire.ACCESS_CHALLENGE else ""),
                reply,
                answer,
            )
        distrust = credentials.distrust(reply)
        if distrust is not None:
            return Rejected(distrust, reply, answer, by_peer=True)
        return Accepted(self._new_session(identity, reply, now), reply, answer)

    def _new_identity(self, user_name: str, device: str) -> Identity:
        number = next(self._numbers)
        return Identity(
            user_name=user_name,
            acct_session_id=f"{number:08x}-{self._boot}",
            calling_station_id=mac_address(device),
            framed_ip_address=str(_FIRST_ADDRESS + number),
            nas_port=number,
            nas_port_id=f"port-{number}",
            login_name=user_name,
        )

    def _new_session(self, identity: Identity, reply: Received, now: datetime) -> Session:
        limits = Limits().changed_by(reply, self.settings.make, now)
        session = Session(identity.told_by(reply), limits, now, self._account_session, self.settings.pace)
        self.sessions.append(session)
        return session

    def _begin_living(self, session: Session) -> None:
        if self.settings.pace:
            self._spawn(session.live())

    def _access_pairs(self, identity: Identity) -> list[tuple[str, wire.Value]]:
        make = self.settings.make
        pairs: list[tuple[str, wire.Value]] = [
            ("Service-Type", make.service_type),
            ("NAS-Port", identity.nas_port),
            ("NAS-Port-Id", identity.nas_port_id),
            ("NAS-Port-Type", make.nas_port_type),
            ("Calling-Station-Id", identity.calling_station_id),
        ]
        if make.session_id_in_access_request:
            pairs.append(("Acct-Session-Id", identity.acct_session_id))
        if make.address_in_access_request:
            pairs.append(("Framed-IP-Address", identity.framed_ip_address))
        return pairs

    async def _account_session(self, session: Session, status: Status, delivery: Delivery) -> Accounted:
        pairs = session_pairs(session, status, self.settings.make, self.settings.clock())
        who = (session.user_name, session.identity.acct_session_id)
        return Accounted(status, await self.account(pairs, str(status), who, delivery))

    def _decide(self, request: Received) -> Decision:
        found = identified(request, self.sessions, self.settings.make, self._line.names)
        if isinstance(found, ErrorCause):
            return Decision(error_cause=int(found))
        if request.code == wire.DISCONNECT_REQUEST:
            return Decision(sessions=found, carry_out=lambda: self._disconnect(found))
        try:
            changes = [(session, self._changed_limits(session, request)) for session in found]
        except InvalidValue:
            return Decision(sessions=found, error_cause=int(ErrorCause.INVALID_ATTRIBUTE_VALUE))
        return Decision(sessions=found, carry_out=lambda: self._change(changes))

    def _changed_limits(self, session: Session, request: Received) -> Limits:
        now, used_seconds = self.settings.clock(), session.used.seconds
        before = Limits() if self.settings.make.coa_resets else session.limits
        return before.changed_by(request, self.settings.make, now, used_seconds)

    def _disconnect(self, sessions: tuple[Session, ...]) -> None:
        for session in sessions:
            self._spawn(session.stop("Admin-Reset"))

    def _change(self, changes: list[tuple[Session, Limits]]) -> None:
        for session, limits in changes:
            self._spawn(session.obey(limits))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failures.append(failure)

    def _open_dynamic(self) -> DynamicAuthorization:
        if self._dynamic is None:
            raise RuntimeError("this NAS has no dynamic authorization port open")
        return self._dynamic


def _is_of(session: Session, who: Session | str) -> bool:
    return session is who or who in (session.user_name, session.identity.login_name)
