"""`herotill serve`: the daemon in the foreground."""

import signal

import click

from sync_daemon.cli.application import Application, pass_application
from sync_daemon.logs import ENVIRONMENT, FORMATS, choose_format, configure_logging


@click.command()
@click.option("--only", metavar="WORKER[,...]", help="Run only these workers, such as meter,coa.")
@click.option("--without", metavar="WORKER[,...]", help="Run all workers but these.")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    envvar=ENVIRONMENT,
    help=f"Lines for people, or a JSON object each (or {ENVIRONMENT}).",
)
@pass_application
def serve(application: Application, only: str | None, without: str | None, log_format: str) -> None:
    """Run the daemon until SIGTERM or Ctrl-C: each worker in a process of its own.

    SIGHUP, or a change of the settings file, makes it read the settings again.
    """
    from sync_daemon.supervision.roster import chosen_workers  # noqa: PLC0415 - slow
    from sync_daemon.supervision.supervisor import Supervisor  # noqa: PLC0415

    names = chosen_workers(only, without)
    choose_format(log_format)
    configure_logging()
    supervisor = Supervisor(application.settings, names, application.config_path)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    signal.signal(signal.SIGHUP, supervisor.reload)
    supervisor.run()
