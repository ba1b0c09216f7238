"""`herotill customer export` and `erase`: what is known of one person, and how it is forgotten (rule R36)."""

import json
from pathlib import Path

import click
from sqlalchemy.orm import Session

from billing import customers, erasure, ledger, privacy
from billing.models import Customer
from herotill.errors import Refused
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.parameters import ask_before, yes_option
from sync_daemon.cli.voucher_sheets import private_file


@click.command()
@click.argument("reference", metavar="REF")
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output."
)
@pass_application
def export(application: Application, /, reference: str, file: Path | None) -> None:
    """Write everything that is known of a customer as JSON, for the customer to have."""
    with application.billing_session() as session:
        document = privacy.export(session, erasure.find(session, reference), application.now())
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    if file is None:
        click.echo(text, nl=False)
        return
    with private_file(file) as target:
        target.write(text.encode())
    click.echo(f"wrote what is known of customer {document['account_number']} to {file}")


@click.command()
@click.argument("reference", metavar="REF")
@yes_option
@pass_application
def erase(application: Application, /, reference: str, yes: bool) -> None:
    """Forget a person for good: name, addresses, devices, user names. The books keep the figures."""
    with application.billing_session() as session:
        found = erasure.find(session, reference)
        ask_before(_fate(session, found), yes)
        done = erasure.erase(session, reference=found.account_number, now=application.now())
    if not done.done:
        raise Refused(
            f"customer {done.account_number} is closed and {done.live} live sessions are being cut; "
            f"`herotill customer erase {done.account_number}` again when they have ended",
            "R36",
        )
    click.echo(f"erased customer {done.account_number}")


def _fate(session: Session, found: Customer) -> str:
    held = [money for money in ledger.balances(session, found.customer_id) if money.minor]
    money = f" The balance of {', '.join(map(str, held))} stays in the books." if held else ""
    spent = ", ".join(map(str, customers.expenditure(session, found))) or "nothing"
    who = f"customer {found.account_number} ({found.name})"
    return f"{who}, who spent {spent}, will be closed and forgotten for good; this cannot be undone.{money}"
