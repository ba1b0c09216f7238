"""What a dialect is made of: sayings, ways to name a session, and what is known of the make. Types only."""

from dataclasses import dataclass
from enum import StrEnum

RATES = "rates"
"""A saying of both rates, and of their bursts, in one text."""


class CountsFrom(StrEnum):
    """From when a limit counts that a CoA brings to a running session."""

    SESSION = "session"  # from the session's start: what it has used is part of it
    CHANGE = "change"  # from now: it is what may still be used


@dataclass(frozen=True, slots=True)
class Saying:
    """How one field of a reply is said: as a number of `unit`s, split into a low word and `gigawords`, or as `text`.

    `live` tells whether a CoA may change it in a running session; None: no source says, so we do not try. `unlimited` is
    what says that there is no limit; where it is None, or not `lifted_live`, only a new login takes a limit away.
    """

    field: str
    attribute: str
    gigawords: str | None = None
    unit: int = 1
    text: str | None = None
    burst_text: str | None = None
    unlimited: str | None = None
    live: bool | None = None
    lifted_live: bool = True
    counts_from: CountsFrom = CountsFrom.SESSION


@dataclass(frozen=True, slots=True)
class IdentificationProfile:
    """One way to name a session: `required` must all be known of it, `optional` go along when they are."""

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: there is one of each
class Dialect:
    """One make's way of saying a reply; `nas_types` are the values of nas.type that mean it.

    `input_is_upload` is false where the make calls Input what others call Output, in its limits and its accounting alike;
    its sayings name our directions: an input limit is a limit on the upload. `sends_gigawords` is None where no source says.
    `disconnect` and `coa` are the ways to name a session, in the order to be tried; none: it does not take such requests.
    `coa_is_whole`: what a CoA does not say is reset, so it must say everything. `coa_port` is the make's own default.
    """

    name: str
    title: str
    nas_types: tuple[str, ...]
    sources: tuple[str, ...]
    sayings: tuple[Saying, ...]
    input_is_upload: bool = True
    sends_gigawords: bool | None = None
    coa_port: int = 3799
    coa_is_whole: bool = False
    disconnect: tuple[IdentificationProfile, ...] = ()
    coa: tuple[IdentificationProfile, ...] = ()
    notes: tuple[str, ...] = ()
