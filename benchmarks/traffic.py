"""What subscribers do, as packets that were never sent before: logins, and sessions with their reports."""

import itertools
import time
from collections.abc import Iterator

from benchmarks.packets import (
    IDENTIFIERS,
    INTERIM,
    START,
    STOP,
    Subscriber,
    Usage,
    access_request,
    accounting_request,
    report,
    session_attributes,
)

INTERIMS = 8
"""Reports between a session's Start and its Stop."""
_PORTS = 64
_numbers = itertools.count(1)


def identifier(index: int) -> int:
    """Return the Identifier of packet `index`: the same port meets it again after many packets."""
    return index // _PORTS % IDENTIFIERS


def logins(count: int, accounts: int, first: int = 0) -> list[bytes]:
    """Make logins of accounts in turn, beginning with account `first`."""
    run = next(_numbers)
    return [
        access_request(identifier(n), Subscriber((first + n) % accounts), b"%04x%08x" % (run, n))
        for n in range(count)
    ]


def sessions(count: int, accounts: int, first: int = 0, interims: int = INTERIMS) -> list[bytes]:
    """Make whole sessions of many subscribers at once: a Start, interims with growing counters, a Stop.

    The subscribers are those from number `first` on.
    """
    run, now = next(_numbers), int(time.time())
    packets: list[bytes] = []
    waves = _waves(count, accounts, interims)
    for at, (number, wave, step) in enumerate(waves):
        attributes = session_attributes(Subscriber(first + number), b"%04x%02x%07x" % (run, wave, number))
        status = START if step == 0 else STOP if step > interims else INTERIM
        usage = None if step == 0 else Usage(step * 300, step * 20_000, step * 180_000)
        packets.append(accounting_request(identifier(at), report(status, attributes, now + step, usage)))
    return packets


def _waves(count: int, accounts: int, interims: int) -> Iterator[tuple[int, int, int]]:
    """Yield account, wave and step: a slice of the accounts reports in turn, then again, then the next slice follows."""
    active = min(accounts, max(1, min(2_000, count // (interims + 2))))
    schedule = (
        (number % accounts, number // accounts, step)
        for first in itertools.count(0, active)
        for step in range(interims + 2)
        for number in range(first, first + active)
    )
    return itertools.islice(schedule, count)
