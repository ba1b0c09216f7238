"""The rhythm of the worker, as one value that tests may quicken."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Times and bounds of the worker.

    A lease is renewed at a third of its length, so the rows of a killed worker wait at most one lease. `nas_backlog`
    bounds what one NAS may have here, in flight and waiting, so that a dead one cannot fill the worker.
    """

    lease_seconds: float = 9.0
    poll_seconds: float = 5.0  # in case a NOTIFY was lost
    stop_grace_seconds: float = 3.0
    stop_check_seconds: float = 0.1
    stop_database_seconds: float = 1.0  # after the grace, for writing; then a hanging database is left behind
    batch: int = 200
    nas_backlog: int = 400
    reconnect_initial_seconds: float = 0.2
    reconnect_maximum_seconds: float = 5.0
    report_ignored_seconds: float = 60.0
