"""The rhythm of the worker, as one value that tests may quicken."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Times and bounds of the worker.

    A lease is renewed at a third of its length, so the rows of a killed worker wait at most one lease. `nas_backlog`
    bounds what one NAS may have here, in flight and waiting, so that a dead one cannot fill the worker. An ACK is believed
    for `stop_confirm_seconds`, or for so many interim intervals of the session: then the accounting must have shown it.
    """

    lease_seconds: float = 9.0
    poll_seconds: float = 5.0  # in case a NOTIFY was lost
    stop_grace_seconds: float = 3.0
    stop_check_seconds: float = 0.1
    stop_database_seconds: float = 1.0  # after the grace, for writing; then a hanging database is left behind
    batch: int = 500
    most_unwritten: int = 2_000
    nas_backlog: int = 400
    reconnect_initial_seconds: float = 0.2
    reconnect_maximum_seconds: float = 5.0
    report_ignored_seconds: float = 60.0
    watch_seconds: float = 0.5  # how often the accounting is looked at for what was acknowledged
    stop_confirm_seconds: float = 30.0
    change_confirm_intervals: float = 2.2
    usual_interim_seconds: float = 600.0
    reopen_seconds: float = 30.0  # how often it is looked whether a session reports on that should not
    reopen_after_seconds: float = 600.0  # and how long what failed is left alone
    back_off_scale: float = 1.0  # of the waits in `steps`
