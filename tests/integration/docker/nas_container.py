"""A router in a container of its own, with an address of its own, driven over its standard input."""

import json
import select
import struct
import time
from typing import Any

from docker.models.containers import Container

ANSWER_SECONDS = 90.0
_HEADER = struct.Struct(">BxxxL")
STDERR = 2


class Nas:
    """Speaks lines of JSON with nas_agent.py."""

    def __init__(self, container: Container) -> None:
        self._container = container
        attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._attached = attached
        self._socket = attached._sock  # docker-py hands out the socket wrapped for reading only
        self._buffer = b""
        self._said = b""
        self.complaints = b""

    def tell(self, do: str, **order: Any) -> Any:
        """Give an order and return what came of it."""
        self.give(do, **order)
        return self.answer()

    def give(self, do: str, **order: Any) -> None:
        """Give an order that takes its time; `answer` gets what came of it."""
        self._socket.sendall(json.dumps({"do": do, **order}).encode() + b"\n")

    def answer(self) -> Any:
        """Return what came of the order given before."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in self._said:
            self._read(deadline)
        line, _, self._said = self._said.partition(b"\n")
        told = json.loads(line)
        assert not (isinstance(told, dict) and "error" in told), told
        return told

    def login(self, user: str, password: str, device: str) -> int:
        """Log somebody in who must be let in; return the number of the session.

        On a machine too busy for a query in 80 ms he is asked to try again, and does.
        """
        deadline = time.monotonic() + ANSWER_SECONDS
        told = self.tell("login", user=user, password=password, device=device)
        while "not available" in told.get("reason", "") and time.monotonic() < deadline:
            time.sleep(0.5)
            told = self.tell("login", user=user, password=password, device=device)
        assert told["accepted"], told
        return int(told["session"])

    def close(self) -> None:
        """Let go of the container."""
        self._socket.close()
        self._attached.close()

    def _read(self, deadline: float) -> None:
        readable, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
        data = self._socket.recv(65536) if readable else b""
        assert data, f"{self._container.name} says nothing more; it complained: {self.complaints.decode()}"
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            stream, size = _HEADER.unpack_from(self._buffer)
            if len(self._buffer) < _HEADER.size + size:
                return
            body = self._buffer[_HEADER.size : _HEADER.size + size]
            self._buffer = self._buffer[_HEADER.size + size :]
            if stream == STDERR:
                self.complaints += body
            else:
                self._said += body
