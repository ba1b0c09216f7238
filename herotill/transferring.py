"""Which grants give when octets are transferred, and how much (rule R20)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from herotill.grants import Grant


@dataclass(frozen=True, slots=True)
class Part:
    """So many octets out of one grant."""

    grant: Grant
    octets: int


def transferable_octets(grant: Grant, promised_octets: int = 0) -> int:
    """Return how much of a living grant may be given away.

    Nothing where its plan does not allow it, where it is not limited in octets, or where it is limited in time too: its
    octets would outlive their time. What is promised to sessions of a strict grant stays with them.
    """
    remaining = grant.remaining_octets
    if not grant.policy.transferable or remaining is None or grant.quota_seconds is not None:
        return 0
    return max(0, remaining - promised_octets)


def take_octets(grants: Sequence[Grant], promised: Mapping[int, int], octets: int) -> list[Part] | None:
    """Return what each grant gives, in the order given, summing to `octets`; None where they have not so much."""
    parts: list[Part] = []
    missing = octets
    for grant in grants:
        part = min(missing, transferable_octets(grant, promised.get(grant.grant_id, 0)))
        if part:
            parts.append(Part(grant, part))
            missing -= part
    return None if missing else parts
