"""Which workers there are, and how long each may be busy with one thing."""

from herotill.errors import InvalidValue

# The worker and the module whose `run(settings, stop)` it is.
WORKERS = {
    "meter": "sync_daemon.meter",
    "reconcile": "sync_daemon.reconcile.worker",
    "coa": "sync_daemon.coa.worker",
    "live": "sync_daemon.live_sessions",
    "schedule": "sync_daemon.schedule",
    "billing": "sync_daemon.billing_worker",
    "events": "sync_daemon.events.worker",
    "metrics": "sync_daemon.metrics",
    "watch": "sync_daemon.watch",
}
PATIENCE = 10
_DO_MUCH_AT_ONCE = frozenset({"reconcile", "billing", "events", "watch"})
"""A million accounts compared, a month billed, a large file imported, a sink that takes its time: one thing that lasts."""


def chosen_workers(only: str | None, without: str | None = None) -> tuple[str, ...]:
    """Read `--only coa,meter` and `--without meter`. Raises InvalidValue naming what is no worker."""
    wanted = tuple(WORKERS) if only is None else _workers_named("only", only)
    unwanted = () if without is None else _workers_named("without", without)
    chosen = tuple(name for name in wanted if name not in unwanted)
    if not chosen:
        raise InvalidValue("without", without, "it leaves somebody to work")
    return chosen


def _workers_named(option: str, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    for name in names:
        if name not in WORKERS:
            raise InvalidValue(option, name, f"the workers are {', '.join(WORKERS)}")
    return names


def longest_silence_seconds(name: str, setting_seconds: float) -> float:
    """Return how long this worker may give no sign of life, by the setting `worker_silence_seconds`."""
    return setting_seconds * PATIENCE if name in _DO_MUCH_AT_ONCE else setting_seconds
