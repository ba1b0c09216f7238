"""`herotill reseller`: who sells for us, from a balance, to the customers of its own groups."""

import re
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import groups, resellers
from billing.ledger import Entry
from billing.models import Reseller
from billing.paging import Page
from billing.payments import Method
from herotill.errors import InvalidValue
from herotill.quantities import Money, parse_money
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, keys_of, list_options
from sync_daemon.cli.output import Column, Output, output_options, show_list, show_time
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    operator_name,
    search_option,
    yes_option,
)

COLUMNS = [
    Column("name"),
    Column("balance", right=True),
    Column("commission", right=True),
    Column("groups", show_list),
    Column("customers", right=True),
]
DETAILS = [*COLUMNS, Column("sold"), Column("earned"), Column("created_at", show_time)]


def _parse_percent(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?\s*%", text.strip(), re.ASCII)
    basis_points = 0 if match is None else int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))
    if match is None or basis_points > resellers.WHOLE_IN_BASIS_POINTS:
        raise InvalidValue("--commission", text, "it is a share like 10% or 7.5%, to 100%")
    return basis_points


@click.group()
def reseller() -> None:
    """Who sells for us, from a balance, to the customers of its own groups."""


@reseller.command()
@click.argument("name")
@click.option("--commission", default="0%", show_default=True, help="What it keeps of every price, like 10%.")
@click.option("--currency", help="Of its balance; default that of the settings.")
@pass_application
def add(application: Application, /, name: str, commission: str, currency: str | None) -> None:
    """Enter a reseller."""
    money = parse_money(f"1{currency or application.settings.currency}", "--currency")
    with application.billing_session() as session:
        resellers.add(
            session,
            name=name,
            currency=money.currency,
            commission_basis_points=_parse_percent(commission),
            now=application.now(),
        )
    click.echo(f"added reseller {name}; `herotill reseller assign {name} GROUP` gives it customers")


@reseller.command(name="list")
@search_option
@list_options(keys_of(COLUMNS))
@pass_application
def list_resellers(application: Application, /, output: Output, search: str, page: Page) -> None:
    """List the resellers."""
    with application.billing_session() as session:
        found = resellers.listing(session, search=search, limit=100_000)
        output.rows(arranged([_row(session, each) for each in found], page), COLUMNS)


@reseller.command()
@click.argument("name")
@output_options
@pass_application
def show(application: Application, /, output: Output, name: str) -> None:
    """Show one reseller, and what it sold and earned."""
    with application.billing_session() as session:
        found = resellers.get(session, name)
        output.record(_row(session, found) | resellers.totals(session, found), DETAILS)


@reseller.command()
@click.argument("name")
@click.option("--commission", required=True, help="From now on, like 12.5%.")
@pass_application
def edit(application: Application, /, name: str, commission: str) -> None:
    """Change what a reseller keeps of every price."""
    with application.billing_session() as session:
        resellers.edit(session, name=name, changes={"commission_basis_points": _parse_percent(commission)})
    click.echo(f"reseller {name} keeps {commission} from now on")


@reseller.command()
@click.argument("name")
@click.argument("group")
@pass_application
def assign(application: Application, /, name: str, group: str) -> None:
    """Make GROUP the reseller's own: it sees and serves its customers."""
    with application.billing_session() as session:
        resellers.assign_group(session, name=name, group=group, now=application.now())
    click.echo(f"group {group} belongs to reseller {name}")


@reseller.command()
@click.argument("name")
@click.argument("group")
@pass_application
def release(application: Application, /, name: str, group: str) -> None:
    """Take GROUP away from the reseller."""
    with application.billing_session() as session:
        resellers.release_group(session, name=name, group=group)
    click.echo(f"group {group} belongs to reseller {name} no more")


@reseller.command()
@click.argument("name")
@click.argument("amount")
@click.option(
    "--key", required=True, help="The receipt's number: it counts once, however often you enter it."
)
@click.option("--method", type=choice_of(Method), default=Method.CASH.value, show_default=True)
@click.option("--back", is_flag=True, help="The other way: you pay AMOUNT back.")
@pass_application
def pay(application: Application, /, name: str, amount: str, key: str, method: str, back: bool) -> None:
    """Take money from a reseller; it raises the balance it sells from."""
    money = parse_money(amount, "AMOUNT", application.settings.currency)
    if back:
        money = Money(-money.minor, money.currency)
    what = f"paid back to {name}" if back else f"paid by {name}"
    with application.billing_session() as session:
        found = resellers.get(session, name)
        entry = Entry(f"payment:reseller:{found.reseller_id}:{key}", what, application.now(), operator_name())
        is_new = resellers.pay_in(session, name=name, amount=money, entry=entry, into=method)
        held = resellers.balance(session, found.reseller_id, found.currency)
    click.echo(f"the balance of reseller {name} is {held}{'' if is_new else f'; {key} was recorded before'}")


@reseller.command()
@click.argument("name")
@yes_option
@pass_application
def remove(application: Application, /, name: str, yes: bool) -> None:
    """End a reseller's work; its groups come back to you, the books keep what it sold."""
    with application.billing_session() as session:
        own = [group.name for group in resellers.groups_of(session, resellers.get(session, name))]
        ask_before(f"reseller {name} will sell no more; its groups: {', '.join(own) or 'none'}", yes)
        resellers.close(session, name=name, now=application.now())
    click.echo(f"removed reseller {name}")


def _row(session: Session, found: Reseller) -> dict[str, Any]:
    own = resellers.groups_of(session, found)
    return {
        "name": found.name,
        "balance": resellers.balance(session, found.reseller_id, found.currency),
        "commission": f"{found.commission_basis_points / 100:g}%",
        "groups": [group.name for group in own],
        "customers": sum(groups.count_members(session, group) for group in own),
        "created_at": found.created_at,
    }
