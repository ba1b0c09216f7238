"""`herotill nas test`: does a router do its part, seen from what really came and was answered."""

from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from herotill.errors import Refused
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.doctor import FINDING_COLUMNS
from sync_daemon.cli.freeradius import raddb_option
from sync_daemon.cli.output import Format, Output, output_options

if TYPE_CHECKING:
    from sync_daemon.doctor.findings import Finding
    from sync_daemon.nas_evidence import Answered, EnteredNas


@click.command("test")
@click.argument("name")
@click.option(
    "--ask",
    is_flag=True,
    help="Also ask it now, about a session that does not exist; nobody is disconnected.",
)
@click.option("--server", metavar="ADDRESS", help="This server's address, for the commands that are printed.")
@raddb_option
@output_options
@pass_application
def testing_command(
    application: Application, /, name: str, output: Output, ask: bool, server: str | None, raddb: Path
) -> None:
    """Tell what a router sends and answers, and what to type at it to put right what is amiss.

    Exit status 1 when something is wrong; what was not seen yet is not.
    """
    # Slow to import, and only needed here.
    from sync_daemon.doctor.freeradius import requires_message_authenticator  # noqa: PLC0415
    from sync_daemon.nas_evidence import find_nas, read_evidence  # noqa: PLC0415
    from sync_daemon.nas_testing import Subject, is_in_order, judge_nas  # noqa: PLC0415

    source = application.settings.coa_source_address
    with application.radius_connection() as connection, connection.cursor() as cursor:
        nas = find_nas(cursor, name)
        seen = read_evidence(cursor, nas)
    asked = _ask(nas, source) if ask else {}
    subject = Subject(nas, server or source or "SERVER", requires_message_authenticator(raddb))
    findings = judge_nas(subject, seen, asked)
    _show(output, findings)
    if not is_in_order(findings):
        raise click.exceptions.Exit(1)


def _ask(nas: "EnteredNas", source_address: str | None) -> Mapping[str, "Answered"]:
    from sync_daemon.coa.asking import ask_about_nobody  # noqa: PLC0415
    from sync_daemon.coa.exchange import Destination  # noqa: PLC0415
    from sync_daemon.nas_testing import answered  # noqa: PLC0415

    try:
        address = ip_address(nas.coa_address or nas.address)
    except ValueError:
        raise Refused(f"{nas.name} is a network; only one address can be asked", rule="R33") from None
    destination = Destination(address, nas.coa_port, nas.coa_secret.encode())
    exchanges = ask_about_nobody(nas.nas_type, destination, source_address)
    return {
        action.value: answered(nas, action, destination, exchange) for action, exchange in exchanges.items()
    }


def _show(output: Output, findings: "tuple[Finding, ...]") -> None:
    if output.format is not Format.TABLE:
        output.rows([asdict(finding) for finding in findings], FINDING_COLUMNS)
        return
    for finding in findings:
        click.echo(f"{finding.health:<8} {finding.topic}: {finding.sentence}")
        for line in finding.mend.splitlines():
            click.echo(f"             {line}")
