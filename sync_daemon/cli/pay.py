"""`herotill pay`: money that comes in. `herotill pay CUSTOMER AMOUNT` takes it by hand; the rest is below it."""

from pathlib import Path
from typing import Any

import click

from billing import activation, gateways, payment_requests, payments
from billing.models import Payment
from billing.paging import Page
from billing.payment_requests import Activation, Wanted
from billing.payments import Method, NewPayment, NotPaid, PaymentState, Receipt
from herotill.errors import InvalidValue
from herotill.quantities import parse_money
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, keys_of, list_options
from sync_daemon.cli.output import Column, Output, output_options, show_time
from sync_daemon.cli.parameters import (
    SECONDS_NEEDED,
    choice_of,
    operator_name,
)
from sync_daemon.cli.pay_unmatched import unmatched

BY_HAND = "by-hand"
COLUMNS = [
    Column("payment", right=True),
    Column("received_at", show_time),
    Column("amount", right=True),
    Column("method"),
    Column("account_number", head="customer"),
    Column("reference"),
    Column("state"),
    Column("activated"),
]
DETAILS = [
    *COLUMNS,
    Column("payer"),
    Column("unmatched_reason"),
    Column("activation_refused"),
    Column("resolution"),
    Column("resolved_by"),
    Column("recorded_by"),
    Column("key"),
]
TAKEN = [*COLUMNS, Column("activation_refused"), Column("repeated")]
REQUESTED = [
    Column("reference"),
    Column("amount"),
    Column("plan_name", head="plan"),
    Column("username", head="user"),
    Column("invoice_id", head="invoice"),
    Column("expires_at", show_time),
]
GATEWAYS = [
    Column("name"),
    Column("secret_file"),
    Column("currency"),
    Column("amount_in"),
    Column("tolerance_seconds"),
    Column("fields"),
]


class PayGroup(click.Group):
    """What is no command below `pay` is the customer of a payment by hand."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or else the one that takes money by hand."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, BY_HAND)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Leave the customer's name among the arguments."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = [BY_HAND, *args]
        return super().resolve_command(ctx, args)


@click.group(cls=PayGroup)
def pay() -> None:
    """Money that comes in: `herotill pay CUSTOMER AMOUNT --key K`, and what gateways say."""


pay.add_command(unmatched)


@pay.command(name=BY_HAND)
@click.argument("customer")
@click.argument("amount")
@click.option(
    "--key", required=True, help="The receipt's number: it counts once, however often you enter it."
)
@click.option("--method", type=choice_of(Method), default=Method.CASH.value, show_default=True)
@click.option("--activate", "plan", metavar="PLAN", help="Sell this plan for it, once debts are settled.")
@click.option("--user", help="Whose it is; needed with --activate.")
@output_options
@pass_application
def by_hand(application: Application, /, output: Output, customer: str, amount: str, **options: Any) -> None:
    """Take money by hand. CUSTOMER is an account number, user name, phone or e-mail; AMOUNT is like 500KES."""
    payment = NewPayment(
        customer=customer,
        amount=parse_money(amount, "AMOUNT", application.settings.currency),
        key=options["key"],
        recorded_by=operator_name(),
        method=Method(options["method"]),
        activation=_activation(options["plan"], options["user"]),
        time_zone=application.settings.time_zone,
    )
    with application.billing_session() as session:
        seller = application.seller(session)
        receipt = payments.take(session, payment=payment, now=application.now(), seller=seller)
        record = _row(receipt.payment) | {"repeated": receipt.repeated}
    output.record(record, TAKEN)


@pay.command()
@click.option("--gateway", "name", required=True, help="Its name in `payment_gateways` of the settings.")
@click.option("--signature", required=True, help="Of the message, as the gateway sent it: t=…,v1=…")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@output_options
@pass_application
def receive(application: Application, /, output: Output, name: str, signature: str, file: Path) -> None:
    """Take the message of a gateway from FILE (- is standard input), as its webhook would bring it."""
    settings = application.settings
    gateway = gateways.open_gateway(gateways.find(settings.payment_gateways, name), settings.time_zone)
    body = _read(file)
    with application.billing_session() as session:
        outcome = payments.receive(session, gateway, body, signature, application.now())
        record = (
            _row(outcome.payment) | {"repeated": outcome.repeated} if isinstance(outcome, Receipt) else {}
        )
    if isinstance(outcome, NotPaid):
        click.echo(f"{outcome.gateway_id} is not paid: {outcome.status}; nothing is recorded", err=True)
    else:
        output.record(record, TAKEN)


@pay.command()
@click.argument("customer")
@click.argument("amount", required=False)
@click.option("--invoice", "invoice_id", type=int, help="It pays this invoice.")
@click.option("--plan", help="It activates this plan.")
@click.option("--user", help="Whose it is; needed with --plan.")
@click.option("--valid-for", "valid_seconds", type=SECONDS_NEEDED, default="1d", show_default=True)
@output_options
@pass_application
def request(
    application: Application, /, output: Output, customer: str, amount: str | None, **options: Any
) -> None:
    """Expect a payment; the reference that is printed comes back with the money."""
    money = None if amount is None else parse_money(amount, "AMOUNT", application.settings.currency)
    wanted = Wanted(
        customer=customer,
        requested_by=operator_name(),
        amount=money,
        invoice_id=options["invoice_id"],
        activation=_activation(options["plan"], options["user"]),
        valid_seconds=options["valid_seconds"],
    )
    with application.billing_session() as session:
        expected = payment_requests.request(session, wanted=wanted, now=application.now())
        record = {column.key: getattr(expected, column.key) for column in REQUESTED}
    output.record(record, REQUESTED)


@pay.command(name="list")
@click.option("--customer", default="", metavar="REF", help="Only of this customer.")
@click.option("--state", type=choice_of(PaymentState), help="Only these.")
@list_options(payments.SORT_KEYS)
@pass_application
def list_payments(
    application: Application, /, output: Output, page: Page, customer: str, state: str | None
) -> None:
    """List the payments, newest first."""
    with application.billing_session() as session:
        found = payments.listing(session, customer=customer, state=state or "", page=page)
        output.rows([_row(each) for each in found], COLUMNS)


@pay.command()
@click.argument("payment", type=int)
@output_options
@pass_application
def show(application: Application, /, output: Output, payment: int) -> None:
    """Show one payment."""
    with application.billing_session() as session:
        output.record(_row(payments.get(session, payment)), DETAILS)


@pay.command()
@click.argument("payment", type=int)
@click.option("--plan", help="Another plan than the payment names.")
@click.option("--user", help="Whose it is; needed with --plan.")
@pass_application
def activate(application: Application, /, payment: int, plan: str | None, user: str | None) -> None:
    """Sell the plan a payment was for, where that was refused before. A payment activates at most once."""
    zone = application.settings.time_zone
    with application.billing_session() as session:
        found = payments.get(session, payment, lock=True)
        sale = activation.retry(
            session, found, _activation(plan, user), now=application.now(), time_zone=zone
        )
    click.echo(f"payment {payment} activated {sale.plan_name} for {sale.username}")


@pay.command(name="gateways")
@list_options(keys_of(GATEWAYS))
@pass_application
def list_gateways(application: Application, /, output: Output, page: Page) -> None:
    """List the gateways of the settings."""
    rows = [
        {
            "name": each.name,
            "secret_file": str(each.secret_file),
            "currency": each.currency,
            "amount_in": "minor" if each.amount_in_minor_units else "major",
            "tolerance_seconds": each.tolerance_seconds,
            "fields": ", ".join(f"{name} = {path}" for name, path in each.fields.items()),
        }
        for each in application.settings.payment_gateways
    ]
    output.rows(arranged(rows, page), GATEWAYS)


def _activation(plan: str | None, user: str | None) -> Activation | None:
    if (plan is None) != (user is None):
        raise InvalidValue("--user", user, "a plan and the user name that gets it go together")
    return None if plan is None or user is None else Activation(plan, user)


def _read(file: Path) -> bytes:
    try:
        with click.open_file(str(file), "rb") as stream:
            body: bytes = stream.read(gateways.MAX_BODY_OCTETS + 1)
    except OSError as error:
        raise InvalidValue("FILE", str(file), f"it cannot be read: {error.strerror}") from None
    return body


def _row(payment: Payment) -> dict[str, Any]:
    return {
        "payment": payment.payment_id,
        "received_at": payment.received_at,
        "amount": payment.amount,
        "method": payment.gateway or payment.method,
        "account_number": None if payment.customer is None else payment.customer.account_number,
        "reference": payment.reference,
        "state": payment.state,
        "activated": payment.plan_name if payment.purchase_id is not None else None,
        "payer": payment.payer,
        "unmatched_reason": payment.unmatched_reason,
        "activation_refused": payment.activation_refused,
        "resolution": payment.resolution,
        "resolved_by": payment.resolved_by,
        "recorded_by": payment.recorded_by,
        "key": payment.payment_key,
    }
