"""`herotill customer`: people and companies in the books. REF is an account number, user name, phone, e-mail or MAC."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import tzinfo
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import accounts, customer_record, customers, ledger
from billing.accounts import Login
from billing.customer_record import Device, LivingGrant
from billing.customers import Person, Sort, Standing, Wanted
from billing.doubles import Tolerance, check_username_is_clear
from billing.models import Customer
from herotill.errors import InvalidValue
from herotill.quantities import approximate_octets, format_seconds
from herotill.snapshot import AccountKind
from sync_daemon.cli.account import cycle_day_of
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.customer_codes import invite, verify
from sync_daemon.cli.customer_privacy import erase, export
from sync_daemon.cli.output import Column, Output, output_options, show_list, show_time
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    limit_option,
    look_alikes_option,
    operator_name,
    page_option,
    password_options,
    policy_options,
    search_option,
    with_options,
    yes_option,
)


def _show_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Show rows of their own below one another, as people read them."""
    return "; ".join(str(row["shown"]) for row in rows)


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
    Column("verified_by"),
    Column("verified_reason"),
    Column("disabled_at", show_time),
    Column("must_choose_password", show_list),
    Column("balance", show_list, "0"),
    Column("spent", show_list, "0"),
    Column("grants", _show_lines),
    Column("devices", _show_lines),
]
ADDED = [Column("account_number"), Column("name"), Column("user"), Column("password"), Column("status")]

_contact_options = [
    click.option(
        "--phone", help="International (E.164), like +254712345678; or of the setting phone_region."
    ),
    click.option("--email", help="E-mail address."),
    click.option("--allow-same-email", is_flag=True, help="Another customer may have this address too."),
    look_alikes_option,
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
    tolerance = Tolerance(options["allow_same_email"], options["allow_look_alikes"])
    with application.billing_session() as session:
        region = application.settings.phone_region
        more = {"group": options["group"], "region": region, "tolerance": tolerance}
        new = customers.add(session, person=person, now=now, **more)
        if login is not None:
            check_username_is_clear(session, login.username, tolerance)
            more = {"policy": options["policy"], "cycle_day": cycle_day_of(application, login, options)}
            accounts.add(session, login=login, customer=new, now=now, **more)
        if options["verified"]:
            customers.verify(session, reference=new.account_number, now=now, by=operator_name())
        record = _row(session, new) | {"user": options["user"], "password": shown}
    output.record(record, ADDED)


@customer.command(name="list")
@search_option
@click.option("--group", default="", help="Only this group.")
@click.option("--status", type=choice_of(Standing), help="Only these.")
@click.option("--sort", type=choice_of(Sort), default=Sort.NUMBER.value, show_default=True)
@limit_option
@page_option
@output_options
@pass_application
def list_customers(application: Application, /, output: Output, **options: Any) -> None:
    """List customers; the search looks at names, numbers, phones, addresses, user names and MACs."""
    status, sort = options.pop("status"), Sort(options.pop("sort"))
    wanted = Wanted(standing=None if status is None else Standing(status), sort=sort, **options)
    with application.billing_session() as session:
        found = customers.listing(session, wanted)
        output.rows([_row(session, each) for each in found], COLUMNS)


@customer.command()
@click.argument("reference", metavar="REF")
@output_options
@pass_application
def show(application: Application, /, output: Output, reference: str) -> None:
    """Show one customer, with devices, money and what is left."""
    with application.billing_session() as session:
        found = customers.get(session, reference)
        output.record(_row(session, found) | _record(application, session, found), DETAILS)


customer.add_command(verify)
customer.add_command(invite)
customer.add_command(export)
customer.add_command(erase)


@customer.command()
@click.argument("reference", metavar="REF")
@click.option("--name", help="A new name.")
@_with_contact
@click.option("--group", help="Move to this group; `none` for no group.")
@pass_application
def edit(
    application: Application,
    /,
    reference: str,
    allow_same_email: bool,
    allow_look_alikes: bool,
    **options: str | None,
) -> None:
    """Change a customer; `none` empties a phone, e-mail or group."""
    tolerance = Tolerance(allow_same_email, allow_look_alikes)
    typed = {key: value for key, value in options.items() if value is not None}
    changes = {key: None if value == "none" and key != "name" else value for key, value in typed.items()}
    with application.billing_session() as session:
        region = application.settings.phone_region
        found = customers.edit(
            session, reference=reference, changes=changes, region=region, tolerance=tolerance
        )
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
        "status": str(customers.standing_of(found)),
        "joined_at": found.joined_at,
        "verified_at": found.verified_at,
        "verified_by": found.verified_by,
        "verified_reason": found.verified_reason,
        "disabled_at": found.disabled_at,
    }


def _record(application: Application, session: Session, found: Customer) -> dict[str, Any]:
    zone = application.time_zone
    grants = customer_record.living_grants(session, found, application.now())
    without = [
        account.username for account in accounts.accounts_of(session, found) if account.must_reset_secret
    ]
    return {
        "must_choose_password": without or None,
        "balance": ledger.balances(session, found.customer_id) or None,
        "spent": customers.expenditure(session, found) or None,
        "grants": [_grant_row(each, zone) for each in grants] or None,
        "devices": [_device_row(each, zone) for each in customer_record.devices_of(session, found)] or None,
    }


def _grant_row(grant: LivingGrant, zone: tzinfo) -> dict[str, Any]:
    left = [] if grant.remaining_octets is None else [approximate_octets(grant.remaining_octets)]
    left += [] if grant.remaining_seconds is None else [format_seconds(grant.remaining_seconds)]
    until = "" if grant.expires_at is None else f" until {show_time(grant.expires_at.astimezone(zone))}"
    shown = f"{grant.username} {grant.plan_name}: {' and '.join(left) or 'unlimited'}{until}"
    return asdict(grant) | {"shown": shown}


def _device_row(device: Device, zone: tzinfo) -> dict[str, Any]:
    hint = " (made up by the device)" if device.is_randomised else ""
    shown = f"{device.mac}{hint} {device.username} {show_time(device.last_session_at.astimezone(zone))}"
    return asdict(device) | {"is_randomised": device.is_randomised, "shown": shown}
