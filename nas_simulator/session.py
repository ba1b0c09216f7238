"""One subscriber's session: what it used, what it may use, and how it ends.

Owns the counters (the truth the server's numbers are compared with). Refuses to own packets: its NAS sends them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from nas_simulator.exchange import Answer
from nas_simulator.faults import NORMALLY, Delivery
from nas_simulator.limits import Cut, Limits, Usage, split_at_interims
from nas_simulator.wire import Received

_IDLE_SLEEP_SECONDS = 3600


class Status(StrEnum):
    """Acct-Status-Type of a session's packets."""

    START = "Start"
    INTERIM = "Interim-Update"
    STOP = "Stop"


@dataclass(frozen=True, slots=True)
class Identity:
    """What names a session: in its accounting, and to dynamic authorization."""

    user_name: str
    acct_session_id: str
    calling_station_id: str
    framed_ip_address: str
    nas_port: int
    nas_port_id: str
    login_name: str
    class_values: tuple[bytes, ...] = ()

    def told_by(self, reply: Received) -> Self:
        """Return the identity with what an Access-Accept changes: user name (RFC 2865 §5.1), address and Class."""
        return replace(
            self,
            user_name=str(reply.value("User-Name") or self.user_name),
            framed_ip_address=str(reply.value("Framed-IP-Address") or self.framed_ip_address),
            class_values=tuple(value for value in reply.values("Class") if isinstance(value, bytes)),
        )


@dataclass(frozen=True, slots=True)
class Accounted:
    """What came of one Accounting-Request."""

    status: Status
    answer: Answer

    @property
    def answered(self) -> bool:
        """Whether the server took it: a NAS may forget only then (RFC 2866 §2)."""
        return self.answer.reply is not None


Account = Callable[["Session", Status, Delivery], Awaitable[Accounted]]


class Session:
    """A session between its Access-Accept and its Accounting-Stop.

    `used` counts as the NAS does: input is what it received, the subscriber's upload. `ended` turns true as the session
    leaves the air, a moment before its Stop is answered.
    """

    def __init__(
        self, identity: Identity, limits: Limits, started_at: datetime, account: Account, pace: float = 0.0
    ) -> None:
        self.identity = identity
        self.limits = limits
        self.started_at = started_at
        self.used = Usage()
        self.terminate_cause: str | None = None
        self.lost = False
        self.reports: list[Accounted] = []
        self._account = account
        self._pace = pace
        self._mark_monotonic = time.monotonic()
        self._idle_seconds = 0
        self._reported = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Session {self.identity.acct_session_id} of {self.identity.user_name}: {self.used}>"

    @property
    def ended(self) -> bool:
        """Whether the subscriber is off."""
        return self.terminate_cause is not None or self.lost

    @property
    def user_name(self) -> str:
        """The user, as the accounting names it."""
        return self.identity.user_name

    @property
    def stop_report(self) -> Accounted | None:
        """What came of the Accounting-Stop, once it was sent."""
        return next((report for report in self.reports if report.status is Status.STOP), None)

    async def use(
        self, *, input_octets: int = 0, output_octets: int = 0, seconds: int = 0, interims: bool | None = None
    ) -> Cut:
        """Use the line, evenly over `seconds`; beyond a limit the session stops, exactly there.

        Returns what was really used, and the Acct-Terminate-Cause if that ended the session. With `interims`
        (by default only where time passes by itself) an Interim-Update is sent wherever Acct-Interim-Interval says.
        """
        if self.ended:
            return Cut(Usage(), self.terminate_cause)
        reporting = self._pace > 0 if interims is None else interims
        more = Usage(input_octets, output_octets, seconds + self._whole_seconds_passed())
        got = Usage()
        pieces = self._pieces(more, reporting)
        for number, piece in enumerate(pieces, start=1):
            cut = self._advance(piece)
            got += cut.used
            if cut.cause is not None:
                await self.stop(cut.cause)
                return Cut(got, cut.cause)
            if reporting and piece.seconds and (number < len(pieces) or self._interim_is_due()):
                await self._report(Status.INTERIM, NORMALLY)
        return Cut(got, self.terminate_cause)

    async def start(self, delivery: Delivery = NORMALLY) -> Accounted:
        """Send Accounting-Start."""
        return await self._report(Status.START, delivery)

    async def interim(self, delivery: Delivery = NORMALLY) -> Accounted:
        """Send an Interim-Update now."""
        return await self._report(Status.INTERIM, delivery)

    async def stop(self, cause: str = "User-Request", delivery: Delivery = NORMALLY) -> Accounted:
        """End the session and send Accounting-Stop; a session that has ended already is only waited for."""
        if self.terminate_cause is not None:
            return await self.wait_until_stopped()
        self._advance(Usage(seconds=self._whole_seconds_passed()))
        self.terminate_cause = cause
        return await self._report(Status.STOP, delivery)

    async def wait_until_stopped(self, timeout_seconds: float | None = 30.0) -> Accounted:
        """Wait until the Stop was answered or given up. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while (report := self.stop_report) is None:
                self._reported.clear()
                await self._reported.wait()
        return report

    def lose(self) -> None:
        """Vanish without a Stop: a power cut, a crashed NAS."""
        self.lost = True

    async def obey(self, limits: Limits) -> None:
        """Take new limits; end at once if they are used up already."""
        self.limits = limits
        cut = limits.cut(self.used, Usage(), self._idle_seconds)
        if cut.cause is not None and not self.ended:
            await self.stop(cut.cause)

    async def live(self) -> None:
        """Let time pass at the session's pace until it ends, with interims as they fall due."""
        while not self.ended:
            await asyncio.sleep(self._seconds_to_next_event() / self._pace)
            await self.use()

    async def _report(self, status: Status, delivery: Delivery) -> Accounted:
        report = await self._account(self, status, delivery)
        self.reports.append(report)
        self._reported.set()
        return report

    def _advance(self, more: Usage) -> Cut:
        if self.ended:
            return Cut(Usage(), self.terminate_cause)
        cut = self.limits.cut(self.used, more, self._idle_seconds)
        self.used += cut.used
        self._idle_seconds = 0 if more.total_octets else self._idle_seconds + cut.used.seconds
        return cut

    def _pieces(self, more: Usage, interims: bool) -> list[Usage]:
        interval = self.limits.interim_interval_seconds
        if not interims or not interval:
            return [more]
        return split_at_interims(more, self.used.seconds, interval)

    def _interim_is_due(self) -> bool:
        interval = self.limits.interim_interval_seconds
        return bool(interval and self.used.seconds and self.used.seconds % interval == 0)

    def _whole_seconds_passed(self) -> int:
        if not self._pace or self.ended:
            return 0
        seconds = int((time.monotonic() - self._mark_monotonic) * self._pace)
        self._mark_monotonic += seconds / self._pace
        return seconds

    def _seconds_to_next_event(self) -> float:
        due = [_IDLE_SLEEP_SECONDS]
        if self.limits.session_timeout_seconds:
            due.append(self.limits.session_timeout_seconds - self.used.seconds)
        if self.limits.interim_interval_seconds:
            interval = self.limits.interim_interval_seconds
            due.append(interval - self.used.seconds % interval)
        if self.limits.idle_timeout_seconds:
            due.append(self.limits.idle_timeout_seconds - self._idle_seconds)
        passed = (time.monotonic() - self._mark_monotonic) * self._pace
        # A little late rather than early: the second must be over.
        return max(min(due) - passed, 0.0) + 0.001 * self._pace
