"""Which attributes name a session to which make of NAS, as its dialect says (herotill/dialects)."""

from collections.abc import Mapping
from dataclasses import dataclass

from herotill.dialect import IdentificationProfile, dialect_for
from sync_daemon.coa.packets import Action, AttributeValue

__all__ = ["IdentificationProfile", "NamedSession", "name_session", "profiles_for"]


@dataclass(frozen=True, slots=True)
class NamedSession:
    """The attributes that name one session, and the profile that chose them."""

    profile: str
    attributes: Mapping[str, AttributeValue]


def profiles_for(nas_type: str, action: Action = Action.DISCONNECT) -> tuple[IdentificationProfile, ...]:
    """Return the profiles of a make (radius.nas.type, any case), in the order to be tried; none: it takes no such."""
    dialect = dialect_for(nas_type)
    return dialect.coa if action is Action.COA else dialect.disconnect


def name_session(
    nas_type: str, known: Mapping[str, AttributeValue], action: Action = Action.DISCONNECT
) -> NamedSession | None:
    """Name a session by the make's first usable profile; None when too little is known of it.

    An empty value counts as unknown: RFC 2865 §5 forbids sending one.
    """
    for profile in profiles_for(nas_type, action):
        if all(known.get(name) for name in profile.required):
            wanted = profile.required + profile.optional
            return NamedSession(profile.name, {name: known[name] for name in wanted if known.get(name)})
    return None
