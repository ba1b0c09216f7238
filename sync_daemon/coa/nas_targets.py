"""Where and how each NAS takes dynamic authorization: rows of the nas table and of nas_profile beside it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from herotill.nas import network_of
from sync_daemon.coa.ports import IpAddress

# Exact addresses by the index; networks and IPv6, which people write in many ways, are compared by us.
# nasname is text that anybody may have edited, so it is never cast here: one bad name must not stop all requests.
FIND_NASES = """
SELECT nas.id, nas.nasname, nas.shortname, nas.type, COALESCE(profile.coa_secret, nas.secret),
       COALESCE(profile.coa_port, 3799), host(profile.coa_address), COALESCE(profile.coa_state, 'unknown')
FROM radius.nas
LEFT JOIN radius.nas_profile AS profile ON profile.nas_id = nas.id
WHERE nas.nasname = ANY (%(addresses)s)
   OR position('/' IN nas.nasname) > 0
   OR position(':' IN nas.nasname) > 0
ORDER BY nas.id
"""


@dataclass(frozen=True, slots=True)
class NasTarget:
    """Where and how one NAS takes dynamic authorization. `coa_address` None means where its packets come from."""

    nas_id: int
    nasname: str
    shortname: str
    nas_type: str
    secret: bytes = field(repr=False)
    coa_port: int
    coa_address: IpAddress | None
    coa_state: str = "unknown"


def find_nases(connection: Connection, nas_addresses: Collection[IpAddress]) -> dict[IpAddress, NasTarget]:
    """Find the NAS of each address: the longest matching nasname, an address or a network. Unknown ones are left out."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_NASES, {"addresses": [str(address) for address in nas_addresses]})
        rows = cursor.fetchall()
    known = NasTargets(_target(*row) for row in rows)
    found = {address: known.of(address) for address in nas_addresses}
    return {address: target for address, target in found.items() if target is not None}


class NasTargets:
    """Finds the target whose nasname holds an address most narrowly; of equals the first. Bad names match nothing."""

    def __init__(self, targets: Iterable[NasTarget]) -> None:
        self._hosts: dict[IpAddress, NasTarget] = {}
        self._networks: list[tuple[IPv4Network | IPv6Network, NasTarget]] = []
        for target in targets:
            network = network_of(target.nasname)
            if network is None:
                continue
            if network.num_addresses == 1:
                self._hosts.setdefault(network.network_address, target)
            else:
                self._networks.append((network, target))
        self._networks.sort(key=lambda pair: pair[0].prefixlen, reverse=True)

    def of(self, address: IpAddress) -> NasTarget | None:
        """Return the target of an address, or None."""
        if address in self._hosts:
            return self._hosts[address]
        return next((target for network, target in self._networks if address in network), None)


def _target(
    nas_id: int, nasname: str, shortname: str, nas_type: str, secret: str, coa_port: int, *rest: Any
) -> NasTarget:
    coa_address, coa_state = rest
    address = None if coa_address is None else ip_address(coa_address)
    return NasTarget(nas_id, nasname, shortname, nas_type, secret.encode(), coa_port, address, coa_state)
