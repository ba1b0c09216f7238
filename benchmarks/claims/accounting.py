"""Accounting-Requests per second: journalled before the answer and metered into PostgreSQL behind it.

Whole sessions, a Start, interims and a Stop, of thousands of subscribers at once. Our rate counts answers; how long the
meter needs to have everything in PostgreSQL afterwards is `settled`.
"""

from benchmarks.arithmetic import median_of
from benchmarks.claims.logins import generator_figures, settings
from benchmarks.measuring import Run, Runs, measure, rate_ratio
from benchmarks.packets import ACCOUNTING_RESPONSE
from benchmarks.postgresql import private_cluster
from benchmarks.results import TIMES, Figure, Result
from benchmarks.rounds import Effort, expected_packets, take_turns
from benchmarks.scenario import Scenario, running
from benchmarks.traffic import sessions

TITLE = "Accounting, journalled and metered"
STEADY_RATE = 2_000.0
NAMES = ("null", "noop", "sql", "stock-indexed", "ours")


def run(effort: Effort, names: tuple[str, ...] = NAMES) -> Result:
    """Measure. rlm_sql's accounting is the same with the counter and without; with its index it costs more."""
    with private_cluster() as cluster, running(names, cluster, effort.sizes) as scenarios:
        runs = take_turns(
            scenarios, effort.rounds, lambda scenario, rate: turn(scenario, rate, effort), 3_000
        )
        steady = [_steady(scenarios["ours"], effort) for _ in range(effort.rounds)] if "ours" in names else []
    found = figures(runs) + _steady_figures(steady)
    runs |= {f"ours at {STEADY_RATE:,.0f}/s": steady} if steady else {}
    return Result("accounting", TITLE, settings(effort), runs, tuple(found))


def _steady(ours: Scenario, effort: Effort) -> Run:
    """Account at a rate that leaves the meter its share of the machine: two million subscribers at 1,000 s each."""
    packets = sessions(int(STEADY_RATE * effort.seconds), effort.sizes.accounts)
    return measure(
        lambda: ours.account_at(packets, STEADY_RATE, effort.ports),
        ACCOUNTING_RESPONSE,
        ours.cpu,
        ours.settle,
    )


def _steady_figures(steady: list[Run]) -> list[Figure]:
    settled = max((run.settled_seconds for run in steady), default=float("nan"))
    name = f"accounting at {STEADY_RATE:,.0f}/s: last record metered after, at most"
    return [Figure(name, settled, "s", 1, None, at_least=False)] if steady else []


def turn(scenario: Scenario, rate: float, effort: Effort) -> Run:
    """Account for some seconds."""
    packets = sessions(expected_packets(rate, effort.seconds), effort.sizes.accounts)
    return measure(
        lambda: scenario.account(packets, effort.seconds, effort.ports),
        ACCOUNTING_RESPONSE,
        scenario.cpu,
        scenario.settle,
    )


def figures(runs: Runs) -> list[Figure]:
    """Compare with the targets, as far as the scenarios ran."""
    found = []
    for theirs, target, stretch in (("null", 0.4, 0.6), ("sql", 3, None), ("stock-indexed", None, None)):
        if {"ours", theirs} <= runs.keys():
            name = "stock rlm_sql" if theirs == "sql" else theirs
            found.append(
                Figure(f"accounting: ours / {name}", rate_ratio(runs, "ours", theirs), TIMES, target, stretch)
            )
    if "ours" in runs:
        settled = median_of(run.settled_seconds for run in runs["ours"])
        found.append(
            Figure("accounting overrun: last record metered after", settled, "s", 1, None, at_least=False)
        )
    return [*found, *generator_figures(runs)]
