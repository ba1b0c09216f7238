"""Runs in a container: a simulated NAS that does what it is told by lines of JSON on standard input, and answers each.

Standard library and nas_simulator alone; the tests put it into a container of the image herotill.
"""

import asyncio
import json
import sys
import time
from random import Random
from typing import Any

from nas_simulator import MIKROTIK, Accepted, NasSettings, SimulatedNas
from nas_simulator.exchange import Retransmission
from nas_simulator.outcomes import NoAnswer
from nas_simulator.session import Session
from nas_simulator.settings import DynamicAuthorizationSettings

COA_PORT = 3799


class Agent:
    """The NAS, its sessions by number, and the traffic it makes."""

    def __init__(self) -> None:
        self.nas: SimulatedNas
        self.traffic: Traffic

    async def open(self, servers: list[str], secret: str, timeout: float, attempts: int) -> None:
        first, *others = servers
        self.nas = SimulatedNas(
            NasSettings(
                secret=secret.encode(),
                server=first,
                other_servers=tuple(others),
                make=MIKROTIK,
                retransmission=Retransmission(timeout, attempts),
                dynamic_authorization=DynamicAuthorizationSettings(COA_PORT),
                require_message_authenticator=True,
            )
        )
        await self.nas.__aenter__()

    async def close(self) -> None:
        await self.nas.__aexit__(None, None, None)

    async def login(self, user: str, password: str, device: str) -> dict[str, Any]:
        outcome = await self.nas.login(user, password, device=device)
        if not isinstance(outcome, Accepted):
            return {"accepted": False, "reason": getattr(outcome, "reason", "no answer")}
        return {
            "accepted": True,
            "session": self.nas.sessions.index(outcome.session),
            "limit_octets": outcome.session.limits.total_octets,
        }

    async def use(self, session: int, up: int, down: int) -> dict[str, Any]:
        """Use octets and report them."""
        used = self.nas.sessions[session]
        await used.use(input_octets=up, output_octets=down, seconds=1)
        report = await used.interim()
        return {"answered": report.answered, "seconds": report.answer.elapsed_seconds}

    async def stop(self, session: int) -> dict[str, Any]:
        report = await self.nas.sessions[session].stop()
        return {"answered": report.answered}

    async def disconnected(self, session: int, timeout: float) -> dict[str, Any]:
        """Wait for the Disconnect-Request of a session, and until its Stop is answered."""
        stopped = self.nas.sessions[session]
        began = time.monotonic()
        await self.nas.wait_for_disconnect(stopped, timeout)
        waited = time.monotonic() - began
        report = await stopped.wait_until_stopped(timeout)
        return {"seconds": waited, "cause": stopped.terminate_cause, "answered": report.answered}

    async def start_traffic(self, users: list[str], password: str, seed: int) -> None:
        self.traffic = Traffic(self.nas, password, Random(seed))
        self.traffic.begin(users)

    async def look(self) -> dict[str, Any]:
        return self.traffic.told()

    async def end_traffic(self) -> dict[str, Any]:
        await self.traffic.end()
        return self.traffic.told()


class Traffic:
    """Users who log in, use data, report and log out, over and over."""

    def __init__(self, nas: SimulatedNas, password: str, dice: Random) -> None:
        self._nas = nas
        self._password = password
        self._dice = dice
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._unanswered = 0
        self._packets = 0
        self._longest_seconds = 0.0
        self._refused: list[str] = []
        self._put_off = 0

    def begin(self, users: list[str]) -> None:
        self._tasks = [asyncio.create_task(self._live(user)) for user in users]

    async def end(self) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks)

    def told(self) -> dict[str, Any]:
        totals = {user: [used.input_octets, used.output_octets] for user, used in self._nas.totals().items()}
        return {
            "totals": totals,
            "sessions": len(self._nas.sessions),
            "packets": self._packets,
            "unanswered": self._unanswered,
            "refused": self._refused,
            "put_off": self._put_off,
            "longest_seconds": round(self._longest_seconds, 2),
        }

    async def _live(self, user: str) -> None:
        while not self._over.is_set():
            outcome = await self._nas.login(user, self._password, device=f"{user}'s phone")
            self._packets += 1
            if isinstance(outcome, Accepted):
                self._longest_seconds = max(self._longest_seconds, outcome.answer.elapsed_seconds)
                await self._visit(outcome.session)
            elif isinstance(outcome, NoAnswer):
                self._unanswered += 1
            elif "not available" in outcome.reason:
                self._put_off += (
                    1  # the database did not answer in 80 ms, and the node has not met this user yet
                )
            else:
                self._refused.append(f"{user}: {outcome.reason}")
            await self._rest()

    async def _visit(self, session: Session) -> None:
        for _ in range(self._dice.randint(3, 8)):
            await self._rest()
            if self._over.is_set():
                break
            up, down = self._dice.randint(1, 50_000), self._dice.randint(1, 900_000)
            await session.use(input_octets=up, output_octets=down, seconds=1)
            await session.interim()
        await session.stop()
        self._packets += len(session.reports)
        self._unanswered += sum(not report.answered for report in session.reports)
        longest = max(report.answer.elapsed_seconds for report in session.reports)
        self._longest_seconds = max(self._longest_seconds, longest)

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._over.wait(), self._dice.uniform(0.02, 0.2))
        except TimeoutError:
            return


async def serve() -> None:
    """Answer one line after another until standard input ends."""
    agent = Agent()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            told = await getattr(agent, order.pop("do"))(**order)
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve())
