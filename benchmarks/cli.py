"""`python -m benchmarks NAME`: one claim, or all of them."""

import importlib
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from benchmarks import tables
from benchmarks.report import write_report
from benchmarks.results import RESULTS, Result
from benchmarks.rounds import Effort
from benchmarks.saying import say
from benchmarks.scenario import SCENARIOS, Sizes
from herotill.errors import Refused

CLAIMS = (
    *("logins", "accounting", "cold", "latency", "flat", "plugin", "meter", "storm", "cut", "coa"),
    *("hostile", "reconcile"),
)
SOME_DATA, MUCH_DATA, QUICK_DATA = (10_000, 100_000), (200_000, 1_000_000), Sizes(2_000, 10_000)
MANY_ACCOUNTS = (1_000_000, 0)


@click.command()
@click.argument("name", type=click.Choice([*CLAIMS, "all", "report"]))
@click.option("--seconds", default=4.0, show_default=True, help="How long one run lasts.")
@click.option("--rounds", default=5, show_default=True, help="How often each scenario is run.")
@click.option(
    "--ports", default=64, show_default=True, help="Source ports, with one packet in flight on each."
)
@click.option(
    "--accounts",
    type=int,
    help="Accounts in the database; default 10,000, of flat 200,000, of reconcile 1,000,000.",
)
@click.option(
    "--sessions", type=int, help="Closed sessions in the database; default 100,000, of flat 1,000,000."
)
@click.option(
    "--scenarios", help=f"Only these, by comma, where a claim can do with fewer: {', '.join(SCENARIOS)}."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where to write the JSON (of all: a directory)."
)
@click.option("--quick", is_flag=True, help="Short runs and little data: does it work?")
def main(name: str, scenarios: str | None, output: Path | None, **chosen: Any) -> None:
    """Measure one claim (or all), print the table, write the JSON. `report` makes README.md and the plots of it."""
    signal.signal(signal.SIGTERM, _end)
    if name == "report":
        say(f"README.md shows {', '.join(write_report()) or 'nothing yet'}")
        return
    names = _names(scenarios)
    failed = [
        claim
        for claim in (CLAIMS if name == "all" else (name,))
        if not _succeeds(claim, effort_for(claim, chosen), names, _path(claim, name, output, chosen["quick"]))
    ]
    if name == "all" and output is None and not chosen["quick"]:
        write_report()
    if failed:
        raise click.ClickException(f"not measured: {', '.join(failed)}")


def _names(scenarios: str | None) -> tuple[str, ...] | None:
    if scenarios is None:
        return None
    names = tuple(scenarios.split(","))
    for name in names:
        if name not in SCENARIOS:
            raise click.BadParameter(f"{name!r}: the scenarios are {', '.join(SCENARIOS)}")
    return names


def _succeeds(claim: str, effort: Effort, names: tuple[str, ...] | None, path: Path | None) -> bool:
    """Measure one claim; what goes wrong with it does not keep the others from being measured."""
    try:
        _measure(claim, effort, names, path)
    except Refused as refused:
        raise click.ClickException(str(refused)) from None
    except Exception:
        say(traceback.format_exc())
        return False
    return True


def effort_for(claim: str, chosen: dict[str, Any]) -> Effort:
    """Return what was chosen, and otherwise what suits the claim: flatness is about history."""
    accounts, sessions = {"flat": MUCH_DATA, "reconcile": MANY_ACCOUNTS}.get(claim, SOME_DATA)
    sizes = Sizes(
        chosen["accounts"] or accounts, sessions if chosen["sessions"] is None else chosen["sessions"]
    )
    if chosen["quick"]:
        return Effort(1.0, 1, chosen["ports"], QUICK_DATA, quick=True)
    return Effort(chosen["seconds"], chosen["rounds"], chosen["ports"], sizes)


def _path(claim: str, name: str, output: Path | None, quick: bool) -> Path | None:
    """For `all`, --output is a directory; a quick run's figures are not kept unless that is said."""
    if output is None:
        return None if quick else RESULTS / f"{claim}.json"
    return output / f"{claim}.json" if name == "all" else output


def _measure(claim: str, effort: Effort, names: tuple[str, ...] | None, path: Path | None) -> None:
    say(f"== {claim}")
    module = importlib.import_module(f"benchmarks.claims.{claim}")
    result: Result = module.run(effort, names) if names else module.run(effort)
    document = result.as_json()
    tables.show(document, Console(width=200 if not sys.stdout.isatty() else None))
    if path is not None:
        result.write(path)
        say(f"written: {path}")


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)
