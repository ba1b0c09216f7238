"""Rows from one database into another: COPY TO into COPY FROM through a pipe, so that memory does not grow with rows."""

import io
import os
import threading
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

CHUNK_OCTETS = 1 << 16


def carry(source: Cursor, query: bytes, target: Cursor, table: str) -> None:
    """Copy the rows of `query` at `source` into `table` at `target`. Raises what either side raises."""
    reader, writer = os.pipe()
    sending = _Sending(source, query, writer)
    sending.thread.start()
    try:
        with os.fdopen(reader, "rb", buffering=CHUNK_OCTETS) as rows:
            target.copy_expert(f"COPY {table} FROM STDIN", rows, size=CHUNK_OCTETS)
    finally:
        sending.thread.join()
    if sending.failures:
        raise sending.failures[0]


def carry_few(source: Cursor, query: bytes, target: Cursor, table: str) -> None:
    """The same with few rows, which are all read first: no timeout of the server's ends a COPY that waits for its client.

    So whoever stands still in between keeps no locks by it.
    """
    rows = io.BytesIO()
    source.copy_expert(b"COPY (" + query + b") TO STDOUT", rows)
    rows.seek(0)
    target.copy_expert(f"COPY {table} FROM STDIN", rows)


@dataclass
class _Sending:
    """The other end, in a thread of its own; closing the pipe ends the COPY, also after a failure."""

    source: Cursor
    query: bytes
    writer: int
    failures: list[BaseException] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._send, name="carry", daemon=True)

    def _send(self) -> None:
        try:
            with os.fdopen(self.writer, "wb", buffering=CHUNK_OCTETS) as rows:
                self.source.copy_expert(b"COPY (" + self.query + b") TO STDOUT", rows)
        except BaseException as failure:
            self.failures.append(failure)
