"""`herotill doctor`: is this installation sound, and if not, what to do."""

from dataclasses import asdict
from pathlib import Path

import click

from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.freeradius import raddb_option
from sync_daemon.cli.output import Column, Output, output_options

FINDING_COLUMNS = (
    Column("topic"),
    Column("health"),
    Column("sentence", head="what was seen"),
    Column("mend", head="what to do"),
)


@click.command()
@raddb_option
@output_options
@pass_application
def doctor(application: Application, raddb: Path, output: Output) -> None:
    """Look at everything this installation needs; exit status 1 when something is wrong.

    Best run as root, who can read FreeRADIUS's files. Nothing is changed.
    """
    from sync_daemon.doctor import examine, is_anything_wrong  # noqa: PLC0415 - slow to import

    findings = examine(application.settings, raddb.expanduser().absolute())
    output.rows([asdict(finding) for finding in findings], FINDING_COLUMNS)
    if is_anything_wrong(findings):
        raise click.exceptions.Exit(1)
