"""Which attributes name a session to which make of NAS. Data; nothing here knows packets or the database.

A NAS must find exactly the session meant. Too few attributes may match several sessions, an attribute it does not
expect makes it answer 401 or 403: Fortinet refuses NAS-IP-Address, hostapd refuses Framed-IP-Address, and a NAS behind
address translation knows itself by another address than we do. NAS-IP-Address and NAS-Identifier are therefore in no
profile; the destination of the packet already says which NAS is meant (RFC 5176 §3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sync_daemon.coa.packets import AttributeValue


@dataclass(frozen=True, slots=True)
class IdentificationProfile:
    """One way to name a session: `required` must all be known of it, `optional` go along when they are."""

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedSession:
    """The attributes that name one session, and the profile that chose them."""

    profile: str
    attributes: Mapping[str, AttributeValue]


SESSION_ID = IdentificationProfile("session-id", ("Acct-Session-Id",))
USER_AND_SESSION = IdentificationProfile("user-session", ("User-Name", "Acct-Session-Id"))
USER_AND_ADDRESS = IdentificationProfile("user-address", ("User-Name", "Framed-IP-Address"))
USER = IdentificationProfile("user", ("User-Name",))

# The first profile whose required attributes are known is used; those after it are what to try next.
GENERIC = (
    IdentificationProfile("generic", ("User-Name", "Acct-Session-Id"), ("Calling-Station-Id",)),
    SESSION_ID,
    USER,
)
# RouterOS finds a hotspot session only with its Framed-IP-Address; PPP sessions may have none in IPv6-only networks.
MIKROTIK = (
    IdentificationProfile("mikrotik", ("User-Name", "Acct-Session-Id", "Framed-IP-Address")),
    USER_AND_SESSION,
    USER_AND_ADDRESS,
    USER,
)
# Ruckus answers 402 without Service-Type (freeradius-server PR #3045).
RUCKUS = (
    IdentificationProfile("ruckus", ("User-Name", "Acct-Session-Id"), ("Calling-Station-Id", "Service-Type")),
    *GENERIC,
)
PROFILES: Mapping[str, tuple[IdentificationProfile, ...]] = MappingProxyType(
    {"mikrotik": MIKROTIK, "ruckus": RUCKUS}
)


def profiles_for(nas_type: str) -> tuple[IdentificationProfile, ...]:
    """Return the profiles of a make (radius.nas.type, any case), in the order to be tried."""
    return PROFILES.get(nas_type.lower(), GENERIC)


def name_session(nas_type: str, known: Mapping[str, AttributeValue]) -> NamedSession | None:
    """Name a session by the make's first usable profile; None when too little is known of it.

    An empty value counts as unknown: RFC 2865 §5 forbids sending one.
    """
    for profile in profiles_for(nas_type):
        if all(known.get(name) for name in profile.required):
            wanted = profile.required + profile.optional
            return NamedSession(profile.name, {name: known[name] for name in wanted if known.get(name)})
    return None
