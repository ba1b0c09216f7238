"""`herotill refill`: a refill code to an account or ticket."""

import click

from billing import refills
from billing.refill_attempts import Attempt
from billing.refills import NotRedeemed
from billing.voucher_batches import needed
from herotill.errors import Refused
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Output, output_options, show_time
from sync_daemon.cli.parameters import operator_name
from sync_daemon.cli.voucher_sheets import code_keys

COLUMNS = [
    Column("user"),
    Column("plan"),
    Column("serial"),
    Column("expires_at", show_time, "never"),
    Column("repeated"),
]


@click.command()
@click.argument("code")
@click.option("--to", "user", required=True, help="The user name or ticket that gets it.")
@output_options
@pass_application
def refill(application: Application, /, output: Output, code: str, user: str) -> None:
    """Redeem the refill CODE, once: its time and data are added, live sessions go on with them at once."""
    attempt = Attempt(code=code, username=user, actor=operator_name())
    with application.billing_session() as session:
        outcome = refills.redeem(
            session,
            attempt=attempt,
            keys=needed(code_keys(application)),
            now=application.now(),
            time_zone=application.settings.time_zone,
        )
    if isinstance(outcome, NotRedeemed):
        raise Refused(outcome.sentence, "R10")
    record = {
        "user": outcome.username,
        "plan": outcome.plan_name,
        "serial": outcome.serial,
        "expires_at": outcome.expires_at,
        "repeated": outcome.repeated,
    }
    output.record(record, COLUMNS)
