"""The NASes that may talk to this server, in memory: who sent a packet, with which secret, in which dialect.

FreeRADIUS asks for an unknown client in its receiving thread, so the answer never waits for anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from herotill.dialect import Dialect, dialect_for

SELECT_NASES = "SELECT nasname, shortname, type, secret FROM radius.nas ORDER BY id"


@dataclass(frozen=True, slots=True)
class Nas:
    """One row of the stock nas table; its name may be an address or a network."""

    network: IPv4Network | IPv6Network
    shortname: str
    nas_type: str
    secret: str
    dialect: Dialect


class NasDirectory:
    """Finds the NAS of a source address, the longest prefix first."""

    def __init__(self) -> None:
        self._nases: tuple[Nas, ...] = ()
        self._found: dict[str, Nas | None] = {}

    def replace(self, rows: Iterable[Sequence[Any]]) -> list[str]:
        """Take these rows of the nas table; return the names that are neither an address nor a network."""
        nases: list[Nas] = []
        unusable: list[str] = []
        for nasname, shortname, nas_type, secret in rows:
            try:
                network = ip_network(nasname)
            except ValueError:
                unusable.append(nasname)
                continue
            nases.append(Nas(network, shortname, nas_type, secret, dialect_for(nas_type)))
        nases.sort(key=lambda nas: nas.network.prefixlen, reverse=True)
        self._nases, self._found = tuple(nases), {}
        return unusable

    def find(self, address: str) -> Nas | None:
        """Return the NAS that sends from `address`, or None."""
        found = self._found
        if address not in found:
            if len(found) > 100_000:
                found.clear()
            found[address] = self._search(address)
        return found[address]

    def _search(self, address: str) -> Nas | None:
        try:
            source = ip_address(address)
        except ValueError:
            return None
        return next((nas for nas in self._nases if source in nas.network), None)
