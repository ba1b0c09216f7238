"""The NAS's line to its RADIUS servers: for each one socket for access, one for accounting.

Owns what every request of this NAS carries (its names, Acct-Delay-Time) and how accounting is repeated. Refuses to know
sessions.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from nas_simulator import wire
from nas_simulator.credentials import Credentials
from nas_simulator.exchange import Answer, RadiusSocket, Retransmission
from nas_simulator.faults import Delivery
from nas_simulator.settings import NasSettings
from nas_simulator.wire import Pairs, Request


class Servers:
    """One kind of port of every server. Whoever answered last is asked first, the others after it in turn."""

    def __init__(self, sockets: list[RadiusSocket]) -> None:
        self.sockets = sockets
        self._first = 0

    async def ask(
        self, build: Callable[[int], Request], retransmission: Retransmission, delivery: Delivery
    ) -> Answer:
        """Ask until somebody answers; every server is given all its attempts."""
        answers: list[Answer] = []
        first, count = self._first, len(self.sockets)
        for turn in range(count):
            answer = await self.sockets[(first + turn) % count].ask(build, retransmission, delivery)
            answers.append(answer)
            if answer.reply is not None:
                self._first = (first + turn) % count
                break
        return _as_one(answers)


def _as_one(answers: list[Answer]) -> Answer:
    attempts = sum(answer.attempts for answer in answers)
    return replace(
        answers[0], reply=answers[-1].reply, attempts=attempts, elapsed_seconds=_elapsed_seconds(answers)
    )


class Line:
    """The open sockets; `discarded` tells why replies were not believed, or came for nobody."""

    def __init__(self, settings: NasSettings, access: Servers, accounting: Servers) -> None:
        self._settings = settings
        self._access = access
        self._accounting = accounting

    @classmethod
    async def opened(cls, settings: NasSettings) -> Self:
        """Open all sockets."""
        async with AsyncExitStack() as stack:
            access = await _connected(settings, settings.authentication_port, stack)
            accounting = await _connected(settings, settings.accounting_port, stack)
            stack.pop_all()
        return cls(settings, access, accounting)

    async def close(self) -> None:
        """Close all sockets."""
        for socket in self._sockets:
            await socket.close()

    @property
    def address(self) -> str:
        """The address our packets come from."""
        return self._access.sockets[0].local_address

    @property
    def names(self) -> dict[str, str]:
        """The attributes that name this NAS."""
        attribute = "NAS-IPv6-Address" if ":" in self.address else "NAS-IP-Address"
        return {attribute: self.address, "NAS-Identifier": self._settings.name}

    @property
    def discarded(self) -> list[str]:
        """Why replies were not believed."""
        return [reason for socket in self._sockets for reason in socket.discarded]

    @property
    def _sockets(self) -> list[RadiusSocket]:
        return self._access.sockets + self._accounting.sockets

    async def ask_for_access(self, credentials: Credentials, pairs: Pairs, delivery: Delivery) -> Answer:
        """Send an Access-Request; every retransmission is the same octets."""
        authenticator, secret = wire.new_authenticator(), self._settings.secret
        signed = self._settings.signs_access_requests
        whole: Pairs = [
            ("User-Name", credentials.user_name),
            *credentials.pairs(secret, authenticator),
            *self._own_pairs(),
            *pairs,
        ]
        return await self._access.ask(
            lambda identifier: wire.access_request(identifier, secret, authenticator, whole, signed),
            self._settings.retransmission,
            delivery,
        )

    async def account(self, pairs: Pairs, delivery: Delivery) -> Answer:
        """Send an Accounting-Request, retransmitted as it is or, if so set, anew with its delay told."""
        if self._settings.new_identifier_per_accounting_attempt:
            return await self._account_anew(pairs, delivery)
        return await self._account_once(pairs, 0, delivery)

    def send_accounting_octets(self, octets: bytes) -> None:
        """Send octets to the first server's accounting port as they are, wanting no answer."""
        self._accounting.sockets[0].send_octets(octets)

    def _own_pairs(self) -> Pairs:
        return [*self.names.items(), ("Called-Station-Id", self._settings.called_station_id)]

    async def _account_once(self, pairs: Pairs, delay_seconds: int, delivery: Delivery) -> Answer:
        whole: Pairs = [*pairs, *self._own_pairs(), ("Acct-Delay-Time", delay_seconds)]
        return await self._accounting.ask(
            lambda identifier: wire.accounting_request(identifier, self._settings.secret, whole),
            self._settings.retransmission,
            delivery,
        )

    async def _account_anew(self, pairs: Pairs, delivery: Delivery) -> Answer:
        # RFC 2866 §4.1: a changed Acct-Delay-Time is a changed packet and needs a new identifier.
        attempts = delivery.attempts or self._settings.retransmission.attempts
        answers: list[Answer] = []
        while len(answers) < attempts and not (answers and answers[-1].reply):
            deaf = 1 if len(answers) < delivery.deaf else 0
            once = Delivery(delivery.copies, deaf, 1, delivery.timeout_seconds)
            answers.append(await self._account_once(pairs, int(_elapsed_seconds(answers)), once))
        return Answer(answers[-1].reply, len(answers), answers[0].sent_monotonic, _elapsed_seconds(answers))


async def _connected(settings: NasSettings, port: int, stack: AsyncExitStack) -> Servers:
    sockets = []
    for server in (settings.server, *settings.other_servers):
        socket = await RadiusSocket.connected(
            (server, port), settings.source_address, settings.loss, settings.require_message_authenticator
        )
        stack.push_async_callback(socket.close)
        sockets.append(socket)
    return Servers(sockets)


def _elapsed_seconds(answers: list[Answer]) -> float:
    return sum(answer.elapsed_seconds for answer in answers)
