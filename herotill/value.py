"""Value objects for what is made a million times: immutable to the type checker, made at a fifth of a frozen one's cost."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True)
def value(cls: type[_Class]) -> type[_Class]:
    """Make a slotted dataclass that nobody changes: mypy refuses to, and equal ones have equal hashes.

    `dataclass(frozen=True)` refuses at run time too, and for that its constructor calls `object.__setattr__` for each field:
    1 µs instead of 0.2 µs for thirteen of them.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
