"""`herotill database`: the embedded PostgreSQL, and where the data is."""

from typing import TYPE_CHECKING

import click

from herotill.errors import Refused
from sync_daemon.cli.application import Application, pass_application

if TYPE_CHECKING:
    from sync_daemon.embedded_postgresql import EmbeddedPostgresql


@click.group()
def database() -> None:
    """The embedded PostgreSQL: start, stop, status, url."""


@database.command()
@pass_application
def start(application: Application) -> None:
    """Start the embedded PostgreSQL; it keeps running."""
    started = _cluster(application).start()
    click.echo("started" if started else "it was running already")


@database.command()
@pass_application
def stop(application: Application) -> None:
    """Stop the embedded PostgreSQL, cutting its connections."""
    stopped = _cluster(application).stop()
    click.echo("stopped" if stopped else "it was not running")


@database.command()
@pass_application
def status(application: Application) -> None:
    """Say whether the embedded PostgreSQL runs; exit status 1 when not."""
    running = _cluster(application).is_running()
    click.echo("running" if running else "not running")
    if not running:
        raise click.exceptions.Exit(1)


@database.command()
@click.option("--radius", "which", flag_value="radius", help="Of the schema radius.")
@click.option("--packet-time", "which", flag_value="packet-time", help="As FreeRADIUS sees it.")
@click.option(
    "--billing", "which", flag_value="billing", default="billing", help="Of the books (the default)."
)
@pass_application
def url(application: Application, which: str) -> None:
    """Print a connection URI, for `psql "$(herotill database url)"`. It may hold a password."""
    from sync_daemon import database as data  # noqa: PLC0415 - slow to import

    find = {"billing": data.billing_url, "radius": data.radius_url, "packet-time": data.packet_time_url}
    click.echo(find[which](application.settings))


def _cluster(application: Application) -> "EmbeddedPostgresql":
    from sync_daemon.database import embedded_cluster  # noqa: PLC0415 - slow to import

    if not application.settings.embedded:
        raise Refused(
            "this installation uses your own database (billing_url); start and stop it yourself", "database"
        )
    return embedded_cluster(application.settings)
