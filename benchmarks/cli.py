"""`python -m benchmarks NAME`: one claim, or all of them."""

import importlib
import json
import signal
import sys
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from benchmarks import tables
from benchmarks.results import RESULTS, Result
from benchmarks.rounds import Effort
from benchmarks.saying import say
from benchmarks.scenario import SCENARIOS, Sizes
from herotill.errors import Refused

CLAIMS = ("logins", "accounting", "cold", "latency", "flat", "plugin", "meter", "storm", "cut")


@click.command()
@click.argument("name", type=click.Choice([*CLAIMS, "all", "report"]))
@click.option("--seconds", default=4.0, show_default=True, help="How long one run lasts.")
@click.option("--rounds", default=5, show_default=True, help="How often each scenario is run.")
@click.option(
    "--ports", default=64, show_default=True, help="Source ports, with one packet in flight on each."
)
@click.option("--accounts", default=10_000, show_default=True, help="Accounts in the database.")
@click.option("--sessions", default=100_000, show_default=True, help="Closed sessions in the database.")
@click.option(
    "--scenarios", help=f"Only these, by comma, where a claim can do with fewer: {', '.join(SCENARIOS)}."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where to write the JSON; default benchmarks/results."
)
@click.option("--quick", is_flag=True, help="Short runs and little data: does it work?")
def main(name: str, scenarios: str | None, output: Path | None, **chosen: float) -> None:
    """Measure one claim (or all), print the table, write the JSON. `report` makes README.md and the plots of it."""
    signal.signal(signal.SIGTERM, _end)
    names = tuple(scenarios.split(",")) if scenarios else None
    try:
        for claim in CLAIMS if name == "all" else (name,):
            _measure(claim, _effort(chosen), names, output)
    except Refused as refused:
        raise click.ClickException(str(refused)) from None


def _effort(chosen: dict[str, float]) -> Effort:
    if chosen["quick"]:
        return Effort(1.0, 1, int(chosen["ports"]), Sizes(2_000, 10_000), quick=True)
    sizes = Sizes(int(chosen["accounts"]), int(chosen["sessions"]))
    return Effort(chosen["seconds"], int(chosen["rounds"]), int(chosen["ports"]), sizes)


def _measure(claim: str, effort: Effort, names: tuple[str, ...] | None, output: Path | None) -> None:
    say(f"== {claim}")
    module = importlib.import_module(f"benchmarks.claims.{claim}")
    result: Result = module.run(effort, names) if names else module.run(effort)
    document = result.as_json()
    tables.show(document, Console(width=200 if not sys.stdout.isatty() else None))
    path = output or RESULTS / f"{claim}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    say(f"written: {path}")


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)
