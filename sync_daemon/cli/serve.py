"""`herotill serve`: the daemon in the foreground."""

import signal

import click

from sync_daemon.cli.application import Application, pass_application


@click.command()
@click.option("--only", metavar="WORKER[,...]", help="Run only these workers: meter, coa, schedule.")
@pass_application
def serve(application: Application, only: str | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C: each worker in a process of its own."""
    from sync_daemon.supervisor import Supervisor, chosen_workers, configure_logging  # noqa: PLC0415 - slow

    names = chosen_workers(only)
    configure_logging()
    supervisor = Supervisor(application.settings, names)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    supervisor.run()
