"""Logins per second with the whole decision, beside FreeRADIUS alone, rlm_sql, and rlm_sql with its counter.

No side logs logins into its database while it answers; ours journals every outcome and its meter writes them down, and
that is part of its cost. rlm_sql's post-auth INSERT is left out: it would only slow the others.
"""

from collections.abc import Mapping

from benchmarks.measuring import Run, Runs, measure, rate_ratio
from benchmarks.packets import ACCESS_ACCEPT
from benchmarks.postgresql import private_cluster
from benchmarks.results import TIMES, Figure, Result
from benchmarks.rounds import Effort, expected_packets, take_turns
from benchmarks.scenario import Scenario, running
from benchmarks.traffic import logins

TITLE = "Logins with every snapshot warm"
NAMES = ("null", "noop", "sql", "stock", "stock-indexed", "ours")


def run(effort: Effort, names: tuple[str, ...] = NAMES) -> Result:
    """Measure."""
    with private_cluster() as cluster, running(names, cluster, effort.sizes) as scenarios:
        warm_up(scenarios, effort)
        runs = take_turns(
            scenarios, effort.rounds, lambda scenario, rate: turn(scenario, rate, effort), 3_000
        )
    return Result("logins", TITLE, settings(effort), runs, tuple(figures(runs)))


def warm_up(scenarios: Mapping[str, Scenario], effort: Effort) -> None:
    """Bring every account into our memory."""
    if "ours" in scenarios:
        scenarios["ours"].warm(effort.sizes.accounts)


def turn(scenario: Scenario, rate: float, effort: Effort) -> Run:
    """Log in for some seconds."""
    packets = logins(expected_packets(rate, effort.seconds), effort.sizes.accounts)
    return measure(
        lambda: scenario.log_in(packets, effort.seconds, effort.ports),
        ACCESS_ACCEPT,
        scenario.cpu,
        scenario.settle,
    )


def settings(effort: Effort) -> dict[str, object]:
    """Return what was measured with."""
    return {
        "seconds": effort.seconds,
        "rounds": effort.rounds,
        "source_ports": effort.ports,
        "accounts": effort.sizes.accounts,
        "closed_sessions": effort.sizes.sessions,
    }


def figures(runs: Runs) -> list[Figure]:
    """Compare with the targets, as far as the scenarios ran."""
    found = []
    for theirs, target, stretch in (("null", 0.4, 0.6), ("stock-indexed", 6, 10), ("sql", 4, None)):
        if {"ours", theirs} <= runs.keys():
            ratio = rate_ratio(runs, "ours", theirs)
            found.append(Figure(f"logins: ours / {theirs}", ratio, TIMES, target, stretch))
    return [*found, *generator_figures(runs)]


def generator_figures(runs: Runs) -> list[Figure]:
    """Show that the generator could do more than the null server: the share of a core it needed there."""
    if "null" not in runs:
        return []
    share = sorted(run.generator_share for run in runs["null"])[len(runs["null"]) // 2]
    return [Figure("generator: cores used at the null rate", share, "", 0.8, None, at_least=False)]
