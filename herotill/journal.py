r"""The line format of the accounting journal: one record a line, a checksum on each.

A line is eight hexadecimal digits of CRC-32, a space, a JSON array and a newline:

    5f3a0c91 ["acct",1764000000123456,"192.0.2.1",[["User-Name","student-1"],...]]

JSON never holds a raw newline, so a torn or damaged record spoils itself and no neighbour. Owns the format; refuses to own
files: writing is packet time's, reading the meter's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

ACCOUNTING = "acct"
LOGIN = "auth"

_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


@dataclass(frozen=True, slots=True)
class Record:
    """One intact record. `received_at_us` is microseconds since the epoch; `body` depends on `kind`.

    The body of ACCOUNTING is the packet's list of [name, value] pairs, of LOGIN an object (see rlm_herotill.hooks).
    """

    offset: int
    kind: str
    received_at_us: int
    nas_address: str
    body: Any


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line whose checksum or shape is wrong, kept as it was read."""

    offset: int
    reason: str
    line: bytes


def encode(kind: str, received_at_us: int, nas_address: str, body: Sequence[Any] | dict[str, Any]) -> bytes:
    """Return the journal line of one record."""
    text = _encode_json((kind, received_at_us, nas_address, body)).encode()
    return b"%08x %b\n" % (crc32(text), text)


def decode_lines(data: bytes, offset: int) -> Iterator[Record | Damaged]:
    """Yield what the whole lines of `data` hold; `offset` is where `data` begins in its segment.

    A last line without its newline is not looked at: its writer may not have finished.
    """
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield decode_line(data[start:end], offset + start)
        start = end + 1


def decode_line(line: bytes, offset: int) -> Record | Damaged:
    """Return the record of one line, given without its newline."""
    text = line[9:]
    if line[8:9] != b" " or line[:8] != b"%08x" % crc32(text):
        return Damaged(offset, "the checksum does not match", line)
    try:
        kind, received_at_us, nas_address, body = json.loads(text)
    except ValueError as error:
        return Damaged(offset, f"not a journal record: {error}", line)
    return Record(offset, kind, received_at_us, nas_address, body)
