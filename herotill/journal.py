r"""The line format of the accounting journal: one record a line, a checksum on each.

A line is eight hexadecimal digits of CRC-32, a space, a JSON array and a newline:

    5f3a0c91 ["acct",1764000000123456,"192.0.2.1",[["User-Name","student-1"],...]]

JSON never holds a raw newline, so a torn or damaged record spoils itself and no neighbour; not even where the newline
between the two is what was damaged. Owns the format; refuses to own files: writing is packet time's, reading the meter's.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

from herotill.value import value

ACCOUNTING = "acct"
LOGIN = "auth"

_quote = json.encoder.encode_basestring_ascii
_CORRECTS = ',"corrects":true'
_UNSIGNED = ',"unsigned":true'
_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_read_json = json.JSONDecoder().raw_decode


@value
class Record:
    """One intact record. `received_at_us` is microseconds since the epoch; `body` depends on `kind`.

    The body of ACCOUNTING is the packet's list of [name, value] pairs, of LOGIN an object (LoginRecord).
    """

    offset: int
    kind: str
    received_at_us: int
    nas_address: str
    body: Any


class LoginRecord(NamedTuple):
    """What is kept of one login; its body is an object of these, by the names `encode_login` writes."""

    username: str
    is_accepted: bool
    reason: str
    login_id: str
    calling_station_id: str
    called_station_id: str
    corrects: bool = False
    """Takes back an accept of the same login: the password was wrong."""
    is_unsigned: bool = False
    """The request had no Message-Authenticator (CVE-2024-3596)."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line whose checksum or shape is wrong, kept as it was read."""

    offset: int
    reason: str
    line: bytes


def encode(kind: str, received_at_us: int, nas_address: str, body: Sequence[Any] | dict[str, Any]) -> bytes:
    """Return the journal line of one record."""
    return _line(_encode_json((kind, received_at_us, nas_address, body)).encode())


def encode_accounting(received_at_us: int, nas_address: str, pairs: Sequence[tuple[str, str]]) -> bytes:
    """Return the journal line of one packet's attributes: what `encode` makes of them, at two thirds of its cost."""
    body = "],".join([_opened(name) + _quote(text) for name, text in pairs])
    return _line(
        f'["{ACCOUNTING}",{received_at_us},{_quote(nas_address)},[{body}{"]" if pairs else ""}]]'.encode()
    )


@lru_cache(maxsize=4096)
def _opened(name: str) -> str:
    """Return how the pair of an attribute begins; a NAS sends the same names again and again."""
    return f"[{_quote(name)},"


def encode_login(received_at_us: int, nas_address: str, login: LoginRecord) -> bytes:
    """Return the journal line of one login: what `encode` makes of it, at a fraction of its cost."""
    body = (
        f'{{"user":{_quote(login.username)},"ok":{"true" if login.is_accepted else "false"},'
        f'"reason":{_quote(login.reason)},"login":{_quote(login.login_id)},'
        f'"calling":{_quote(login.calling_station_id)},"called":{_quote(login.called_station_id)}'
        f"{_CORRECTS if login.corrects else ''}{_UNSIGNED if login.is_unsigned else ''}}}"
    )
    return _line(f'["{LOGIN}",{received_at_us},{_quote(nas_address)},{body}]'.encode())


def _line(text: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(text), text)


def decode_lines(data: bytes, offset: int) -> Iterator[Record | Damaged]:
    """Yield what the whole lines of `data` hold; `offset` is where `data` begins in its segment.

    A last line without its newline is not looked at: its writer may not have finished.
    """
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        decoded = decode_line(data[start:end], offset + start)
        if isinstance(decoded, Damaged):
            yield from _salvage(decoded)
        else:
            yield decoded
        start = end + 1


def decode_line(line: bytes, offset: int) -> Record | Damaged:
    """Return the record of one line, given without its newline."""
    text = line[9:]
    if line[8:9] != b" " or line[:8] != b"%08x" % crc32(text):
        return Damaged(offset, "the checksum does not match", line)
    try:
        fields = _decode_json(text)
    except (ValueError, RecursionError) as error:
        return Damaged(offset, f"not a journal record: {error}", line)
    match fields:
        case [str(kind), int(received_at_us), str(nas_address), list() | dict() as body]:
            return Record(offset, kind, received_at_us, nas_address, body)
    return Damaged(offset, "not a journal record: it has no kind, time, address and body", line)


def _decode_json(text: bytes) -> Any:
    # What we wrote is ASCII and nothing but one value; json.loads takes as long again to find that out.
    if text.isascii():
        try:
            fields, end = _read_json(text.decode("ascii"))
        except ValueError:
            return json.loads(text)
        if end == len(text):
            return fields
    return json.loads(text)


_RECORD_BEGINS = re.compile(rb'[0-9a-f]{8} \["')


def _salvage(damaged: Damaged) -> Iterator[Record | Damaged]:
    """Yield what a damaged line holds: a record that lost the newline before it is still whole.

    No value of an attribute can be taken for one, because JSON escapes the quotes within it.
    """
    line = damaged.line
    for begins in _RECORD_BEGINS.finditer(line, 1):
        at = begins.start()
        decoded = decode_line(line[at:], damaged.offset + at)
        if isinstance(decoded, Record):
            # The newline before it was damaged, or never written.
            before = (decode_line(line[:end], damaged.offset) for end in (at - 1, at))
            yield next(
                (record for record in before if isinstance(record, Record)),
                Damaged(damaged.offset, damaged.reason, line[:at]),
            )
            yield decoded
            return
    yield damaged
