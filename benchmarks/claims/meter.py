"""The meter alone: records a second from a journal, on one core, with PostgreSQL on the other.

The journal is what FreeRADIUS really wrote, while the meter was away. First the meter reads it all; then the same records
are appended at a set rate, and the backlog is watched.
"""

import fcntl
import os
import time
from dataclasses import dataclass
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
_STEP_SECONDS = 0.1


def run(effort: Effort, names: tuple[str, ...] = ("ours",)) -> Result:
    """Measure."""
    records = 20_000 if effort.quick else 100_000
    with private_cluster() as cluster, running(names, cluster, effort.sizes) as scenarios:
        ours = scenarios["ours"]
        rounds = [_catch_up(ours, records, effort) for _ in range(min(effort.rounds, 3))]
        ours.server.stop()
        backlogs = _keep_up(ours, 3.0 if effort.quick else 15.0)
    figures = (
        Figure("records per second from a journal", median_of(one.rate for one in rounds), "/s", TARGET),
        Figure("CPU of the meter per record", median_of(one.meter_us for one in rounds), "µs"),
        Figure("CPU of PostgreSQL per record", median_of(one.postgresql_us for one in rounds), "µs"),
        Figure(f"backlog after a third at {TARGET:,.0f}/s", backlogs[0], "records"),
        Figure("backlog at the end of it", backlogs[1], "records", TARGET, at_least=False),
    )
    return Result("meter", TITLE, {"records": records, "rounds": len(rounds)}, {}, figures)


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What it took to apply a journal: records a second, and microseconds of CPU for each."""

    rate: float
    meter_us: float
    postgresql_us: float


def _catch_up(ours: Scenario, records: int, effort: Effort) -> CaughtUp:
    """Let the meter apply a journal that was there before it."""
    ours.stop_meter()
    ours.account(sessions(records, effort.sizes.accounts), 60.0, effort.ports)
    written = ours.backlog_octets()
    _start_pinned(ours)
    processes.until(lambda: ours.backlog_octets() < written, "the meter applies nothing")
    began, left, used = time.perf_counter(), ours.backlog_octets(), ours.cpu()
    while ours.backlog_octets() > 0:
        time.sleep(_STEP_SECONDS)  # each question is a connection, which PostgreSQL's core pays for
    applied = records * left / written
    caught_up = CaughtUp(
        applied / (time.perf_counter() - began),
        (ours.cpu()["meter"] - used["meter"]) / applied * 1e6,
        (ours.cpu()["postgresql"] - used["postgresql"]) / applied * 1e6,
    )
    say(
        f"caught up at {caught_up.rate:,.0f} records/s, µs: meter {caught_up.meter_us:.0f} "
        f"postgresql {caught_up.postgresql_us:.0f}"
    )
    return caught_up


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
