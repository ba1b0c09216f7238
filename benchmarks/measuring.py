"""One run of one scenario: load it, wait until everything it began is done, and divide the CPU time by the packets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.arithmetic import median_of, median_ratio
from benchmarks.generator import Load, Outcome

PROCESSES = ("freeradius", "postgresql", "meter", "generator")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed. CPU is microseconds per answered packet of each process; latencies are milliseconds.

    `behind_octets` is how much of the journal the meter had not applied when the load ended, `settled_seconds` how long it
    took from then until nothing was left.
    """

    rate: float
    sent: int
    answered: int
    lost: int
    late: int
    wrong: int
    wrong_because: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: Mapping[str, float]
    generator_share: float
    behind_octets: int = 0
    settled_seconds: float = 0.0
    more: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Settled:
    """How far behind the answers the rest was."""

    behind_octets: int = 0
    seconds: float = 0.0


Settle = Callable[[], Settled]
Cpu = Callable[[], Mapping[str, float]]


def measure(load: Callable[[], Load], expected_code: int, cpu: Cpu, settle: Settle) -> Run:
    """Run a load with CPU time taken before it and after everything it caused is done."""
    before = cpu()
    loaded = load()
    settled = settle()
    after = cpu()
    outcome = loaded.outcome(expected_code)
    used = {name: after[name] - before[name] for name in after}
    return run_of(outcome, used, settled)


def run_of(outcome: Outcome, used_seconds: Mapping[str, float], settled: Settled) -> Run:
    """Bring an outcome and the CPU seconds used together."""
    packets = max(1, outcome.answered)
    used = {**used_seconds, "generator": outcome.generator_seconds}
    return Run(
        rate=outcome.rate,
        sent=outcome.sent,
        answered=outcome.answered,
        lost=outcome.lost,
        late=outcome.late,
        wrong=outcome.wrong,
        wrong_because=outcome.wrong_because,
        p50_ms=outcome.latency_ms(50),
        p95_ms=outcome.latency_ms(95),
        p99_ms=outcome.latency_ms(99),
        max_ms=outcome.latency_ms(100),
        cpu_us={name: seconds / packets * 1e6 for name, seconds in used.items()},
        generator_share=outcome.generator_seconds / outcome.seconds if outcome.seconds else 0.0,
        behind_octets=settled.behind_octets,
        settled_seconds=settled.seconds,
    )


Runs = Mapping[str, Sequence[Run]]
"""The runs of each scenario, round by round."""


def typical(runs: Sequence[Run]) -> dict[str, float]:
    """Return the medians of a scenario's figures and the sums of its mistakes."""
    figures = {
        name: median_of(getattr(run, name) for run in runs)
        for name in (
            "rate",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "generator_share",
            "behind_octets",
            "settled_seconds",
        )
    }
    mistakes = {name: sum(getattr(run, name) for run in runs) for name in ("lost", "late", "wrong")}
    costs = {
        f"{process}_us": median_of(run.cpu_us[process] for run in runs if process in run.cpu_us)
        for process in PROCESSES
    }
    return figures | mistakes | costs


def rate_ratio(runs: Runs, ours: str, theirs: str) -> float:
    """Return how many times the rate of `theirs` that of `ours` is: the median over the rounds."""
    return median_ratio([run.rate for run in runs[ours]], [run.rate for run in runs[theirs]])
