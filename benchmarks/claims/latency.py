"""How long a login takes while the server is busy but not overrun: 70 % of what it can, arriving at random."""

from benchmarks.arithmetic import median_of
from benchmarks.claims.logins import settings, turn, warm_up
from benchmarks.measuring import Run, Runs, measure
from benchmarks.packets import ACCESS_ACCEPT
from benchmarks.postgresql import private_cluster
from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort, take_turns
from benchmarks.scenario import Scenario, running
from benchmarks.traffic import logins

TITLE = "Login latency at 70 % load, arrivals at random (Poisson)"
NAMES = ("null", "stock-indexed", "ours")
LOAD = 0.7
TARGET_MS = 4.0


def run(effort: Effort, names: tuple[str, ...] = NAMES) -> Result:
    """Find out what each scenario can (two closed runs), then load it with 70 % of that."""
    with private_cluster() as cluster, running(names, cluster, effort.sizes) as scenarios:
        warm_up(scenarios, effort)
        most = take_turns(scenarios, 2, lambda scenario, rate: turn(scenario, rate, effort), 3_000)
        rates = {name: LOAD * median_of(run.rate for run in runs) for name, runs in most.items()}
        runs = take_turns(
            scenarios, effort.rounds, lambda scenario, _: _arrivals(scenario, rates[scenario.name], effort), 0
        )
    return Result("latency", TITLE, settings(effort) | {"load": LOAD}, runs, tuple(figures(runs)))


def _arrivals(scenario: Scenario, rate: float, effort: Effort) -> Run:
    packets = logins(int(rate * effort.seconds), effort.sizes.accounts)
    return measure(
        lambda: scenario.log_in_at(packets, rate, effort.ports), ACCESS_ACCEPT, scenario.cpu, scenario.settle
    )


def figures(runs: Runs) -> list[Figure]:
    """Compare with the target."""
    return [
        Figure(
            f"p95 at 70 % load: {name}",
            median_of(run.p95_ms for run in runs[name]),
            "ms",
            TARGET_MS if name == "ours" else None,
            at_least=False,
        )
        for name in runs
    ]
