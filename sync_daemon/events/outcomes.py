"""What became of one attempt to deliver an event."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """The sink has it."""


@dataclass(frozen=True, slots=True)
class Unaddressed:
    """There is nobody to tell, or nothing to say: not a failure, and no use trying again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The sink does not have it, as far as we know. `reason` is one line without secrets."""

    reason: str
    is_permanent: bool = False


Outcome = Delivered | Unaddressed | Failed
