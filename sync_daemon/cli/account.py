"""`herotill account`: what logs in."""

from collections.abc import Mapping
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import accounts, conversion, customers, invoices, sales, suspension
from billing.accounts import Login
from billing.conversion import Conversion, Remainder
from billing.doubles import Tolerance, check_username_is_clear
from billing.models import Account
from billing.paging import Page
from herotill.errors import InvalidValue
from herotill.quantities import Money, parse_money
from herotill.snapshot import AccountKind
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.customer_codes import reset_password
from sync_daemon.cli.listing import list_options
from sync_daemon.cli.output import Column, Output, output_options, show_list, show_mapping, show_time
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    look_alikes_option,
    operator_name,
    parse_day_or_time,
    password_options,
    policy_options,
    search_option,
    yes_option,
)

COLUMNS = [
    Column("user"),
    Column("kind"),
    Column("status"),
    Column("account_number"),
    Column("customer"),
    Column("group"),
]
DETAILS = [
    *COLUMNS,
    Column("suspended_reason"),
    Column("cycle_day"),
    Column("policy", show_mapping),
    Column("created_at", show_time),
    Column("purchases", show_list),
    Column("unpaid_bills", show_list),
]
ADDED = [Column("user"), Column("kind"), Column("status"), Column("password")]


@click.group()
def account() -> None:
    """What logs in: user name and secret."""


@account.command()
@click.argument("user")
@click.option("--customer", help="Whose it is: account number, user name, phone or e-mail.")
@click.option("--kind", type=choice_of(AccountKind), default=AccountKind.PREPAID.value, show_default=True)
@click.option(
    "--cycle-day", type=click.IntRange(1, 31), help="Monthly: the day the cycle begins; default today."
)
@look_alikes_option
@password_options
@policy_options
@output_options
@pass_application
def add(application: Application, /, output: Output, user: str, **options: Any) -> None:
    """Open an account."""
    secret, is_generated = options["password"]()
    login = Login(user, secret, AccountKind(options["kind"]))
    with application.billing_session() as session:
        owner = None if options["customer"] is None else customers.get(session, options["customer"])
        if owner is not None:
            tolerance = Tolerance(look_alikes=options["allow_look_alikes"])
            check_username_is_clear(session, user, tolerance, owner.customer_id)
        more = {"policy": options["policy"], "cycle_day": cycle_day_of(application, login, options)}
        new = accounts.add(session, login=login, customer=owner, now=application.now(), **more)
        record = _row(new) | {"password": secret if is_generated else None}
    output.record(record, ADDED)


def cycle_day_of(application: Application, login: Login, options: Mapping[str, Any]) -> int | None:
    """Return the day a monthly account's cycle begins: the typed one, else the operator's today."""
    typed: int | None = options["cycle_day"]
    if typed is None and login.kind is AccountKind.MONTHLY:
        return application.now().astimezone(application.time_zone).day
    return typed


@account.command(name="list")
@search_option
@click.option("--kind", type=choice_of(AccountKind), default=None, help="Only this kind.")
@list_options(accounts.SORT_KEYS)
@pass_application
def list_accounts(
    application: Application, /, output: Output, search: str, kind: str | None, page: Page
) -> None:
    """List living accounts."""
    with application.billing_session() as session:
        found = accounts.listing(session, search=search, kind=kind or "", page=page)
        output.rows([_row(each) for each in found], COLUMNS)


@account.command()
@click.argument("user")
@output_options
@pass_application
def show(application: Application, /, output: Output, user: str) -> None:
    """Show one account; `herotill explain` tells what it may do now and why."""
    with application.billing_session() as session:
        found = accounts.get(session, user)
        output.record(_row(found) | _history(application, session, found), DETAILS)


@account.command()
@click.argument("user")
@password_options
@pass_application
def password(application: Application, /, user: str, password: Any) -> None:
    """Give an account a new password."""
    secret, is_generated = password()
    with application.billing_session() as session:
        accounts.set_secret(session, username=user, secret=secret)
    click.echo(f"changed the password of {user}" + (f" to {secret}" if is_generated else ""))


@account.command()
@click.argument("user")
@policy_options
@pass_application
def edit(application: Application, /, user: str, policy: dict[str, Any]) -> None:
    """Change an account's own policy, which goes over its group's and its plan's."""
    if not policy:
        raise InvalidValue("options", None, "say what to change; --help shows the options")
    with application.billing_session() as session:
        accounts.edit_policy(session, username=user, policy=policy)
    click.echo(f"changed account {user}: {', '.join(policy)}")


@account.command()
@click.argument("user")
@click.option("--reason", required=True, help="Why; unpaid-bill needs a bill whose date has passed.")
@yes_option
@pass_application
def suspend(application: Application, /, user: str, reason: str, yes: bool) -> None:
    """Suspend an account and cut its sessions. A monthly one may connect and gets the suspended pool."""
    with application.billing_session() as session:
        found = accounts.get(session, user)
        then = "may connect in the suspended pool" if found.kind == AccountKind.MONTHLY else "cannot connect"
        ask_before(f"account {user} will be suspended and its sessions cut; it {then}", yes)
        cut = suspension.suspend(session, username=user, reason=reason, now=application.now())
    click.echo(f"suspended account {user} ({reason}); {cut} sessions cut")


@account.command()
@click.argument("user")
@pass_application
def resume(application: Application, /, user: str) -> None:
    """End a suspension; sessions in the suspended pool reconnect with full service."""
    with application.billing_session() as session:
        cut = suspension.resume(session, username=user, now=application.now())
        arrears = suspension.arrears_of(session, accounts.get(session, user), application.now())
    click.echo(f"resumed account {user}; {cut} sessions reconnect")
    if arrears.must_be_suspended:
        click.echo("its bill is still overdue: the billing run will suspend it again")
        click.echo("`herotill invoice postpone` gives it more time; so does an automatic suspend that is off")


@account.command()
@click.argument("user")
@yes_option
@pass_application
def disable(application: Application, /, user: str, yes: bool) -> None:
    """Deny an account every login and cut its sessions."""
    with application.billing_session() as session:
        accounts.get(session, user)
        ask_before(f"account {user} will be denied and its sessions cut", yes)
        cut = accounts.disable(session, username=user, now=application.now())
    click.echo(f"disabled account {user}; {cut} sessions cut")


@account.command()
@click.argument("user")
@pass_application
def enable(application: Application, /, user: str) -> None:
    """Undo `disable`."""
    with application.billing_session() as session:
        accounts.enable(session, username=user)
    click.echo(f"enabled account {user}")


@account.command()
@click.argument("user")
@click.option("--to", required=True, type=click.Choice(["monthly", "prepaid"]), help="What it becomes.")
@click.option("--keep-data", "remainder", flag_value="keep", help="What is left stays usable.")
@click.option("--drop-data", "remainder", flag_value="drop", help="What is left ends now.")
@click.option("--plan", help="To monthly: the plan that recurs; it is billed and given at once.")
@click.option("--cycle-day", type=click.IntRange(1, 31), help="To monthly: default today.")
@yes_option
@pass_application
def convert(application: Application, /, user: str, yes: bool, **options: Any) -> None:
    """Turn a prepaid account into a monthly one, or back; name, password, devices and history stay."""
    if options["remainder"] is None:
        raise InvalidValue(
            "--keep-data", None, "say what becomes of remaining data: --keep-data or --drop-data"
        )
    wanted = Conversion(
        user,
        AccountKind(options["to"]),
        Remainder(options["remainder"]),
        operator_name(),
        options["plan"],
        options["cycle_day"],
    )
    zone = application.settings.time_zone
    with application.billing_session() as session:
        was = accounts.get(session, user).kind
        grants = conversion.living_grants(session, user)
        fate = "will be kept" if wanted.remainder is Remainder.KEEP else "will end now"
        ask_before(f"{was} account {user} will be {wanted.to}; {grants} grants with data left {fate}", yes)
        done = conversion.convert(session, conversion=wanted, now=application.now(), time_zone=zone)
    click.echo(
        f"{user} is {done.became}; {done.grants} grants "
        f"{'kept' if done.remainder is Remainder.KEEP else 'dropped'}, {done.sessions} sessions told"
    )


@account.command()
@click.argument("user")
@click.argument("amount")
@click.option("--due", required=True, help="To be paid by the end of this day, like 2026-11-30.")
@pass_application
def bill(application: Application, /, user: str, amount: str, due: str) -> None:
    """Bill a monthly account by hand."""
    money = parse_money(amount, "AMOUNT", application.settings.currency)
    due_at = parse_day_or_time(due, "--due", application.time_zone)
    with application.billing_session() as session:
        invoice = invoices.bill(
            session,
            username=user,
            amount=money,
            due_at=due_at,
            now=application.now(),
            billed_by=operator_name(),
        )
        told = f"billed {user} {money}, bill {invoice.invoice_id}"
    click.echo(told)


account.add_command(reset_password)


def _row(found: Account) -> dict[str, Any]:
    owner = found.customer
    return {
        "user": found.username,
        "kind": found.kind,
        "status": "not sold yet" if found.status == "stored" else str(accounts.status_of(found)),
        "account_number": None if owner is None else owner.account_number,
        "customer": None if owner is None else owner.name,
        "group": None if owner is None or owner.group is None else owner.group.name,
        "suspended_reason": found.suspended_reason,
        "cycle_day": found.cycle_day,
        "policy": found.plan_policy | found.policy,
        "created_at": found.created_at,
    }


def _history(application: Application, session: Session, found: Account) -> dict[str, Any]:
    zone = application.time_zone
    bought = sales.listing(session, username=found.username, limit=10)
    bills = [bill for bill in invoices.listing(session, found) if bill.is_open]
    return {
        "purchases": [f"{each.plan_name} {show_time(each.purchased_at.astimezone(zone))}" for each in bought],
        "unpaid_bills": [
            f"{Money(each.amount_minor, each.currency)} due {show_time(each.due_at.astimezone(zone))}"
            for each in bills
        ],
    }
