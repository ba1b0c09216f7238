"""`herotill init`: from an empty machine to an installation, as often as you like."""

import os
from pathlib import Path

import click

from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.progress import progress_bar
from sync_daemon.settings import (
    load_settings,
    new_class_secret,
    render_settings,
    settings_from_mapping,
    write_private,
)


@click.command()
@click.option("--billing-url", help="libpq URI of your PostgreSQL; without it a private one is made.")
@click.option("--radius-url", help="libpq URI of the RADIUS data, when it lives in another database.")
@click.option("--packet-time-url", help="libpq URI for FreeRADIUS, as a login role in herotill_radius.")
@click.option("--time-zone", help="Such as Africa/Nairobi; default UTC.")
@click.option("--currency", help="Such as KES (ISO 4217); default USD.")
@click.option("--phone-region", help="Whose phone numbers need no country code, such as KE (ISO 3166).")
@click.option("--node", help="This node's name in the usage data; default the host name.")
@click.option("--example", is_flag=True, help="Fill the books with a small ISP to try everything on.")
@pass_application
def init(application: Application, /, example: bool, **chosen: str | None) -> None:
    """Make this machine ready: settings, database, schema."""
    choices = {key: value for key, value in chosen.items() if value is not None}
    _write_settings(application, choices)
    _install_schema(application)
    if example:
        _fill(application)
        return
    click.echo("Next: `herotill nas add NAME --address A --type mikrotik --generate-secret`,")
    click.echo("then `herotill freeradius install`, then `herotill serve`.")


def _write_settings(application: Application, choices: dict[str, str]) -> None:
    path = application.config_path
    if path.exists():
        load_settings(path, application.state_directory)
        ignored = f"; edit it to change {', '.join(choices)}" if choices else ""
        click.echo(f"kept     {path}{ignored}")
        return
    values = {"class_secret": new_class_secret(), "voucher_secret": new_class_secret()} | choices
    settings_from_mapping(values, application.state_directory)  # refuse before anything is written
    _make_state_directory(application.state_directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, render_settings(values))
    click.echo(f"wrote    {path}")


def _fill(application: Application) -> None:
    from billing.example import DAYS, PASSWORD  # noqa: PLC0415 - slow to import
    from sync_daemon import example  # noqa: PLC0415

    with progress_bar("living through a month", DAYS + 1) as progress:
        example.make(application.settings, application.now(), progress)
    click.echo(f"filled   the books: two hostels, a market, homes; everybody's password is {PASSWORD}")
    click.echo(
        "Try: `herotill customer list`, `herotill explain north-1`, `herotill report usage --plot usage.png`,"
    )
    click.echo(
        "`herotill report sales`, `herotill report cuts --interval week`, `herotill --as reseller 'Mama Njeri'"
    )
    click.echo("customer list`, `herotill ledger balance`.")


def _make_state_directory(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        # Other users pass through it: PostgreSQL's to the data, FreeRADIUS's to the socket and the journal.
        path.chmod(path.stat().st_mode | 0o011)


def _install_schema(application: Application) -> None:
    from sync_daemon import database  # noqa: PLC0415 - slow to import

    settings = application.settings
    settings.journal_directory.mkdir(parents=True, exist_ok=True)
    for before, after in database.install_schema(settings):
        done = "kept    " if before == after else "migrated"
        click.echo(
            f"{done} the schema at revision {after}"
            + (f" from {before}" if before not in (None, after) else "")
        )
    where = (
        f"embedded PostgreSQL in {database.embedded_cluster(settings).directory}"
        if settings.embedded
        else "yours"
    )
    click.echo(f"database {where}")
