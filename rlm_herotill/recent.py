"""A bounded memory of what was put into it lately.

Two dicts take turns: when the young one is full or old enough, it replaces the old one. Removing the oldest entry of one
dict, again and again, would look for it among ever more removed ones.
"""

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Remembers at least the last `limit` entries, unless `turn` makes it forget sooner; twice as many at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def put(self, key: str, value: V) -> None:
        """Remember a value."""
        if len(self._young) >= self._limit:
            self.turn()
        self._young[key] = value

    def get(self, key: str) -> V | None:
        """Return the value, or None."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def pop(self, key: str) -> V | None:
        """Return the value and forget it; None where nobody remembers it."""
        old = self._old.pop(key, None)
        return self._young.pop(key, old)

    def turn(self) -> None:
        """Forget what was put in before the last turn."""
        self._old, self._young = self._young, {}
