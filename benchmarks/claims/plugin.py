"""What our module costs: FreeRADIUS's CPU time per packet above that of an empty Python hook.

The empty hook stands where ours does (authorize and post-auth, or accounting) and checks nothing; ours also has PAP check
the password. Everything FreeRADIUS's process does for us is counted, its background threads too.
"""

from benchmarks.arithmetic import median_of
from benchmarks.claims import accounting, logins
from benchmarks.measuring import Run, Runs
from benchmarks.postgresql import private_cluster
from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort, take_turns
from benchmarks.scenario import running

TITLE = "CPU time of our module"
NAMES = ("noop", "ours")


def run(effort: Effort, names: tuple[str, ...] = NAMES) -> Result:
    """Measure logins, then accounting."""
    with private_cluster() as cluster, running(names, cluster, effort.sizes) as scenarios:
        logins.warm_up(scenarios, effort)
        login_runs = take_turns(
            scenarios, effort.rounds, lambda scenario, rate: logins.turn(scenario, rate, effort), 5_000
        )
        accounting_runs = take_turns(
            scenarios, effort.rounds, lambda scenario, rate: accounting.turn(scenario, rate, effort), 5_000
        )
    runs = _labelled(login_runs, "logins") | _labelled(accounting_runs, "accounting")
    figures = (
        Figure("a login, above the empty hook", _above(login_runs), "µs", 60, at_least=False),
        Figure(
            "an accounting packet, above the empty hook", _above(accounting_runs), "µs", 30, at_least=False
        ),
    )
    return Result("plugin", TITLE, logins.settings(effort), runs, figures)


def _labelled(runs: Runs, label: str) -> dict[str, list[Run]]:
    return {f"{name} {label}": list(those) for name, those in runs.items()}


def _above(runs: Runs) -> float:
    """Return the median of the differences round by round."""
    return median_of(
        ours.cpu_us["freeradius"] - empty.cpu_us["freeradius"]
        for ours, empty in zip(runs["ours"], runs["noop"], strict=True)
    )
