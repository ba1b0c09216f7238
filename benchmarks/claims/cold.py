"""Logins with every snapshot cold: each of a user that has not been seen, so each costs our one query."""

from dataclasses import replace

from benchmarks.claims.logins import settings
from benchmarks.measuring import Run, Runs, measure, rate_ratio
from benchmarks.packets import ACCESS_ACCEPT
from benchmarks.postgresql import private_cluster
from benchmarks.results import TIMES, Figure, Result
from benchmarks.rounds import Effort, expected_packets, take_turns
from benchmarks.scenario import Scenario, Sizes, running
from benchmarks.traffic import logins

TITLE = "Logins with every snapshot cold"
NAMES = ("stock-indexed", "ours")
ACCOUNTS = 100_000


def run(effort: Effort, names: tuple[str, ...] = NAMES) -> Result:
    """Measure. There are more accounts than logins, and nobody logs in twice."""
    sizes = Sizes(ACCOUNTS // (4 if effort.quick else 1), effort.sizes.sessions)
    effort = replace(effort, sizes=sizes)
    turns = ColdLogins(effort)
    with private_cluster() as cluster, running(names, cluster, sizes) as scenarios:
        runs = take_turns(scenarios, effort.rounds, turns.turn, 1_500)
    return Result("cold", TITLE, settings(effort), runs, tuple(figures(runs)))


class ColdLogins:
    """Remembers for each scenario which account is next."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._next: dict[str, int] = {}

    def turn(self, scenario: Scenario, rate: float) -> Run:
        """Log in users who come for the first time, or for the first time in a long while."""
        effort, accounts = self._effort, self._effort.sizes.accounts
        first = self._next.get(scenario.name, 0)
        packets = logins(
            min(expected_packets(rate, effort.seconds), accounts // (effort.rounds + 1)), accounts, first
        )
        run = measure(
            lambda: scenario.log_in(packets, effort.seconds, effort.ports),
            ACCESS_ACCEPT,
            scenario.cpu,
            scenario.settle,
        )
        self._next[scenario.name] = (first + run.sent) % accounts
        return run


def figures(runs: Runs) -> list[Figure]:
    """Compare with the target."""
    if not {"ours", "stock-indexed"} <= runs.keys():
        return []
    return [Figure("cold logins: ours / stock-indexed", rate_ratio(runs, "ours", "stock-indexed"), TIMES, 2)]
