"""`herotill sell`: a plan to an account, by the operator."""

from uuid import uuid4

import click

from billing import sales
from billing.charging import PaidBy
from billing.sales import Order
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Output, output_options, show_time
from sync_daemon.cli.parameters import choice_of, operator_name

COLUMNS = [
    Column("user"),
    Column("plan"),
    Column("price"),
    Column("purchase"),
    Column("purchased_at", show_time),
    Column("repeated"),
]


@click.command()
@click.argument("plan")
@click.option("--to", "user", required=True, help="The user name that gets it.")
@click.option("--key", help="Sells once, however often you repeat the command with the same key.")
@click.option(
    "--paid-by", type=choice_of(PaidBy), default=PaidBy.CASH.value, show_default=True, help="Who pays how."
)
@output_options
@pass_application
def sell(
    application: Application, /, output: Output, plan: str, user: str, key: str | None, paid_by: str
) -> None:
    """Sell PLAN to an account; it may log in at once."""
    order = Order(
        plan=plan,
        username=user,
        key=f"operator:{uuid4()}" if key is None else key,
        sold_by=operator_name(),
        paid_by=PaidBy(paid_by),
        time_zone=application.settings.time_zone,
    )
    with application.billing_session() as session:
        seller = application.seller(session)
        sale = sales.sell(session, order=order, now=application.now(), seller=seller)
    record = {
        "user": sale.username,
        "plan": sale.plan_name,
        "price": sale.price,
        "purchase": sale.purchase_id,
        "purchased_at": sale.purchased_at,
        "repeated": sale.repeated,
    }
    output.record(record, COLUMNS)
