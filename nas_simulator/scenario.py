"""One scripted visit: log in, use data at a rate, linger, log out."""

import asyncio
from dataclasses import dataclass

from herotill.errors import InvalidValue
from nas_simulator.credentials import Credentials
from nas_simulator.limits import Usage
from nas_simulator.moods import Ack, Mood
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LoginOutcome
from nas_simulator.session import Session

_TICK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What the visitor does. `bits_per_second` is of both directions together, in session time."""

    credentials: Credentials
    device: str
    download_octets: int
    upload_octets: int
    bits_per_second: int
    linger_seconds: float = 0.0
    mood: Mood = Ack()  # noqa: RUF009 - frozen, and without state

    def __post_init__(self) -> None:
        """Refuse to take for ever. Raises InvalidValue."""
        if self.bits_per_second < 1:
            raise InvalidValue("rate", self.bits_per_second, "it is at least 1 bit a second")

    @property
    def seconds(self) -> int:
        """How long the octets take at the rate."""
        octets = self.download_octets + self.upload_octets
        return max(-(-octets * 8 // self.bits_per_second), 1)

    def used_after(self, seconds: int) -> Usage:
        """Return what should have been used so long after the login."""
        done = min(seconds, self.seconds)
        return Usage(self.upload_octets * done // self.seconds, self.download_octets * done // self.seconds)


async def play(nas: SimulatedNas, plan: Plan) -> LoginOutcome:
    """Play the plan on a NAS whose pace is not 0; an accepted session has had its Stop when we return."""
    nas.set_moods(plan.mood)
    outcome = await nas.visit(plan.credentials, plan.device)
    if isinstance(outcome, Accepted):
        session = outcome.session
        await _use(session, plan)
        await _linger(session, plan.linger_seconds)
        await session.stop()
    return outcome


async def _use(session: Session, plan: Plan) -> None:
    sent = Usage()
    while not session.ended and session.used.seconds < plan.seconds:
        await asyncio.sleep(_TICK_SECONDS)
        await session.use()
        due = plan.used_after(session.used.seconds) - sent
        await session.use(input_octets=due.input_octets, output_octets=due.output_octets)
        sent += due


async def _linger(session: Session, seconds: float) -> None:
    if seconds and not session.ended:
        try:
            await session.wait_until_stopped(seconds)
        except TimeoutError:
            return
