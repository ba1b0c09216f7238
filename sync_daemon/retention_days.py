"""The setting `retention_days`: for how long what happened is kept (rule R36)."""

from collections.abc import Mapping
from dataclasses import dataclass

from herotill.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class RetentionDays:
    """For how many days each is kept; None is for ever.

    `logins`: outcomes of logins (login_outcome, radpostauth). `disconnects`: finished requests to
    routers and their attempts. `events`: events every sink has taken. `quarantine`: accounting records nobody understood.
    `drift`: rows found otherwise than the books say, and mended.
    `sessions`: closed sessions in radacct, before they go to the archive. `archive`: sessions there, in whole months.
    """

    logins: int | None = 180
    disconnects: int | None = 90
    events: int | None = 90
    quarantine: int | None = 30
    sessions: int | None = 90
    archive: int | None = 730
    drift: int | None = 90


def read_retention(key: str, value: object) -> RetentionDays:
    """Read the setting `retention_days`: a mapping of what to days, or to `forever`. Raises InvalidValue."""
    names = RetentionDays.__slots__
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise InvalidValue(key, value, f"it maps {', '.join(names)} to a number of days, or to forever")
    return RetentionDays(**{name: _days(f"{key}.{name}", days) for name, days in value.items()})


def _days(key: str, value: object) -> int | None:
    if value == "forever":
        return None
    if type(value) is not int or not 1 <= value <= 36_500:
        raise InvalidValue(key, value, "it is a whole number of days, or forever")
    return value
