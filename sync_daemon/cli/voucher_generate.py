"""`herotill voucher generate`: N codes at once, of every kind."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import click

from billing import printing, voucher_batches
from billing.codes import DEFAULT_BITS, Alphabet, bits, guesses_per_hit
from billing.discounts import parse_discount
from billing.new_batches import (
    CodeType,
    FreeTerms,
    NewBatch,
    SellWhen,
    UsageTerms,
    UsageUnit,
)
from herotill.errors import InvalidValue
from herotill.quantities import parse_money, parse_octets, parse_seconds
from herotill.usage_intervals import UsageInterval
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Output, output_options
from sync_daemon.cli.parameters import (
    SECONDS_NEEDED,
    choice_of,
    operator_name,
    parse_day_or_time,
    with_options,
)
from sync_daemon.cli.progress import progress_bar
from sync_daemon.cli.voucher_rows import BATCH_COLUMNS, batch_row
from sync_daemon.cli.voucher_sheets import Sheet, code_keys, draw, private_file, sheet_options

OPTIONS = [
    click.option(
        "--type", "kind", type=choice_of(CodeType), default=CodeType.TICKET.value, show_default=True,
        help="user: name and password; ticket: the code is the login; refill: adds to an account; "
        "usage: counts up and is billed; free: so many logins, then a pause.",
    ),
    click.option("--count", type=click.IntRange(min=1), required=True, help="How many."),
    click.option("--plan", required=True, help="What each of them gives."),
    click.option("--sell", type=choice_of(SellWhen), default=SellWhen.FIRST_USE.value, show_default=True),
    click.option("--discount", help="Off the plan's price: 10% or 5KES."),
    click.option("--use-by", help="A day or time; a code nobody has used by then expires."),
    click.option("--length", type=int, help="Characters of a code; default as many as 60 bits need."),
    click.option(
        "--alphabet", type=choice_of(Alphabet), default=Alphabet.CLEAR.value, show_default=True,
        help="Which characters; all but `all` are without look-alikes.",
    ),
    click.option(
        "--password-length", type=int,
        help="Characters of a password; without it a ticket's code is its password, other accounts get 10.",
    ),
    click.option("--prefix", help="Of user names; default the type, in capitals."),
    click.option("--start", type=int, help="First running number; default the one after the last."),
    click.option("--free-logins", type=int, help="Free accounts: logins before the pause."),
    click.option("--free-pause", type=SECONDS_NEEDED, help="Free accounts: the pause, like 24h."),
    click.option("--unit", help="Usage-based: what is priced, like 100MiB or 1h."),
    click.option("--unit-price", help="Usage-based: the price of each begun unit."),
    click.option("--bill-every", type=choice_of(UsageInterval), help="Usage-based: counted from the first use."),
    click.option("--customer", help="Usage-based: who gets the bills; default nobody, they are paid at the desk."),
    click.option(
        "--print", "file", type=click.Path(dir_okay=False, path_type=Path), help="Print them at once, to this PDF."
    ),
]  # fmt: skip


def _generate_options(command: Any) -> Any:
    return with_options(command, OPTIONS)


@click.command()
@_generate_options
@sheet_options
@output_options
@pass_application
def generate(
    application: Application, /, output: Output, sheet: Sheet, file: Path | None, **options: Any
) -> None:
    """Make a batch of codes, and print them at once or later."""
    wanted = _wanted(application, options)
    style = sheet.style(application) if file is not None else None
    target: AbstractContextManager[BinaryIO | None] = nullcontext() if file is None else private_file(file)
    with target as paper, application.billing_session() as session:
        with progress_bar("generating", wanted.count) as advance:
            batch = voucher_batches.generate(
                session,
                wanted=wanted,
                now=application.now(),
                keys=code_keys(application),
                progress=advance,
            )
        batch_id = batch.batch_id
        if paper is not None and style is not None:
            cards = printing.cards_of_batch(
                session,
                batch_id=batch_id,
                keys=code_keys(application),
                now=application.now(),
                printed_by=operator_name(),
            )
            draw(paper, cards, style)
        record = batch_row(session, batch)
    output.record(record, BATCH_COLUMNS)
    _warn_of_short_codes(wanted)


def _wanted(application: Application, options: dict[str, Any]) -> NewBatch:
    currency, zone = application.settings.currency, application.time_zone
    discount, use_by = options["discount"], options["use_by"]
    same = ("count", "plan", "length", "password_length", "prefix", "start")
    return NewBatch(
        type=CodeType(options["kind"]),
        sell=SellWhen(options["sell"]),
        created_by=operator_name(),
        alphabet=Alphabet(options["alphabet"]),
        discount=None if discount is None else parse_discount(discount, "--discount", currency),
        codes_expire_at=None if use_by is None else parse_day_or_time(use_by, "--use-by", zone),
        free=_free(options["free_logins"], options["free_pause"]),
        usage=_usage(application, options),
        **{name: options[name] for name in same},
    )


def _free(logins: int | None, pause_seconds: int | None) -> FreeTerms | None:
    if logins is None and pause_seconds is None:
        return None
    if logins is None or pause_seconds is None:
        raise InvalidValue("--free-pause", pause_seconds, "give both --free-logins and --free-pause")
    return FreeTerms(logins, pause_seconds)


def _usage(application: Application, options: dict[str, Any]) -> UsageTerms | None:
    unit, price, interval = options["unit"], options["unit_price"], options["bill_every"]
    if unit is None and price is None and interval is None and options["customer"] is None:
        return None
    if unit is None or price is None or interval is None:
        raise InvalidValue("--unit-price", price, "give all of --unit, --unit-price and --bill-every")
    kind, size = _unit(unit)
    return UsageTerms(
        unit=kind,
        unit_size=size,
        unit_price=parse_money(price, "--unit-price", application.settings.currency),
        interval=UsageInterval(interval),
        time_zone=application.settings.time_zone,
        customer=options["customer"],
    )


def _unit(text: str) -> tuple[UsageUnit, int]:
    if text.strip().upper().endswith("B"):
        return UsageUnit.OCTETS, parse_octets(text, "--unit")
    try:
        return UsageUnit.SECONDS, parse_seconds(text, "--unit")
    except InvalidValue:
        raise InvalidValue("--unit", text, "it is octets like 100MiB or a time like 1h") from None


def _warn_of_short_codes(wanted: NewBatch) -> None:
    length = wanted.code_length
    if wanted.type.is_named or bits(length, wanted.alphabet) >= DEFAULT_BITS:
        return
    odds = guesses_per_hit(length, wanted.count, wanted.alphabet)
    click.echo(
        f"warning: codes of {length} characters are short: one guess in {odds:,} finds a code of this batch",
        err=True,
    )
