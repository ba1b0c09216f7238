"""`herotill database`: the embedded PostgreSQL, where the data is, and dividing it."""

from typing import TYPE_CHECKING

import click

from herotill.errors import Refused
from sync_daemon.cli.application import Application, pass_application

if TYPE_CHECKING:
    from sync_daemon.embedded_postgresql import EmbeddedPostgresql


@click.group()
def database() -> None:
    """The embedded PostgreSQL: start, stop, status, url; dividing a large one."""


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


@database.command()
@click.option(
    "--node", "nodes", multiple=True, metavar="HOST:PORT", help="A machine the rows shall lie on; repeat it."
)
@click.option("--coordinator", metavar="HOST:PORT", help="Where those reach this database.")
@click.option("--dry-run", is_flag=True, help="Say what would be divided, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_application
def distribute(
    application: Application, nodes: tuple[str, ...], coordinator: str | None, dry_run: bool, yes: bool
) -> None:
    """Spread the history of use over several machines by user name (Citus; as the owner)."""
    from sync_daemon import dividing  # noqa: PLC0415
    from sync_daemon.database import connect, owner_urls  # noqa: PLC0415

    where = None if coordinator is None else dividing.Node.parse(coordinator)
    cluster = dividing.Cluster(where, [dividing.Node.parse(node) for node in nodes])
    # Moving the rows takes as long as it takes.
    url = owner_urls(application.settings)[-1]
    connection = connect(url, "herotill database distribute", statement_timeout_milliseconds=0)
    try:
        with connection, connection.cursor() as cursor:
            version = dividing.refuse_without_citus(cursor)
            tables = dividing.undivided(cursor)
        click.echo(
            f"Citus {version}: {', '.join(tables) or 'nothing'} to divide; what is metered waits meanwhile"
        )
        if dry_run or not (yes or click.confirm("Divide?")):
            return
        dividing.divide(connection, cluster)
        click.echo("divided: " + (", ".join(tables) or "nothing new"))
    finally:
        connection.close()


def _cluster(application: Application) -> "EmbeddedPostgresql":
    from sync_daemon.database import embedded_cluster  # noqa: PLC0415 - slow to import

    if not application.settings.embedded:
        raise Refused(
            "this installation uses your own database (billing_url); start and stop it yourself", "database"
        )
    return embedded_cluster(application.settings)
