"""Which attributes name a session to which make of NAS, as its dialect says (herotill/dialects)."""

from collections.abc import Mapping
from dataclasses import dataclass

from herotill.dialect import IdentificationProfile, dialect_for
from sync_daemon.coa.packets import Action, AttributeValue
from sync_daemon.coa.ports import IpAddress, plain_address

__all__ = ["IdentificationProfile", "NamedSession", "nas_attributes", "profiles_for", "ways_to_name"]

ONE_SESSION = frozenset(
    {"Acct-Session-Id", "Acct-Multi-Session-Id", "Framed-IP-Address", "Framed-IPv6-Prefix", "NAS-Port"}
)
"""What no two sessions have in common at one time and one NAS."""


@dataclass(frozen=True, slots=True)
class NamedSession:
    """The attributes that name one session, and the profile that chose them."""

    profile: str
    attributes: Mapping[str, AttributeValue]


def profiles_for(nas_type: str, action: Action = Action.DISCONNECT) -> tuple[IdentificationProfile, ...]:
    """Return the profiles of a make (radius.nas.type, any case), in the order to be tried; none: it takes no such."""
    dialect = dialect_for(nas_type)
    return dialect.coa if action is Action.COA else dialect.disconnect


def nas_attributes(nas_address: IpAddress, nas_identifier: str | None = None) -> dict[str, AttributeValue]:
    """Return what says which NAS is meant, for the few makes that insist (RFC 5176 §3).

    The address is the one its packets come from; what it calls itself is as it last reported.
    """
    plain = plain_address(nas_address)
    name = "NAS-IP-Address" if plain.version == 4 else "NAS-IPv6-Address"
    return {name: str(plain), "NAS-Identifier": nas_identifier or ""}


def ways_to_name(
    nas_type: str,
    known: Mapping[str, AttributeValue],
    action: Action = Action.DISCONNECT,
    is_only_session: bool = True,
) -> tuple[NamedSession, ...]:
    """Return every way this make may be told which session is meant, in the order to be tried; each asks something else.

    An empty value counts as unknown: RFC 2865 §5 forbids sending one. A name alone may mean another session of the same
    user, so it is a way only where there is no other.
    """
    ways: dict[tuple[str, ...], NamedSession] = {}
    for profile in profiles_for(nas_type, action):
        if not all(known.get(name) for name in profile.required):
            continue
        if not is_only_session and ONE_SESSION.isdisjoint(profile.required):
            continue
        wanted = [name for name in profile.required + profile.optional if known.get(name)]
        ways.setdefault(
            tuple(sorted(wanted)), NamedSession(profile.name, {name: known[name] for name in wanted})
        )
    return tuple(ways.values())
