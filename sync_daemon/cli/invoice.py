"""`herotill invoice`: bills. They are paid by paying: `herotill pay`."""

from datetime import datetime
from typing import Any

import click

from billing import invoices, suspension
from billing.invoices import State
from billing.models import Invoice
from billing.paging import Page
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import list_options
from sync_daemon.cli.output import Column, Output, output_options, show_time
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    operator_name,
    parse_day_or_time,
    yes_option,
)

COLUMNS = [
    Column("invoice", right=True),
    Column("user"),
    Column("customer"),
    Column("amount", right=True),
    Column("state"),
    Column("issued_at", show_time),
    Column("due_at", show_time),
    Column("paid_at", show_time),
]
DETAILS = [
    *COLUMNS,
    Column("account_number"),
    Column("description"),
    Column("cycle_began_on"),
    Column("voided_at", show_time),
    Column("voided_by"),
    Column("void_reason"),
]


@click.group()
def invoice() -> None:
    """Bills: `herotill account bill` and the billing run make them, `herotill pay` pays them."""


@invoice.command(name="list")
@click.option("--customer", default="", help="Account number, user name, phone or e-mail.")
@click.option("--state", type=choice_of(State), help="Only these; open ones include the overdue.")
@list_options(invoices.SORT_KEYS)
@pass_application
def list_invoices(
    application: Application, /, output: Output, customer: str, state: str | None, page: Page
) -> None:
    """List bills, newest first."""
    now = application.now()
    with application.billing_session() as session:
        found = invoices.search(
            session, reference=customer, state=None if state is None else State(state), now=now, page=page
        )
        output.rows([_row(each, now) for each in found], COLUMNS)


@invoice.command()
@click.argument("number", type=int)
@output_options
@pass_application
def show(application: Application, /, output: Output, number: int) -> None:
    """Show one bill."""
    with application.billing_session() as session:
        output.record(_row(invoices.get(session, number), application.now()), DETAILS)


@invoice.command()
@click.argument("number", type=int)
@click.option("--reason", required=True, help="Why, for the books.")
@yes_option
@pass_application
def void(application: Application, /, number: int, reason: str, yes: bool) -> None:
    """Take an open bill back: the customer owes it no more, and what it was for stays."""
    now = application.now()
    with application.billing_session() as session:
        found = invoices.get(session, number)
        what = f"bill {number} to {found.account.username} over {found.amount} will be void"
        ask_before(f"{what}, for good", yes)
        invoices.void(session, invoice_id=number, reason=reason, now=now, voided_by=operator_name())
        if found.account.customer_id is not None:
            suspension.settle(session, found.account.customer_id, now)
    click.echo(f"voided bill {number} ({reason})")


@invoice.command()
@click.argument("number", type=int)
@click.option("--due", required=True, help="To be paid by the end of this day, like 2026-11-30.")
@pass_application
def postpone(application: Application, /, number: int, due: str) -> None:
    """Give an open bill another payment date: till then it suspends nobody."""
    now = application.now()
    due_at = parse_day_or_time(due, "--due", application.time_zone)
    with application.billing_session() as session:
        found = invoices.postpone(session, invoice_id=number, due_at=due_at, now=now)
        if found.account.customer_id is not None:
            suspension.settle(session, found.account.customer_id, now)
    click.echo(f"bill {number} is to be paid by {due}")


def _row(found: Invoice, now: datetime) -> dict[str, Any]:
    owner = found.account.customer
    return {
        "invoice": found.invoice_id,
        "user": found.account.username,
        "customer": None if owner is None else owner.name,
        "account_number": None if owner is None else owner.account_number,
        "amount": found.amount,
        "state": str(invoices.state_of(found, now)),
        "issued_at": found.issued_at,
        "due_at": found.due_at,
        "paid_at": found.paid_at,
        "description": found.description,
        "cycle_began_on": found.cycle_began_on,
        "voided_at": found.voided_at,
        "voided_by": found.voided_by,
        "void_reason": found.void_reason,
    }
