"""`herotill-nas`: be a NAS against a live server, from the command line.

Exit status: 0 the user got on, 1 refused or no answer, 2 a value that cannot be.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import click

from herotill.errors import InvalidValue
from nas_simulator.cli_options import read_size_octets, secret_of, server_options, settings_of
from nas_simulator.cli_report import log_line, outcome_lines, outcome_object, run_object
from nas_simulator.credentials import Credentials, Method
from nas_simulator.limits import parse_rate_bits_per_second
from nas_simulator.makes import MAKES, Make
from nas_simulator.moods import MOOD_NAMES, parse_mood
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LoginOutcome
from nas_simulator.scenario import Plan, play
from nas_simulator.settings import NasSettings

_SIZE_HELP = "as 500M (millions) or 2Gi (of 1024)"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="herotill-radius")
def cli() -> None:
    """A NAS to try a RADIUS server with.

    It logs users in as a MikroTik, a CoovaChilli or a plain RFC NAS would, obeys the limits it was sent, reports usage, and
    answers Disconnect and CoA.

    \b
    herotill-nas login student-1 --secret-file nas.secret
    herotill-nas run student-1 --make mikrotik --download 2Gi --rate 20M --secret-file nas.secret
    """


@cli.command()
@click.argument("user")
@server_options
def login(user: str, **options: Any) -> None:
    """Ask whether USER may log in. Nothing is accounted."""
    settings = settings_of(options, pace=0, coa_port=None, listener=None)
    outcome = asyncio.run(_authenticate(settings, _credentials(user, options), options["device"] or user))
    if options["as_json"]:
        click.echo(json.dumps(outcome_object(outcome)))
    else:
        for line in outcome_lines(outcome):
            click.echo(line)
    _exit_by(outcome)


@cli.command()
@click.argument("user")
@click.option("--download", default="10M", show_default=True, help=f"Octets to fetch, {_SIZE_HELP}.")
@click.option("--upload", default="1M", show_default=True, help=f"Octets to send, {_SIZE_HELP}.")
@click.option("--rate", default="10M", show_default=True, help="Bits a second, both directions together.")
@click.option(
    "--pace",
    type=click.FloatRange(0.01, 10_000),
    default=1.0,
    show_default=True,
    help="Session seconds in one real second: 60 plays an hour in a minute.",
)
@click.option(
    "--linger",
    type=click.FloatRange(0, 86_400),
    default=0.0,
    show_default=True,
    help="Stay on so many real seconds after the last octet, for a Disconnect to come.",
)
@click.option(
    "--coa-port",
    type=click.IntRange(0, 65535),
    default=3799,
    show_default=True,
    help="Where we listen for Disconnect and CoA; 0 is any free port.",
)
@click.option("--mood", default="ack", show_default=True, help=f"How we answer them: {MOOD_NAMES}.")
@server_options
def run(user: str, **options: Any) -> None:
    """Log USER in, use data at a rate, log out.

    Interims are sent as often as the server asks. The session ends early where the server's limits or its Disconnect say so.
    """
    listener = None if options["as_json"] else lambda entry: click.echo(log_line(entry))
    settings = settings_of(options, options["pace"], options["coa_port"], listener)
    plan = Plan(
        credentials=_credentials(user, options),
        device=options["device"] or user,
        download_octets=read_size_octets(options["download"]),
        upload_octets=read_size_octets(options["upload"]),
        bits_per_second=parse_rate_bits_per_second(options["rate"]),
        linger_seconds=options["linger"],
        mood=parse_mood(options["mood"]),
    )
    _print_run(*asyncio.run(_play(settings, plan)), as_json=options["as_json"])


@cli.command()
def makes() -> None:
    """List the makes of NAS we can be, and what each reads as limits."""
    for make in MAKES.values():
        side = "upload" if make.input_is_upload else "download"
        limits = [limit.octets for limit in (make.input_limit, make.output_limit, make.total_limit) if limit]
        click.echo(f"{make.name}: its Input is the {side}")
        click.echo(f"  octet limits: {', '.join(limits) or 'none'}")
        click.echo(f"  rates: {', '.join(_rates(make)) or 'none'}")


def main() -> None:
    """Run the command line; an impossible value is one line and exit status 2."""
    _told_in_one_line(lambda: cli.main(prog_name="herotill-nas"))


def _told_in_one_line(command: Callable[[], Any]) -> None:
    try:
        command()
    except InvalidValue as fault:
        click.echo(f"Error: {fault}", err=True)
        sys.exit(2)
    except OSError as fault:
        click.echo(f"Error: {fault}", err=True)
        sys.exit(1)


def _credentials(user: str, options: dict[str, Any]) -> Credentials:
    password = secret_of("--password-file", options["password_file"], None, f"Password of {user}")
    return Credentials(Method(options["method"]), user, password)


async def _authenticate(settings: NasSettings, credentials: Credentials, device: str) -> LoginOutcome:
    async with SimulatedNas(settings) as nas:
        return await nas.authenticate(credentials, device)


async def _play(settings: NasSettings, plan: Plan) -> tuple[SimulatedNas, LoginOutcome]:
    async with SimulatedNas(settings) as nas:
        return nas, await play(nas, plan)


def _print_run(nas: SimulatedNas, outcome: LoginOutcome, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(run_object(nas, outcome)))
    elif isinstance(outcome, Accepted):
        used, cause = outcome.session.used, outcome.session.terminate_cause
        click.echo(
            f"{used.input_octets} octets up, {used.output_octets} down in {used.seconds} s; ended by {cause}"
        )
    _exit_by(outcome)


def _exit_by(outcome: LoginOutcome) -> None:
    sys.exit(0 if isinstance(outcome, Accepted) else 1)


def _rates(make: Make) -> list[str]:
    return [name for name in (make.rate_pair, make.rate_attribute, make.input_rate, make.output_rate) if name]
