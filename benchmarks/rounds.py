"""Scenarios take turns: A B C A B C ..., so that whatever else the machine does meets all of them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.measuring import Run
from benchmarks.saying import say
from benchmarks.scenario import Scenario, Sizes

Turn = Callable[[Scenario, float], Run]
"""Run one scenario once, given about how many packets a second it may be expected to answer."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often is measured."""

    seconds: float = 4.0
    rounds: int = 5
    ports: int = 64
    sizes: Sizes = field(default_factory=Sizes)
    quick: bool = False


def expected_packets(rate: float, seconds: float) -> int:
    """Return how many packets to prepare: more than will be needed, since the last may not run out."""
    return min(int(rate * seconds * 1.6) + 2_000, 150_000)


def take_turns(
    scenarios: Mapping[str, Scenario], rounds: int, turn: Turn, first_rate: float
) -> dict[str, list[Run]]:
    """Run every scenario once for trying and then `rounds` times; what the trial showed is not counted."""
    rates = {name: turn(scenario, first_rate).rate for name, scenario in scenarios.items()}
    runs: dict[str, list[Run]] = {name: [] for name in scenarios}
    for number in range(rounds):
        for name, scenario in scenarios.items():
            run = turn(scenario, max(rates[name], 10.0))
            runs[name].append(run)
            rates[name] = max(rates[name], run.rate)
            say(f"round {number + 1}/{rounds} {name:14} {run.rate:8,.0f}/s  " + _notes(run))
    return runs


def _notes(run: Run) -> str:
    costs = " ".join(f"{name} {micros:.0f}" for name, micros in run.cpu_us.items())
    mistakes = " ".join(
        f"{name} {getattr(run, name)}" for name in ("lost", "late", "wrong") if getattr(run, name)
    )
    return f"p99 {run.p99_ms:.1f} ms  µs: {costs}  {mistakes} {run.wrong_because}"
