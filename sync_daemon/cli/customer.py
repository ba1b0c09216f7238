"""`herotill customer`: people and companies in the books. REF is an account number, user name, phone or e-mail."""

from collections.abc import Callable
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import accounts, customers, ledger
from billing.accounts import Login
from billing.customers import Person
from billing.models import Customer
from herotill.errors import InvalidValue
from herotill.snapshot import AccountKind
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Output, output_options, show_list, show_time
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    limit_option,
    password_options,
    policy_options,
    search_option,
    with_options,
    yes_option,
)

COLUMNS = [
    Column("account_number"),
    Column("name"),
    Column("phone"),
    Column("email"),
    Column("group"),
    Column("users", show_list),
    Column("status"),
]
DETAILS = [
    *COLUMNS,
    Column("joined_at", show_time),
    Column("verified_at", show_time, "not yet"),
    Column("disabled_at", show_time),
    Column("balance", show_list, "0"),
    Column("spent", show_list, "0"),
]
ADDED = [Column("account_number"), Column("name"), Column("user"), Column("password"), Column("status")]

_contact_options = [
    click.option("--phone", help="International (E.164), like +254712345678."),
    click.option("--email", help="E-mail address."),
]


def _with_contact(command: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(command, _contact_options)


@click.group()
def customer() -> None:
    """People and companies in the books."""


@customer.command()
@click.option("--name", required=True, help="The customer's name.")
@_with_contact
@click.option("--group", help="The group it joins.")
@click.option("--user", help="Open an account with this user name in one go.")
@click.option("--kind", type=choice_of(AccountKind), help="The account's kind; default prepaid.")
@click.option(
    "--cycle-day", type=click.IntRange(1, 31), help="Monthly: the day the cycle begins; default today."
)
@click.option("--verified", is_flag=True, help="You know this customer: no verification needed.")
@password_options
@policy_options
@output_options
@pass_application
def add(application: Application, /, output: Output, **options: Any) -> None:
    """Enter a customer, unverified, and its first account if you say --user."""
    login, shown = _login(options)
    now = application.now()
    person = Person(options["name"], options["phone"], options["email"])
    with application.billing_session() as session:
        new = customers.add(session, person=person, group=options["group"], now=now)
        if login is not None:
            more = {"policy": options["policy"], "cycle_day": options["cycle_day"]}
            accounts.add(session, login=login, customer=new, now=now, **more)
        if options["verified"]:
            customers.verify(session, reference=new.account_number, now=now)
        record = _row(session, new) | {"user": options["user"], "password": shown}
    output.record(record, ADDED)


@customer.command(name="list")
@search_option
@click.option("--group", default="", help="Only this group.")
@limit_option
@output_options
@pass_application
def list_customers(application: Application, /, output: Output, search: str, group: str, limit: int) -> None:
    """List customers; the search looks at names, numbers, phones, addresses and user names."""
    with application.billing_session() as session:
        found = customers.listing(session, search=search, group=group, limit=limit)
        output.rows([_row(session, each) for each in found], COLUMNS)


@customer.command()
@click.argument("reference", metavar="REF")
@output_options
@pass_application
def show(application: Application, /, output: Output, reference: str) -> None:
    """Show one customer."""
    with application.billing_session() as session:
        found = customers.get(session, reference)
        money = {
            "balance": ledger.balances(session, found.customer_id) or None,
            "spent": customers.expenditure(session, found) or None,
        }
        output.record(_row(session, found) | money, DETAILS)


@customer.command()
@click.argument("reference", metavar="REF")
@pass_application
def verify(application: Application, /, reference: str) -> None:
    """Vouch for a customer, who from now on may buy and log in."""
    with application.billing_session() as session:
        found = customers.verify(session, reference=reference, now=application.now())
        told = f"verified customer {found.account_number} ({found.name})"
    click.echo(told)


@customer.command()
@click.argument("reference", metavar="REF")
@click.option("--name", help="A new name.")
@_with_contact
@click.option("--group", help="Move to this group; `none` for no group.")
@pass_application
def edit(application: Application, /, reference: str, **options: str | None) -> None:
    """Change a customer; `none` empties a phone, e-mail or group."""
    typed = {key: value for key, value in options.items() if value is not None}
    changes = {key: None if value == "none" and key != "name" else value for key, value in typed.items()}
    with application.billing_session() as session:
        found = customers.edit(session, reference=reference, changes=changes)
        told = f"changed customer {found.account_number}: {', '.join(changes) or 'nothing'}"
    click.echo(told)


@customer.command()
@click.argument("reference", metavar="REF")
@yes_option
@pass_application
def remove(application: Application, /, reference: str, yes: bool) -> None:
    """Delete a customer: accounts are closed, sessions cut; the books keep what was sold."""
    with application.billing_session() as session:
        ask_before(f"{_fate(session, reference)} deleted for good", yes)
        cut = customers.remove(session, reference=reference, now=application.now())
    click.echo(f"removed customer {reference}; {cut} sessions cut")


@customer.command()
@click.argument("reference", metavar="REF")
@yes_option
@pass_application
def disable(application: Application, /, reference: str, yes: bool) -> None:
    """Deny all of a customer's accounts and cut their sessions."""
    with application.billing_session() as session:
        ask_before(f"{_fate(session, reference)} disabled", yes)
        cut = customers.disable(session, reference=reference, now=application.now())
    click.echo(f"disabled customer {reference}; {cut} sessions cut")


@customer.command()
@click.argument("reference", metavar="REF")
@pass_application
def enable(application: Application, /, reference: str) -> None:
    """Undo `disable`."""
    with application.billing_session() as session:
        customers.enable(session, reference=reference)
    click.echo(f"enabled customer {reference}")


def _login(options: dict[str, Any]) -> tuple[Login | None, str | None]:
    """Return the account to open, and the password where we made it up and must tell it."""
    password, user, kind = options["password"], options["user"], options["kind"]
    if user is None:
        if kind is not None or options["cycle_day"] is not None or options["policy"]:
            raise InvalidValue("--user", None, "the options of an account need its user name")
        return None, None
    secret, is_generated = password()
    login = Login(user, secret, AccountKind(kind or AccountKind.PREPAID))
    return login, secret if is_generated else None


def _fate(session: Session, reference: str) -> str:
    found = customers.get(session, reference)
    users = [account.username for account in accounts.accounts_of(session, found)]
    what = f"customer {found.account_number} ({found.name})"
    return f"{what} and the accounts {', '.join(users)} will be" if users else f"{what} will be"


def _row(session: Session, found: Customer) -> dict[str, Any]:
    return {
        "account_number": found.account_number,
        "name": found.name,
        "phone": found.phone,
        "email": found.email,
        "group": None if found.group is None else found.group.name,
        "users": [account.username for account in accounts.accounts_of(session, found)],
        "status": _status(found),
        "joined_at": found.joined_at,
        "verified_at": found.verified_at,
        "disabled_at": found.disabled_at,
    }


def _status(found: Customer) -> str:
    if found.disabled_at is not None:
        return "disabled"
    return "unverified" if found.verified_at is None else "active"
