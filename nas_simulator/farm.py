"""Many simulated NASes in one thread, as far as dynamic authorization goes: for mass changes, with loss both ways.

Each NAS is an address of its own (127.0.0.0/8 has enough) on one port. It verifies requests, finds sessions by
Acct-Session-Id, answers a retransmission as it answered first, and tells of sessions it ended. What a NAS does besides,
`nas_simulator.nas` does.
"""

import hashlib
import random
import selectors
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

DISCONNECT, COA = 40, 43
ACCT_SESSION_ID, ERROR_CAUSE = 44, 101
CONTEXT_NOT_FOUND = 503
RECEIVE_BUFFER_OCTETS = 1 << 20

Ended = Callable[[str, str], None]


class NasFarm:
    """NASes at these addresses with the sessions each has online; `on_ended(address, session)` is told what was ended.

    `loss` is the share of datagrams lost in each direction. `heard` counts datagrams by what became of them.
    """

    def __init__(
        self,
        sessions: Mapping[str, Iterable[str]],
        secret: bytes,
        loss: float = 0.0,
        on_ended: Ended | None = None,
        seed: int = 1,
    ) -> None:
        self.heard: Counter[str] = Counter()
        self._online = {address: set(those) for address, those in sessions.items()}
        self._secret = secret
        self._loss = loss
        self._on_ended = on_ended
        self._random = random.Random(seed)  # noqa: S311 - loss, not secrets
        self._answers: dict[tuple[str, bytes], bytes] = {}
        self._selector = selectors.DefaultSelector()
        self.port = 0

    def __enter__(self) -> Self:
        for address in self._online:
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
            opened.bind((address, self.port))
            self.port = int(opened.getsockname()[1])
            self._selector.register(opened, selectors.EVENT_READ, address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def serve(self, until: Callable[[], bool]) -> None:
        """Answer until told to stop."""
        while not until():
            for key, _ in self._selector.select(0.05):
                if isinstance(key.fileobj, socket.socket):
                    self._drain(key.fileobj, key.data)

    def _drain(self, opened: socket.socket, address: str) -> None:
        while True:
            try:
                octets, source = opened.recvfrom(4096)
            except BlockingIOError:
                return
            if self._random.random() < self._loss:
                self.heard["lost on the way here"] += 1
                continue
            answer = self._answer(address, octets)
            if answer is None:
                self.heard["not believed"] += 1
            elif self._random.random() < self._loss:
                self.heard["answer lost"] += 1
            else:
                self.heard["answered"] += 1
                opened.sendto(answer, source)

    def _answer(self, address: str, octets: bytes) -> bytes | None:
        known = self._answers.get((address, octets))
        if known is not None:
            return known
        body = octets[20:]
        if (
            hashlib.md5(octets[:4] + bytes(16) + body + self._secret, usedforsecurity=False).digest()
            != octets[4:20]
        ):
            return None
        answer = self._act(address, octets, _acct_session_id(body))
        self._answers[address, octets] = answer
        return answer

    def _act(self, address: str, request: bytes, session: str) -> bytes:
        online = self._online[address]
        if session not in online:
            return self._signed(request, 2, struct.pack("!BBI", ERROR_CAUSE, 6, CONTEXT_NOT_FOUND))
        if request[0] == DISCONNECT:
            online.discard(session)
            if self._on_ended is not None:
                self._on_ended(address, session)
        return self._signed(request, 1, b"")

    def _signed(self, request: bytes, code_offset: int, body: bytes) -> bytes:
        header = struct.pack("!BBH", request[0] + code_offset, request[1], 20 + len(body))
        digest = hashlib.md5(header + request[4:20] + body + self._secret, usedforsecurity=False).digest()
        return header + digest + body


def _acct_session_id(body: bytes) -> str:
    position = 0
    while position + 2 <= len(body) and body[position + 1] >= 2:
        end = position + body[position + 1]
        if body[position] == ACCT_SESSION_ID:
            return body[position + 2 : end].decode(errors="replace")
        position = end
    return ""
