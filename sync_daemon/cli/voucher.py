"""`herotill voucher`: batches of codes and their lives."""

from collections.abc import Sequence

import click
from sqlalchemy.orm import Session

from billing import customers, usage_bills, voucher_endings, vouchers
from billing.charging import PaidBy
from billing.models import Account, Voucher
from billing.new_batches import CodeType
from billing.paging import Page
from billing.sealed_codes import CodeKeys
from billing.voucher_endings import Ended, VoucherEnd
from billing.vouchers import LIVING, Buyer, Sold, Wanted
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, keys_of, list_options
from sync_daemon.cli.output import Output, output_options, show_time
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    operator_name,
    search_option,
    yes_option,
)
from sync_daemon.cli.voucher_generate import generate
from sync_daemon.cli.voucher_rows import BATCH_COLUMNS, COLUMNS, DETAILS, batch_row, voucher_row
from sync_daemon.cli.voucher_sheets import code_keys, export, print_cards

STATES = (*LIVING, "used_up", "expired", "void")
_batch_option = click.option("--batch", type=int, help="All of this batch that is not past it.")


@click.group()
def voucher() -> None:
    """Batches of codes."""


voucher.add_command(generate)
voucher.add_command(print_cards)
voucher.add_command(export)


@voucher.command()
@list_options(keys_of(BATCH_COLUMNS))
@pass_application
def batches(application: Application, /, output: Output, page: Page) -> None:
    """List the batches, newest first."""
    with application.billing_session() as session:
        found = vouchers.batches(session)
        output.rows(arranged([batch_row(session, each) for each in found], page), BATCH_COLUMNS)


@voucher.command(name="list")
@click.option("--batch", type=int, help="Only this batch.")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only these.")
@click.option("--type", type=choice_of(CodeType), default=None, help="Only these.")
@search_option
@list_options(vouchers.SORT_KEYS)
@pass_application
def list_vouchers(
    application: Application,
    /,
    output: Output,
    page: Page,
    batch: int | None,
    **chosen: str | None,
) -> None:
    """List vouchers, oldest first; refills by the number on the card."""
    texts = {name: text or "" for name, text in chosen.items()}
    wanted = Wanted(batch_id=batch, **texts)
    with application.billing_session() as session:
        found = vouchers.listing(session, wanted, page)
        output.rows([voucher_row(each) for each in found], COLUMNS)


@voucher.command()
@click.argument("code")
@output_options
@pass_application
def show(application: Application, /, output: Output, code: str) -> None:
    """Show a voucher, by its code or the number on the card, and its life."""
    with application.billing_session() as session:
        found = vouchers.get(session, code, keys=code_keys(application))
        steps = [
            f"{step.to_state} {show_time(step.occurred_at.astimezone(application.time_zone))} by {step.actor}"
            for step in vouchers.history(session, found)
        ]
        redemption = vouchers.redemption_of(session, found)
        account = None if redemption is None else session.get_one(Account, redemption.account_id).username
        output.record(voucher_row(found) | {"history": steps, "redeemed_for": account}, DETAILS)


@voucher.command()
@click.argument("codes", nargs=-1)
@_batch_option
@click.option(
    "--customer", metavar="REF", help="Who buys; without it somebody with cash who is not in the books."
)
@click.option("--paid-by", type=choice_of(PaidBy), default=PaidBy.CASH.value, show_default=True)
@pass_application
def sell(
    application: Application,
    /,
    codes: tuple[str, ...],
    batch: int | None,
    customer: str | None,
    paid_by: str,
) -> None:
    """Sell vouchers over the counter, one by one or a batch."""
    _check_chosen(codes, batch)
    told = []
    with application.billing_session() as session:
        buyer = _buyer(session, customer, PaidBy(paid_by))
        sold = Sold(application.now(), operator_name(), "sold by the operator", buyer)
        if batch is not None:
            told.append(_sell_batch(session, batch, sold))
        for code in dict.fromkeys(codes):
            found = vouchers.sell(
                session,
                code=code,
                now=sold.at,
                sold_by=sold.by,
                keys=code_keys(application),
                buyer=buyer,
            )
            told.append(f"sold voucher {vouchers.name_of(found)} for {found.batch.price}")
    for line in told:
        click.echo(line)


def _buyer(session: Session, customer: str | None, paid_by: PaidBy) -> Buyer | None:
    if customer is not None:
        return Buyer(customers.get(session, customer).customer_id, paid_by)
    if paid_by is not PaidBy.CASH:
        raise InvalidValue("--paid-by", str(paid_by), "a balance or credit is a customer's: say --customer")
    return None


def _sell_batch(session: Session, batch_id: int, sold: Sold) -> str:
    batch = vouchers.get_batch(session, batch_id)
    count = len(vouchers.sell_batch(session, batch, sold))
    if not count:
        raise Refused(f"batch {batch_id} has no unsold vouchers", "R8")
    return f"sold {count} vouchers of batch {batch_id} for {Money(count * batch.price_minor, batch.currency)}"


@voucher.command()
@click.argument("codes", nargs=-1)
@_batch_option
@click.option(
    "--reason", default="void by the operator", show_default=True, help="Kept in the voucher's history."
)
@yes_option
@pass_application
def void(
    application: Application, /, codes: tuple[str, ...], batch: int | None, reason: str, yes: bool
) -> None:
    """Take vouchers out of the world for good and cut their sessions. Money is not given back."""
    end = VoucherEnd("void", operator_name(), reason)
    ended = _end(application, codes, batch, (end, yes))
    click.echo(f"{ended.vouchers} vouchers are void; {ended.sessions} sessions cut")


@voucher.command()
@click.argument("codes", nargs=-1)
@_batch_option
@yes_option
@pass_application
def expire(application: Application, /, codes: tuple[str, ...], batch: int | None, yes: bool) -> None:
    """End vouchers before their time, as their date would, and cut their sessions. Money is not given back."""
    end = VoucherEnd("expired", operator_name(), "expired by the operator")
    ended = _end(application, codes, batch, (end, yes))
    click.echo(f"{ended.vouchers} vouchers have expired; {ended.sessions} sessions cut")


@voucher.command()
@click.argument("user")
@pass_application
def settle(application: Application, /, user: str) -> None:
    """Take the money for a usage-based account's unpaid bills; for accounts that belong to no customer."""
    with application.billing_session() as session:
        paid = usage_bills.receive(session, username=user, now=application.now(), received_by=operator_name())
    click.echo(f"received {paid} for {user}")


def _end(
    application: Application, codes: tuple[str, ...], batch: int | None, how: tuple[VoucherEnd, bool]
) -> Ended:
    (end, yes), now = how, application.now()
    _check_chosen(codes, batch)
    with application.billing_session() as session:
        if batch is not None:
            vouchers.get_batch(session, batch)
            living = voucher_endings.living_ids(session, batch)
            _ask(len(living), end, yes)
            return voucher_endings.end_vouchers(session, living, end, now)
        chosen = _named(session, codes, code_keys(application))
        _ask(len(chosen), end, yes)
        return voucher_endings.end_these(session, chosen, end, now)


def _ask(count: int, end: VoucherEnd, yes: bool) -> None:
    ask_before(f"{count} vouchers will be {end.state} for good, their sessions cut, no money given back", yes)


def _named(session: Session, codes: Sequence[str], keys: CodeKeys | None) -> list[Voucher]:
    return [vouchers.get(session, code, keys=keys) for code in dict.fromkeys(codes)]


def _check_chosen(codes: Sequence[str], batch: int | None) -> None:
    if bool(codes) == (batch is not None):
        raise InvalidValue("--batch", batch, "name either codes or a batch")
