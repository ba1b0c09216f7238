"""Asks a NAS about a session that does not exist, to see whether it takes Disconnect and CoA at all.

RFC 5176 §3.5: it answers with a NAK and Error-Cause 503. Nobody is disconnected: the session's names are made up, its
address is of TEST-NET-1 (RFC 5737) and of the documentation prefix (RFC 3849).
"""

import asyncio
import secrets
from collections.abc import Mapping

from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from sync_daemon.coa.client import ClientSettings, DynamicAuthorizationClient
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange
from sync_daemon.coa.packets import Action, AttributeValue
from sync_daemon.coa.profiles import nas_attributes, profiles_for, ways_to_name
from sync_daemon.coa.timing import RetransmissionTiming

IMPATIENT = RetransmissionTiming(
    maximum_transmissions=3, maximum_duration_seconds=6.0, initial_interval_seconds=1.0
)


def ask_about_nobody(
    nas_type: str,
    destination: Destination,
    source_address: str | None = None,
    timing: RetransmissionTiming = IMPATIENT,
) -> Mapping[Action, Exchange]:
    """Send one request of each kind the make is said to take, named in the make's first way; return what became of each."""
    return asyncio.run(_ask(nas_type, destination, ClientSettings(source_address, timing)))


async def _ask(nas_type: str, destination: Destination, settings: ClientSettings) -> dict[Action, Exchange]:
    dictionary = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call] # pyrad is untyped
    client = DynamicAuthorizationClient(dictionary, settings)
    name = f"herotill-test-{secrets.token_hex(6)}"
    nobody: dict[str, AttributeValue] = {
        "User-Name": name, "Acct-Session-Id": name, "Acct-Multi-Session-Id": name, "Framed-IP-Address": "192.0.2.254",
        "Framed-IPv6-Prefix": "2001:db8:ffff::/64", "Calling-Station-Id": "02-00-00-00-00-00", "Service-Type": 2,
        "NAS-Port-Id": name, **nas_attributes(destination.address),
    }  # fmt: skip
    try:
        requests = {
            action: AuthorizationRequest(action, ways[0].attributes, destination)
            for action in Action
            if profiles_for(nas_type, action) and (ways := ways_to_name(nas_type, nobody, action))
        }
        exchanges = await asyncio.gather(*(client.exchange(request) for request in requests.values()))
        return dict(zip(requests, exchanges, strict=True))
    finally:
        client.close()
