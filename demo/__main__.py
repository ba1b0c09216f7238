"""Run the demonstration: `scripts/demo`, or `python -m demo` where everything is installed."""

import asyncio
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from demo.report import Report, UnexpectedOutcome
from demo.stage import NAS_SECRET, Stage, StageError, stop_kept
from demo.story import PASSWORDS, play, set_up


@click.command()
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the outcome as JSON too.",
)
@click.option("--keep", is_flag=True, help="Leave it all running and say how to talk to it.")
@click.option(
    "--stop", "stop_directory", type=click.Path(path_type=Path, exists=True), help="Stop one that was kept."
)
def main(json_file: Path | None, keep: bool, stop_directory: Path | None) -> None:
    """A NAS logs prepaid customers in, is metered to the octet and told to cut off on time: for real, in 90 seconds."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    if stop_directory is not None:
        stop_kept(stop_directory)
        console.print(f"Stopped, and {stop_directory} removed.")
        return
    if not _run(console, json_file, keep):
        raise SystemExit(1)


def _run(console: Console, json_file: Path | None, keep: bool) -> bool:
    began = time.monotonic()
    stage = Stage()
    report = Report(console)
    failure: Exception | None = None
    parting_words = ""
    try:
        ticket = set_up(stage, report)
        asyncio.run(play(stage, report, ticket))
        if keep:
            parting_words = _keep(stage)
    except (UnexpectedOutcome, StageError, TimeoutError) as error:
        failure = error
        _show_logs(stage, console)
    finally:
        if failure is not None or not keep:
            stage.close()
    report.measured["seconds"] = round(time.monotonic() - began, 1)
    report.measured["succeeded"] = failure is None
    console.print(report.table())
    if report.explanation:
        console.print(f"$ herotill explain student-1\n{report.explanation}", markup=False, soft_wrap=True)
    if json_file is not None:
        report.write_json(json_file)
    _conclude(console, report, failure)
    console.print(parting_words, markup=False, soft_wrap=True)
    return failure is None


def _conclude(console: Console, report: Report, failure: Exception | None) -> None:
    if failure is not None:
        console.print(f"[bold red]The demonstration failed:[/] {type(failure).__name__}: {failure}")
        return
    measured = report.measured
    console.print(
        f"From the interim that emptied the pool to the Disconnect-Requests: {measured['interim_to_disconnect_ms']} ms"
    )
    console.print(
        f"From the expiry of the minute to its Disconnect-Request: {measured['expiry_to_disconnect_ms']} ms"
    )
    console.print(
        f"Counted by the NASes {measured['counted_octets']} octets, metered {measured['metered_octets']}: equal."
    )
    console.print(f"[bold green]Everything went as it must[/], in {measured['seconds']} s.")


def _show_logs(stage: Stage, console: Console) -> None:
    for log in (stage.directory / "daemon.log", stage.directory / "freeradius/log/radius.log"):
        if log.exists():
            console.print(f"{log.name} ends:\n{log.read_text(errors='replace')[-2000:]}", markup=False)


def _keep(stage: Stage) -> str:
    """Leave everything running and return how to talk to it."""
    stage.herotill("sell", "six-gib", "--to", "student-1", "--key", "kept")
    stage.keep()
    password = PASSWORDS["student-1"]
    pairs = f"User-Name=student-1,User-Password={password},Calling-Station-Id=02-00-00-00-00-01,Message-Authenticator=0x00"
    return f"""
It is still running, in {stage.directory}. student-1 has another 6 GiB. Talk to it:

  echo "{pairs}" | radclient -x 127.0.0.1:{stage.auth_port} auth "{NAS_SECRET}"
  export HEROTILL_STATE={stage.state}
  herotill sessions
  herotill explain student-1
  herotill-nas --help        (server 127.0.0.1, ports {stage.auth_port} and {stage.acct_port})

Stop it:  scripts/demo --stop {stage.directory}"""


if __name__ == "__main__":
    main(prog_name="demo")
