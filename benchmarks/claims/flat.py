"""Cost does not grow with history: logins and reports with millions of closed sessions beside the same with none.

Logins are cold (more accounts take turns than snapshots are kept), since from memory they could not notice the history. The
cost is the CPU time of all processes together.
"""

from dataclasses import fields, replace

from benchmarks.arithmetic import median_of
from benchmarks.claims import accounting
from benchmarks.claims.cold import ColdLogins
from benchmarks.claims.logins import settings
from benchmarks.measuring import Run, Runs
from benchmarks.postgresql import private_cluster
from benchmarks.results import TIMES, Figure, Result
from benchmarks.rounds import Effort, take_turns
from benchmarks.scenario import Sizes, running_sized
from rlm_herotill.settings import PacketTimeSettings

TITLE = "The same with much history and with none"
KINDS = ("ours", "stock-indexed")
TARGET = 1.2


def run(effort: Effort, names: tuple[str, ...] = KINDS) -> Result:
    """Measure. `--accounts` and `--sessions` say how much history: 1,000,000 and 10,000,000 are the claim's own."""
    active = _more_than_are_kept()
    much = Sizes(max(effort.sizes.accounts, active), effort.sizes.sessions)
    kinds = {
        f"{name} {label}": (name, sizes)
        for name in names
        for label, sizes in (("without", Sizes(active, 0)), ("with", much))
    }
    effort = replace(effort, sizes=Sizes(active, 0))
    with private_cluster() as cluster, running_sized(_named(kinds), cluster) as scenarios:
        cold = take_turns(scenarios, effort.rounds, ColdLogins(effort).turn, 1_500)
        reports = take_turns(
            scenarios, effort.rounds, lambda scenario, rate: accounting.turn(scenario, rate, effort), 3_000
        )
    runs = _labelled(cold, "logins") | _labelled(reports, "accounting")
    found = [
        figure
        for name in names
        for figure in (_figure(cold, name, "logins"), _figure(reports, name, "accounting"))
    ]
    told = settings(effort) | {"accounts": much.accounts, "closed_sessions": much.sessions, "active": active}
    return Result("flat", TITLE, told, runs, tuple(found))


def _more_than_are_kept() -> int:
    kept = {field.name: field.default for field in fields(PacketTimeSettings)}["snapshot_limit"]
    return int(str(kept)) * 3 // 2


def _named(kinds: dict[str, tuple[str, Sizes]]) -> dict[str, tuple[str, Sizes]]:
    return {name.replace(" ", "-"): kind for name, kind in kinds.items()}


def _labelled(runs: Runs, label: str) -> dict[str, list[Run]]:
    return {f"{name} {label}": list(those) for name, those in runs.items()}


def _figure(runs: Runs, name: str, what: str) -> Figure:
    """Compare the cost with history with that without, round by round."""
    ratio = median_of(
        _cost(much) / _cost(none)
        for much, none in zip(runs[f"{name}-with"], runs[f"{name}-without"], strict=True)
    )
    target = TARGET if name == "ours" else None
    return Figure(f"{what}: cost with history / without, {name}", ratio, TIMES, target, at_least=False)


def _cost(run: Run) -> float:
    return sum(micros for process, micros in run.cpu_us.items() if process != "generator")
