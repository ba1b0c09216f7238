"""The moods in which a NAS answers Disconnect- and CoA-Requests.

Owns the vocabulary only. A good NAS is `Ack()`; the others are those that clients of RFC 5176 meet in the field.
"""

from dataclasses import dataclass

from herotill.dictionary import dictionary
from herotill.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class Ack:
    """Do it and say so; a session not found is still a NAK 503."""


@dataclass(frozen=True, slots=True)
class Nak:
    """Refuse, with an Error-Cause."""

    error_cause: int = 404


@dataclass(frozen=True, slots=True)
class Silent:
    """Say nothing and do nothing, as if the request had been lost."""


@dataclass(frozen=True, slots=True)
class Late:
    """Do it and say so, but only after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Do it once and say so twice."""


@dataclass(frozen=True, slots=True)
class Forged:
    """Do nothing and answer ACK, signed with another secret: an answer not to be believed."""


@dataclass(frozen=True, slots=True)
class AckButStay:
    """Say it was done, and leave the session as it was."""


Mood = Ack | Nak | Silent | Late | Duplicate | Forged | AckButStay

MOOD_NAMES = "ack, nak[:ERROR-CAUSE], silent, late:SECONDS, duplicate, forged, stay"
_PLAIN: dict[str, Mood] = {
    "ack": Ack(),
    "nak": Nak(),
    "silent": Silent(),
    "duplicate": Duplicate(),
    "forged": Forged(),
    "stay": AckButStay(),
}


def parse_mood(text: str) -> Mood:
    """Read a mood as the command line writes it: `ack`, `nak:503`, `late:2.5`. Raises InvalidValue."""
    name, _, detail = text.partition(":")
    if name == "nak" and detail:
        return Nak(_error_cause(text, detail))
    if name == "late":
        return Late(_seconds(text, detail))
    if name in _PLAIN and not detail:
        return _PLAIN[name]
    raise InvalidValue("mood", text, f"it is one of {MOOD_NAMES}")


def _error_cause(text: str, detail: str) -> int:
    named = dictionary()["Error-Cause"].values.get(detail)
    if named is not None:
        return named
    if not detail.isascii() or not detail.isdigit():
        raise InvalidValue("mood", text, "an Error-Cause is a number (503) or its name (RFC 5176 §3.5)")
    return int(detail)


def _seconds(text: str, detail: str) -> float:
    try:
        seconds = float(detail)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 3600.0:
        raise InvalidValue("mood", text, "it is late by 0 to 3600 seconds, as in late:2.5")
    return seconds
