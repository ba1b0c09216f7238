"""Finds the data that ships with the code: `sql/`, `freeradius_config/` and `systemd/`.

In a wheel they lie inside this package, in a checkout beside it (pyproject.toml, force-include).
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def sql_directory() -> Path:
    """The Alembic environment and the readable SQL."""
    return _find("sql")


def freeradius_config_directory() -> Path:
    """The templates that mirror raddb paths."""
    return _find("freeradius_config")


def systemd_directory() -> Path:
    """The units, and what sysusers and tmpfiles are told."""
    return _find("systemd")


def _find(name: str) -> Path:
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the installation is incomplete: {_PACKAGE / name} is missing")
