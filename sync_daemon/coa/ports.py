"""One UDP source port: its socket, its Identifiers per destination, its requests in flight.

A retransmission must leave from the port of the first transmission, or the NAS takes it for a new request.
"""

import asyncio
import contextlib
import socket
from collections import defaultdict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from sync_daemon.coa.identifiers import IdentifierPool
from sync_daemon.coa.packets import MAX_PACKET_OCTETS

Endpoint = tuple[str, int]
IpAddress = IPv4Address | IPv6Address

RECEIVE_BUFFER_OCTETS = 1 << 20  # the answers to a mass disconnect arrive together
DATAGRAMS_PER_WAKE = 64  # then timers and the outbox get their turn


def family_of(address: IpAddress) -> socket.AddressFamily:
    """Return the socket family of an address."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def plain_address(address: IpAddress) -> IpAddress:
    """Return an IPv4-mapped IPv6 address as the IPv4 address it is."""
    return getattr(address, "ipv4_mapped", None) or address


def endpoint_of(address: IpAddress, port: int) -> Endpoint:
    """Return the endpoint exactly as the kernel will name it as the source of an answer."""
    return socket.inet_ntop(family_of(address), address.packed), port


class SourcePort:
    """A bound, non-blocking UDP socket whose datagrams go to `on_datagram(port, source, octets)`."""

    def __init__(
        self,
        family: socket.AddressFamily,
        source_address: str | None,
        identifier_rest_seconds: float,
        on_datagram: Callable[["SourcePort", Endpoint, bytes], None],
    ) -> None:
        self._on_datagram = on_datagram
        self._socket = _bound_socket(family, source_address)
        self.pools: defaultdict[Endpoint, IdentifierPool] = defaultdict(
            lambda: IdentifierPool(identifier_rest_seconds)
        )
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive)

    @property
    def number(self) -> int:
        """The UDP source port."""
        return int(self._socket.getsockname()[1])

    def send(self, octets: bytes, destination: Endpoint) -> None:
        """Put a datagram on the wire now, or raise OSError."""
        self._socket.sendto(octets, destination)

    def close(self) -> None:
        """Stop listening and give the port back."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        # A pending ICMP error surfaces here as OSError; the request it belongs to is retransmitted anyway.
        with contextlib.suppress(OSError):
            for _ in range(DATAGRAMS_PER_WAKE):
                octets, source = self._socket.recvfrom(MAX_PACKET_OCTETS + 1)
                self._on_datagram(self, (source[0], source[1]), octets)


def _bound_socket(family: socket.AddressFamily, source_address: str | None) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((source_address or "", 0))
    except OSError:
        opened.close()
        raise
    return opened
