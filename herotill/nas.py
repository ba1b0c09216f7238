"""The NASes of the stock nas table: who sent a packet, with which secret, in which dialect.

nasname is text that anybody may have edited: what is neither an address nor a network is left out and told of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from herotill.dialect import Dialect, dialect_for
from herotill.multiplier import PER_MILLE

# All text, as the file has it that remembers them.
SELECT_NASES = """
    SELECT nasname, shortname, type, secret, coalesce(multiplier_per_mille, 1000)::text
    FROM radius.nas LEFT JOIN radius.nas_profile ON nas_id = id ORDER BY id
"""
FOUND_LIMIT = 100_000


def network_of(nasname: str) -> IPv4Network | IPv6Network | None:
    """Return the network a nasname means, an address being one of itself; None where it means nothing."""
    try:
        return ip_network(nasname.strip(), strict=False)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Nas:
    """One row of the nas table; its name may be an address or a network."""

    network: IPv4Network | IPv6Network
    shortname: str
    nas_type: str
    secret: str = field(repr=False)
    dialect: Dialect
    multiplier_per_mille: int = PER_MILLE


class NasDirectory:
    """Finds the NAS of a source address, the longest prefix first; of equals the one entered first."""

    def __init__(self, rows: Iterable[Sequence[Any]] = ()) -> None:
        """Take rows of SELECT_NASES; `unusable` are the names that are neither an address nor a network.

        A row without a multiplier has that of one.
        """
        nases: list[Nas] = []
        self.unusable: list[str] = []
        for nasname, shortname, nas_type, secret, *multiplier in rows:
            network = network_of(nasname)
            if network is None:
                self.unusable.append(nasname)
                continue
            per_mille = int(multiplier[0]) if multiplier else PER_MILLE
            nases.append(Nas(network, shortname, nas_type, secret, dialect_for(nas_type), per_mille))
        nases.sort(key=lambda nas: nas.network.prefixlen, reverse=True)
        self._nases = tuple(nases)
        self._found: dict[str, Nas | None] = {}

    def find(self, address: str) -> Nas | None:
        """Return the NAS that sends from `address`, or None."""
        found = self._found
        if address not in found:
            if len(found) >= FOUND_LIMIT:
                found.clear()
            found[address] = self._search(address)
        return found[address]

    def dialect_of(self, address: str) -> Dialect:
        """Return the dialect of the NAS at `address`; the generic one where it is unknown."""
        nas = self.find(address)
        return dialect_for("other") if nas is None else nas.dialect

    def multiplier_of(self, address: str) -> int:
        """Return what an octet counts at the NAS at `address`, in thousandths (rule R22); once where it is unknown."""
        nas = self.find(address)
        return PER_MILLE if nas is None else nas.multiplier_per_mille

    def _search(self, address: str) -> Nas | None:
        try:
            source = ip_address(address)
        except ValueError:
            return None
        return next((nas for nas in self._nases if source in nas.network), None)
