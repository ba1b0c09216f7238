"""`herotill ledger`: what was paid, sold and owed. Nothing is changed here: a mistake is reversed by another entry."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import corrections, credit, customers, resellers, statements
from billing import ledger as books
from billing.corrections import Reversal
from billing.ledger import Kind
from billing.paging import Page
from billing.statements import Filter, Line
from herotill.credit import CreditLine, Standing
from herotill.errors import InvalidValue
from herotill.quantities import Money, parse_money, parse_seconds
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import list_options
from sync_daemon.cli.output import (
    Column,
    Output,
    csv_lines,
    output_options,
    show_list,
    show_seconds,
    show_time,
)
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    operator_name,
    parse_day_or_time,
    parse_since,
    with_options,
    yes_option,
)

DEFAULT_OVERDUE_AFTER = "14d"
ACCOUNTS = ["cash", "bank", "card", "cheque", "mobile-money", "gateway", "unmatched", "sales", "commission"]
COLUMNS = [
    Column("transaction", right=True),
    Column("occurred_at", show_time, head="when"),
    Column("kind"),
    Column("ledger_account", head="account"),
    Column("party", head="of"),
    Column("description"),
    Column("amount", right=True),
    Column("balance", right=True),
    Column("recorded_by", head="by"),
]
DETAILS = [
    Column("transaction"),
    Column("kind"),
    Column("occurred_at", show_time),
    Column("description"),
    Column("recorded_by"),
    Column("key"),
    Column("reverses"),
    Column("sides", show_list),
]
STANDING = [
    Column("balance", right=True),
    Column("owed", right=True),
    Column("owed_since", show_time),
    Column("credit_limit", str, "none", right=True),
    Column("credit_left", right=True),
    Column("overdue_at", show_time),
    Column("overdue"),
]
TRIAL = [Column("account"), Column("balance", right=True)]
EXPORTED = [
    *("transaction", "occurred_at", "kind", "ledger_account", "party", "description"),
    *("amount", "currency", "balance", "recorded_by", "reverses"),
]


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--customer", metavar="REF", help="Only of this customer, with a running balance."),
        click.option("--reseller", metavar="NAME", help="Only of this reseller, with a running balance."),
        click.option("--account", type=click.Choice(ACCOUNTS), help="Only of this ledger account."),
        click.option("--kind", type=choice_of(Kind), help="Only this kind."),
        click.option("--since", metavar="DAY", help="From this day or time on."),
        click.option("--until", metavar="DAY", help="To the end of this day, or to this time."),
    ]
    return with_options(command, options)


@click.group()
def ledger() -> None:
    """What was paid, sold and owed."""


@ledger.command(name="list")
@_filters
@list_options(statements.SORT_KEYS)
@pass_application
def list_lines(application: Application, /, output: Output, page: Page, **filters: str | None) -> None:
    """List the lines of the ledger, newest first."""
    with application.billing_session() as session:
        wanted = _wanted(application, session, filters)
        found = statements.lines(session, wanted, page)
    output.rows([_row(line) for line in found], COLUMNS)


@ledger.command()
@click.argument("transaction", type=int)
@output_options
@pass_application
def show(application: Application, /, output: Output, transaction: int) -> None:
    """Show one transaction and its sides."""
    with application.billing_session() as session:
        found = books.get(session, transaction)
        sides = [
            f"{side.ledger_account} {Money(side.amount_minor, side.currency)}"
            for side in books.postings_of(session, found)
        ]
        record = {
            "transaction": found.transaction_id,
            "kind": str(books.kind_of(found.external_key)),
            "occurred_at": found.occurred_at,
            "description": found.description,
            "recorded_by": found.recorded_by,
            "key": found.external_key,
            "reverses": found.reverses_id,
            "sides": sides,
        }
    output.record(record, DETAILS)


@ledger.command()
@click.argument("reference", metavar="[REF]", required=False)
@output_options
@pass_application
def balance(application: Application, /, output: Output, reference: str | None) -> None:
    """Show a customer's balance, debt and credit; without REF what lies in every ledger account."""
    with application.billing_session() as session:
        if reference is None:
            rows = [{"account": name, "balance": money} for name, money in statements.trial_balance(session)]
            columns = TRIAL
        else:
            standings = _standings(session, customers.get(session, reference).customer_id)
            rows = [_standing_row(application, stands) for stands in standings]
            columns = STANDING
    output.rows(rows, columns)


@ledger.command()
@_filters
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output."
)
@pass_application
def export(application: Application, /, file: Path | None, **filters: str | None) -> None:
    """Write every line as CSV, oldest first; amounts are in minor units."""
    with application.billing_session() as session:
        wanted = _wanted(application, session, filters)
        rows = (_exported(line) for line in statements.every_line(session, wanted))
        text = csv_lines(rows, EXPORTED, application.time_zone)
        if file is None:
            for line in text:
                click.echo(line, nl=False)
            return
        count = _write(file, text)
    click.echo(f"wrote {count} lines to {file}")


@ledger.command()
@click.argument("transaction", type=int)
@click.option("--reason", required=True, help="Why it was wrong; kept in the ledger.")
@yes_option
@pass_application
def reverse(application: Application, /, transaction: int, reason: str, yes: bool) -> None:
    """Undo a transaction by its opposite. Bills it had paid are open again.

    What was sold for it stays; `herotill account` takes that away.
    """
    with application.billing_session() as session:
        wrong = books.get(session, transaction)
        trial = session.begin_nested()
        foreseen = _reverse(application, session, transaction, reason)
        trial.rollback()
        what_happens = f"transaction {transaction} ({wrong.description}) will be reversed for good"
    ask_before(what_happens + _reopened(foreseen), yes)
    with application.billing_session() as session:
        undone = _reverse(application, session, transaction, reason)
    click.echo(
        f"reversed transaction {transaction} by transaction {undone.transaction_id}{_reopened(undone)}"
    )


def _reverse(application: Application, session: Session, transaction: int, reason: str) -> Reversal:
    return corrections.reverse(
        session,
        transaction_id=transaction,
        reason=reason,
        now=application.now(),
        reversed_by=operator_name(),
    )


def _reopened(reversal: Reversal) -> str:
    """Name the bills that are open again; the operator may want to give them another payment date."""
    if not reversal.reopened:
        return ""
    bills = [f"bill {each.invoice_id} of {each.username} ({each.amount})" for each in reversal.reopened]
    return f"; open again: {', '.join(bills)}, `herotill invoice postpone` gives time to pay"


@ledger.command(name="credit-limit")
@click.argument("reference", metavar="REF")
@click.argument("limit", metavar="AMOUNT")
@click.option(
    "--overdue-after",
    default=DEFAULT_OVERDUE_AFTER,
    show_default=True,
    help="A debt that is older lends nothing more, like 14d.",
)
@pass_application
def credit_limit(application: Application, /, reference: str, limit: str, overdue_after: str) -> None:
    """Let a customer buy now and pay later, up to AMOUNT; `none` lends nothing more."""
    with application.billing_session() as session:
        customer = customers.get(session, reference)
        if limit.strip().lower() == "none":
            credit.withdraw(session, customer=customer)
            told = f"customer {customer.account_number} has no credit; what is owed stays owed"
        else:
            most = parse_money(limit, "AMOUNT", application.settings.currency)
            line = CreditLine(most, parse_seconds(overdue_after, "--overdue-after"))
            credit.grant(
                session, customer=customer, line=line, now=application.now(), granted_by=operator_name()
            )
            lasts = show_seconds(line.overdue_after_seconds)
            told = f"customer {customer.account_number} may owe up to {most}, for {lasts} at most"
    click.echo(told)


def _wanted(application: Application, session: Session, filters: dict[str, Any]) -> Filter:
    zone = application.time_zone
    given = {name: value for name, value in filters.items() if value is not None}
    if len({"customer", "reseller", "account"} & given.keys()) > 1:
        raise InvalidValue("--customer", given.get("customer"), "name one of customer, reseller and account")
    return Filter(
        customer_id=customers.get(session, given["customer"]).customer_id if "customer" in given else None,
        reseller_id=resellers.get(session, given["reseller"]).reseller_id if "reseller" in given else None,
        ledger_account=given.get("account"),
        kind=Kind(given["kind"]) if "kind" in given else None,
        since=parse_since(given["since"], "--since", zone) if "since" in given else None,
        until=parse_day_or_time(given["until"], "--until", zone) if "until" in given else None,
    )


def _standings(session: Session, customer_id: int) -> list[Standing]:
    line = credit.line_of(session, customer_id)
    currencies = {money.currency for money in books.balances(session, customer_id)}
    if line is not None:
        currencies.add(line.limit.currency)
    return [credit.standing(session, customer_id, currency) for currency in sorted(currencies)]


def _standing_row(application: Application, stands: Standing) -> dict[str, Any]:
    return {
        "balance": stands.balance,
        "owed": stands.owed,
        "owed_since": stands.owed_since,
        "credit_limit": None if stands.line is None else stands.line.limit,
        "credit_left": stands.credit_left,
        "overdue_at": stands.overdue_at,
        "overdue": stands.is_overdue(application.now()),
    }


def _row(line: Line) -> dict[str, Any]:
    return {
        "transaction": line.transaction_id,
        "occurred_at": line.occurred_at,
        "kind": str(line.kind),
        "ledger_account": line.ledger_account,
        "party": line.party,
        "description": line.description,
        "amount": line.amount,
        "balance": line.balance,
        "recorded_by": line.recorded_by,
        "reverses": line.reverses_id,
    }


def _exported(line: Line) -> dict[str, Any]:
    balance = None if line.balance is None else line.balance.minor
    return _row(line) | {"amount": line.amount.minor, "currency": line.amount.currency, "balance": balance}


def _write(file: Path, text: Iterator[str]) -> int:
    """Write the file whole or not at all; return how many lines it has below its head."""
    fresh = file.with_name(file.name + ".new")
    try:
        with fresh.open("w", encoding="utf-8", newline="") as stream:
            count = sum(stream.write(line) > 0 for line in text)
        fresh.replace(file)
    except OSError as error:
        raise InvalidValue("--output", str(file), f"it cannot be written: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return count - 1
