"""`herotill voucher`: batches of codes."""

from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import vouchers
from billing.codes import DEFAULT_BITS, DEFAULT_LENGTH, bits, guesses_per_hit
from billing.models import Voucher, VoucherBatch
from billing.vouchers import LIVING, NewBatch, SellWhen
from herotill.errors import InvalidValue
from herotill.quantities import Money
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Output, csv_text, output_options, show_list, show_time
from sync_daemon.cli.parameters import (
    ask_before,
    choice_of,
    limit_option,
    operator_name,
    search_option,
    yes_option,
)
from sync_daemon.settings import write_private

STATES = (*LIVING, "used_up", "expired", "void")
BATCH_COLUMNS = [
    Column("batch", right=True),
    Column("type"),
    Column("plan"),
    Column("count", right=True),
    Column("sell"),
    Column("price", right=True),
    Column("states", lambda states: ", ".join(f"{count} {state}" for state, count in sorted(states.items()))),
    Column("created_at", show_time),
    Column("created_by"),
]
COLUMNS = [
    Column("code"),
    Column("batch", right=True),
    Column("plan"),
    Column("state"),
    Column("changed_at", show_time),
    Column("changed_by"),
]
DETAILS = [*COLUMNS, Column("price"), Column("sell"), Column("history", show_list)]
EXPORTED = ["code", "password", "plan", "price", "batch", "state"]


@click.group()
def voucher() -> None:
    """Batches of codes."""


@voucher.command()
@click.option("--type", "kind", type=click.Choice(["ticket"]), default="ticket", show_default=True)
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many.")
@click.option("--plan", required=True, help="What each of them gives.")
@click.option("--sell", type=choice_of(SellWhen), default=SellWhen.FIRST_USE.value, show_default=True)
@click.option("--length", type=int, default=DEFAULT_LENGTH, show_default=True, help="Characters of a code.")
@click.option(
    "--password-length", type=int, help="Characters of a password; without it the code is the password."
)
@output_options
@pass_application
def generate(application: Application, /, output: Output, kind: str, sell: str, **numbers: int) -> None:  # noqa: ARG001
    """Make a batch of codes. `voucher export` prints them."""
    wanted = NewBatch(sell=SellWhen(sell), created_by=operator_name(), **numbers)  # type: ignore[arg-type]
    with application.billing_session() as session:
        batch = vouchers.generate(session, wanted=wanted, now=application.now())
        record = _batch_row(session, batch)
    output.record(record, BATCH_COLUMNS)
    if bits(wanted.length) < DEFAULT_BITS:
        odds = f"one guess in {guesses_per_hit(wanted.length, wanted.count):,} finds a code of this batch"
        click.echo(f"warning: codes of {wanted.length} characters are short: {odds}", err=True)


@voucher.command()
@limit_option
@output_options
@pass_application
def batches(application: Application, /, output: Output, limit: int) -> None:
    """List the batches, newest first."""
    with application.billing_session() as session:
        found = vouchers.batches(session, limit=limit)
        output.rows([_batch_row(session, each) for each in found], BATCH_COLUMNS)


@voucher.command(name="list")
@click.option("--batch", type=int, help="Only this batch.")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only these.")
@search_option
@limit_option
@output_options
@pass_application
def list_vouchers(
    application: Application, /, output: Output, batch: int | None, state: str | None, **narrowed: str
) -> None:
    """List vouchers, oldest first."""
    with application.billing_session() as session:
        found = vouchers.listing(session, batch_id=batch, state=state or "", **narrowed)  # type: ignore[arg-type]
        output.rows([_row(each) for each in found], COLUMNS)


@voucher.command()
@click.argument("code")
@output_options
@pass_application
def show(application: Application, /, output: Output, code: str) -> None:
    """Show a voucher and its life."""
    with application.billing_session() as session:
        found = vouchers.get(session, code)
        steps = [
            f"{step.to_state} {show_time(step.occurred_at.astimezone(application.time_zone))} by {step.actor}"
            for step in vouchers.history(session, found)
        ]
        output.record(_row(found) | {"history": steps}, DETAILS)


@voucher.command()
@click.argument("codes", nargs=-1, required=True)
@pass_application
def sell(application: Application, /, codes: tuple[str, ...]) -> None:
    """Sell vouchers over the counter."""
    with application.billing_session() as session:
        sold = [
            vouchers.sell(session, code=code, now=application.now(), sold_by=operator_name())
            for code in dict.fromkeys(codes)
        ]
        prices = [Money(each.batch.price_minor, each.batch.currency) for each in sold]
    for code, price in zip(dict.fromkeys(codes), prices, strict=True):
        click.echo(f"sold voucher {code} for {price}")


@voucher.command()
@click.argument("codes", nargs=-1)
@click.option("--batch", type=int, help="All living vouchers of this batch.")
@click.option(
    "--reason", default="void by the operator", show_default=True, help="Kept in the voucher's history."
)
@yes_option
@pass_application
def void(
    application: Application, /, codes: tuple[str, ...], batch: int | None, reason: str, yes: bool
) -> None:
    """Take vouchers out of the world for good and cut their sessions. Money is not given back."""
    with application.billing_session() as session:
        chosen = _chosen(session, codes, batch)
        ask_before(
            f"{len(chosen)} vouchers will be void for good, their sessions cut, no money given back", yes
        )
        cut = vouchers.void(
            session, codes=chosen, now=application.now(), voided_by=operator_name(), reason=reason
        )
    click.echo(f"{len(chosen)} vouchers are void; {cut} sessions cut")


@voucher.command()
@click.argument("batch", type=int)
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output."
)
@pass_application
def export(application: Application, /, batch: int, file: Path | None) -> None:
    """Write a batch's living codes as CSV for printing; they are printed from then on."""
    with application.billing_session() as session:
        living = vouchers.mark_printed(
            session, batch_id=batch, now=application.now(), printed_by=operator_name()
        )
        rows = [_row(each) | {"password": each.account.secret} for each in living]
        text = csv_text(rows, EXPORTED, application.time_zone)
        if file is not None:
            _write(file, text)
    click.echo(text if file is None else f"wrote {len(rows)} codes to {file}", nl=file is not None)


def _write(file: Path, text: str) -> None:
    try:
        write_private(file, text)
    except OSError as error:
        raise InvalidValue("--output", str(file), f"it cannot be written: {error.strerror}") from None


def _chosen(session: Session, codes: tuple[str, ...], batch: int | None) -> list[str]:
    if bool(codes) == (batch is not None):
        raise InvalidValue("--batch", batch, "name either codes or a batch")
    if batch is None:
        return list(dict.fromkeys(codes))
    return [each.code for each in vouchers.living_of(session, batch)]


def _batch_row(session: Session, batch: VoucherBatch) -> dict[str, Any]:
    return {
        "batch": batch.batch_id,
        "type": batch.type,
        "plan": batch.plan_name,
        "count": batch.code_count,
        "sell": batch.sell,
        "price": Money(batch.price_minor, batch.currency),
        "states": vouchers.count_states(session, [batch.batch_id]).get(batch.batch_id, {}),
        "created_at": batch.created_at,
        "created_by": batch.created_by,
    }


def _row(found: Voucher) -> dict[str, Any]:
    return {
        "code": found.code,
        "batch": found.batch_id,
        "plan": found.batch.plan_name,
        "state": found.state,
        "changed_at": found.changed_at,
        "changed_by": found.changed_by,
        "price": Money(found.batch.price_minor, found.batch.currency),
        "sell": found.batch.sell,
    }
