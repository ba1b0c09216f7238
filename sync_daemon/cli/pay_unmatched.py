"""`herotill pay unmatched`: payments that matched nobody, and what becomes of them."""

import click

from billing import payments, unmatched_payments
from billing.paging import Page
from billing.unmatched_payments import Resolution
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, keys_of, list_options
from sync_daemon.cli.output import Column, Output, show_time
from sync_daemon.cli.parameters import ask_before, operator_name, yes_option

COLUMNS = [
    Column("payment", right=True),
    Column("received_at", show_time),
    Column("amount", right=True),
    Column("gateway"),
    Column("reference"),
    Column("payer"),
    Column("reason"),
]


@click.group()
def unmatched() -> None:
    """Payments that matched nobody."""


@unmatched.command(name="list")
@list_options(keys_of(COLUMNS))
@pass_application
def list_unmatched(application: Application, /, output: Output, page: Page) -> None:
    """List what waits for you, oldest first."""
    with application.billing_session() as session:
        rows = [
            {
                "payment": each.payment_id,
                "received_at": each.received_at,
                "amount": each.amount,
                "gateway": each.gateway,
                "reference": each.reference,
                "payer": each.payer,
                "reason": each.unmatched_reason,
            }
            for each in unmatched_payments.queue(session, limit=100_000)
        ]
    output.rows(arranged(rows, page), COLUMNS)


@unmatched.command()
@click.argument("payment", type=int)
@click.argument("customer")
@click.option("--reason", default="assigned by the operator", show_default=True, help="How you know.")
@pass_application
def assign(application: Application, /, payment: int, customer: str, reason: str) -> None:
    """Give the money of PAYMENT to CUSTOMER, whose it is."""
    with application.billing_session() as session:
        found = unmatched_payments.assign(
            session,
            payment_id=payment,
            customer=customer,
            resolution=Resolution(reason, operator_name()),
            now=application.now(),
            time_zone=application.settings.time_zone,
        )
        owner = found.customer
        told = f"payment {payment} of {found.amount} is customer {owner.account_number if owner else ''}'s"
    click.echo(told)


@unmatched.command()
@click.argument("payment", type=int)
@click.option("--reason", required=True, help="Why, and how it was given back.")
@yes_option
@pass_application
def refuse(application: Application, /, payment: int, reason: str, yes: bool) -> None:
    """Note that the money of PAYMENT was given back; giving it back is up to you."""
    with application.billing_session() as session:
        found = payments.get(session, payment)
        ask_before(f"payment {payment} of {found.amount} will be noted as given back", yes)
        resolution = Resolution(reason, operator_name())
        unmatched_payments.refuse(session, payment_id=payment, resolution=resolution, now=application.now())
        told = f"payment {payment} of {found.amount} was given back"
    click.echo(told)
