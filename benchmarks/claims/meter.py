"""The meter alone: records a second from a journal, on one core, with PostgreSQL on the other.

The journal is what FreeRADIUS really wrote, while the meter was away. First the meter reads it all; then the same records
are appended at a set rate, and the backlog is watched.
"""

import fcntl
import os
import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks import processes
from benchmarks.arithmetic import median_of
from benchmarks.postgresql import private_cluster
from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort
from benchmarks.saying import say
from benchmarks.scenario import Scenario, running
from benchmarks.traffic import sessions

TITLE = "The meter alone, on one core beside PostgreSQL on the other"
TARGET = 8_000.0
METER_CORE, POSTGRESQL_CORE = 0, 1
_STEP_SECONDS = 0.05


def run(effort: Effort, names: tuple[str, ...] = ("ours",)) -> Result:
    """Measure."""
    records = 20_000 if effort.quick else 100_000
    with private_cluster() as cluster, running(names, cluster, effort.sizes) as scenarios:
        ours = scenarios["ours"]
        rates = [_catch_up(ours, records, effort) for _ in range(min(effort.rounds, 3))]
        ours.server.stop()
        backlogs = _keep_up(ours, 3.0 if effort.quick else 15.0)
    figures = (
        Figure("records per second from a journal", median_of(rates), "/s", TARGET),
        Figure(f"backlog after a third at {TARGET:,.0f}/s", backlogs[0], "records"),
        Figure("backlog at the end of it", backlogs[1], "records", TARGET, at_least=False),
    )
    return Result("meter", TITLE, {"records": records, "rounds": len(rates)}, {}, figures)


def _catch_up(ours: Scenario, records: int, effort: Effort) -> float:
    """Return how many records a second the meter applied of a journal that was there before it."""
    ours.stop_meter()
    ours.account(sessions(records, effort.sizes.accounts), 60.0, effort.ports)
    written = ours.backlog_octets()
    _start_pinned(ours)
    processes.until(lambda: ours.backlog_octets() < written, "the meter applies nothing")
    began, left = time.perf_counter(), ours.backlog_octets()
    ours.settle()
    rate = records * left / written / (time.perf_counter() - began)
    say(f"caught up at {rate:,.0f} records/s")
    return rate


def _start_pinned(ours: Scenario) -> None:
    processes.pin(processes.descendants(ours.cluster.pid), POSTGRESQL_CORE)
    ours.start_meter(core=METER_CORE)


def _keep_up(ours: Scenario, seconds: float) -> tuple[float, float]:
    """Append records at the target rate; return the backlog, in records, after a third of the time and at the end."""
    assert ours.settings is not None
    directory = ours.settings.journal_directory
    newest = max(directory.glob("*.journal"))
    lines = cycle(newest.read_bytes().splitlines(keepends=True))
    backlogs: list[float] = []
    with _segment(directory).open("ab", buffering=0) as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        began, written, octets = time.perf_counter(), 0, 0
        while (passed := time.perf_counter() - began) < seconds:
            due = int(passed * TARGET) - written
            octets += journal.write(b"".join(islice(lines, due)))
            written += due
            if len(backlogs) < passed // (seconds / 3):
                backlogs.append(ours.backlog_octets() / (octets / written))
            time.sleep(_STEP_SECONDS)
        backlogs.append(ours.backlog_octets() / (octets / written))
    return backlogs[0], backlogs[-1]


def _segment(directory: Path) -> Path:
    """Name a segment behind all others, as the journal's writer does."""
    return directory / f"{time.time_ns():020d}-{os.getpid()}.journal"
