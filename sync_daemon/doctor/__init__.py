"""Examines an installation and says how to mend what it finds. Looks only; changes nothing.

One module for each thing looked at: `machine`, `postgresql`, `pooling`, `freeradius` (what its files say is judged in
`radiusd_conf`), `signatures`.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sync_daemon.doctor.findings import Finding, Health, is_anything_wrong, unknown
from sync_daemon.doctor.freeradius import look_at_freeradius
from sync_daemon.doctor.machine import (
    look_at_clock,
    look_at_journal,
    look_at_python,
    look_at_state,
    look_at_units,
)
from sync_daemon.doctor.pooling import look_for_poolers
from sync_daemon.doctor.postgresql import look_at_databases
from sync_daemon.doctor.signatures import TOPIC as UNSIGNED_ROUTERS
from sync_daemon.doctor.signatures import look_at_signatures
from sync_daemon.settings import Settings

__all__ = ["Finding", "Health", "examine", "is_anything_wrong"]


def examine(settings: Settings, raddb: Path) -> tuple[Finding, ...]:
    """Look at everything; what hinders one look does not hinder the others."""
    looks: dict[str, Callable[[], Iterable[Finding]]] = {
        "Python": look_at_python,
        "database": lambda: look_at_databases(settings),
        "notifications": lambda: look_for_poolers(settings),
        "FreeRADIUS": lambda: look_at_freeradius(settings, raddb),
        UNSIGNED_ROUTERS: lambda: look_at_signatures(settings, raddb),
        "journal": lambda: look_at_journal(settings.journal_directory, raddb),
        "PostgreSQL: space": lambda: look_at_state(settings),
        "clock": look_at_clock,
        "units": lambda: look_at_units(settings),
    }
    return tuple(finding for topic, look in looks.items() for finding in _looked(topic, look))


def _looked(topic: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except OSError as error:
        yield unknown(topic, f"cannot be looked at: {error}", "run herotill doctor as root")
