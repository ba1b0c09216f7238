"""One difference between what RADIUS should have and what it has: how to say it, and when it may be mended (rule R30).

Restrictions are applied first and relaxations last, so that a run that dies half-way has let nobody in who should be out.
Owns the meaning of rows of schema radius for that order. Refuses to own where rows come from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

HIDDEN = "(hidden)"
_SECRET_ATTRIBUTES = ("password", "secret")
_ENDS = ("ended_at", "ended_reason")
_QUOTAS = ("quota_octets", "quota_seconds", "expires_at")


class Phase(IntEnum):
    """When a change is applied."""

    RESTRICT = 1
    NEUTRAL = 2
    RELAX = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One row to be added (`before` is None), removed (`after` is None) or changed, `count` times where it stands twice.

    `name` is whose row it is, `item` what of it: an attribute, a group, a grant's key. The rest of the row is a JSON object.
    """

    relation: str
    name: str
    item: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    count: int = 1

    @property
    def phase(self) -> Phase:
        """Whether somebody may do less after it, or more."""
        return _PHASES.get(self.relation, _by_presence)(self)

    @property
    def cuts_off(self) -> bool:
        """Whether somebody who is let in now may not be after it."""
        if self.relation == "managed_account":
            return _is_active(self.before) and not _is_active(self.after)
        if self.relation == "entitlement":
            return _is_living(self.before) and not _is_living(self.after)
        return self.relation == "radcheck" and self.phase is Phase.RESTRICT and _rejects(self.after)

    @property
    def order(self) -> tuple[int, str, str, str]:
        """Where it stands in a plan: the same difference always gives the same plan."""
        return (int(self.phase), self.relation, self.name, self.item)

    @property
    def why(self) -> str:
        """A few words for people."""
        if self.before is None:
            return "the books have it, RADIUS does not"
        if self.after is None:
            return "RADIUS has more than the books"
        fields = ", ".join(field.replace("_", " ") for field in changed_fields(self.before, self.after))
        return f"the books say otherwise: {fields}"

    def shown(self, side: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return `before` or `after` as it may be shown: no password, no secret; of a change only what changes."""
        if side is None:
            return None
        fields: Iterable[str] = side
        if self.before is not None and self.after is not None:
            fields = changed_fields(self.before, self.after)
        return {field: self._shown_value(field, side[field]) for field in fields if side[field] is not None}

    def _shown_value(self, field: str, value: Any) -> Any:
        is_secret = field == "value" and any(word in self.item.lower() for word in _SECRET_ATTRIBUTES)
        return HIDDEN if is_secret or field in ("secret", "community") else value


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the fields two sides differ in, in the order of `after`."""
    return [field for field in after if before.get(field) != after[field]]


def _by_presence(change: Change) -> Phase:
    if change.before is None:
        return Phase.RELAX
    return Phase.RESTRICT if change.after is None else Phase.NEUTRAL


def _account_phase(change: Change) -> Phase:
    was, will_be = _is_active(change.before), _is_active(change.after)
    if change.after is None or (was and not will_be) or _status(change.after) == "disabled":
        return Phase.RESTRICT
    return Phase.RELAX if will_be and not was else Phase.NEUTRAL


def _check_phase(change: Change) -> Phase:
    if _rejects(change.after):
        return Phase.RESTRICT
    return Phase.RELAX if _rejects(change.before) else _by_presence(change)


def _grant_phase(change: Change) -> Phase:
    if change.before is None or change.after is None:
        return _by_presence(change)
    was, will_be = _is_living(change.before), _is_living(change.after)
    if was != will_be:
        return Phase.RESTRICT if was else Phase.RELAX
    return Phase.RESTRICT if _gives_less(change.before, change.after) else Phase.RELAX


def _gives_less(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a quota or the end comes down; no quota is unlimited. Times are ISO 8601 in UTC, so text compares."""
    pairs = [(before.get(field), after.get(field)) for field in _QUOTAS]
    return any(new is not None and (old is None or new < old) for old, new in pairs)


def _status(side: Mapping[str, Any] | None) -> str | None:
    return None if side is None else side.get("status")


def _is_active(side: Mapping[str, Any] | None) -> bool:
    return _status(side) == "active"


def _is_living(side: Mapping[str, Any] | None) -> bool:
    return side is not None and side.get("ended_reason") is None


def _rejects(side: Mapping[str, Any] | None) -> bool:
    return side is not None and side.get("value") == "Reject"


_PHASES = {"managed_account": _account_phase, "radcheck": _check_phase, "entitlement": _grant_phase}
