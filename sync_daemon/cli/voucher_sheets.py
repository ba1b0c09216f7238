"""How vouchers get on paper: `herotill voucher print`, `export`, and printing at once what was just generated."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click
from sqlalchemy.orm import Session

from billing import printing, vouchers
from billing.printing import Card
from billing.sealed_codes import CodeKeys
from billing.sheet_layout import LAYOUTS, Paper, SheetStyle
from billing.sheet_wording import DEFAULT_TEMPLATE, Wording, Wordsmith
from billing.sheets import write_sheet
from herotill.errors import InvalidValue
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import csv_text
from sync_daemon.cli.parameters import choice_of, operator_name
from sync_daemon.cli.progress import progress_bar

EXPORTED = ["code", "password", "plan", "price", "batch", "serial", "state", "use_by"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What was asked of the printer."""

    per_page: int
    paper: str
    login_url: str | None
    logo: Path | None
    template: Path | None

    def style(self, application: Application) -> SheetStyle:
        """Return the style, the settings filling in what was not said. Raises InvalidValue."""
        return SheetStyle(
            wording=Wording.of_file(self.template or DEFAULT_TEMPLATE),
            wordsmith=Wordsmith(application.time_zone),
            paper=Paper(self.paper),
            cards_per_page=self.per_page,
            login_url=self.login_url or application.settings.login_url,
            logo=self.logo,
        )


def sheet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a sheet and the argument `sheet`."""

    @click.option(
        "--per-page",
        type=click.Choice([str(count) for count in LAYOUTS]),
        default="10",
        show_default=True,
        help="Cards on a page.",
    )
    @click.option("--paper", type=choice_of(Paper), default=Paper.A4.value, show_default=True)
    @click.option(
        "--login-url", help="What the QR code opens, with {code} and {password}; default: the setting."
    )
    @click.option("--logo", type=_EXISTING, help="A PNG or JPEG picture.")
    @click.option("--template", type=_EXISTING, help="Your wording and colours (TOML).")
    @functools.wraps(command)
    def with_sheet(*arguments: Any, per_page: str, **options: Any) -> Any:
        named = {name: options.pop(name) for name in ("paper", "login_url", "logo", "template")}
        return command(*arguments, sheet=Sheet(int(per_page), **named), **options)

    return with_sheet


_EXISTING = click.Path(dir_okay=False, exists=True, path_type=Path)


def code_keys(application: Application) -> CodeKeys | None:
    """Return the keys of refill codes, None where the installation has no voucher_secret."""
    secret = application.settings.voucher_secret
    return None if secret is None else CodeKeys.of_secret(secret)


@click.command(name="print")
@click.argument("codes", nargs=-1)
@click.option("--batch", type=int, help="All living vouchers of this batch.")
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The PDF."
)
@sheet_options
@pass_application
def print_cards(
    application: Application, /, sheet: Sheet, codes: tuple[str, ...], batch: int | None, file: Path
) -> None:
    """Print vouchers on cards, as often as you like; every print is counted."""
    style = sheet.style(application)
    with private_file(file) as target, application.billing_session() as session:
        cards = chosen_cards(application, session, codes, batch)
        pages = draw(target, cards, style)
    click.echo(f"wrote {len(cards)} cards on {pages} pages to {file}")


@click.command()
@click.argument("batch", type=int, required=False)
@click.option("--code", "codes", multiple=True, help="Only this voucher; may be repeated.")
@click.option(
    "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output."
)
@pass_application
def export(application: Application, /, batch: int | None, codes: tuple[str, ...], file: Path | None) -> None:
    """Write living codes as CSV for printing; they are printed from then on."""
    if file is None:
        with application.billing_session() as session:
            text = _csv(application, chosen_cards(application, session, codes, batch))
        click.echo(text, nl=False)
        return
    with private_file(file) as target, application.billing_session() as session:
        cards = chosen_cards(application, session, codes, batch)
        target.write(_csv(application, cards).encode())
    click.echo(f"wrote {len(cards)} codes to {file}")


def chosen_cards(
    application: Application, session: Session, codes: Sequence[str], batch: int | None
) -> list[Card]:
    """Return the cards of these codes, or of this batch, and count the print."""
    if bool(codes) == (batch is not None):
        raise InvalidValue("--batch", batch, "name either codes or a batch")
    keys, now, operator = code_keys(application), application.now(), operator_name()
    if batch is not None:
        return printing.cards_of_batch(session, batch_id=batch, keys=keys, now=now, printed_by=operator)
    chosen = [vouchers.get(session, code, keys=keys) for code in dict.fromkeys(codes)]
    return printing.cards_of(session, chosen, keys, now, operator)


def draw(target: BinaryIO, cards: Sequence[Card], style: SheetStyle) -> int:
    """Draw the cards, with a bar, and return how many pages they took."""
    with progress_bar("printing", len(cards)) as advance:
        return write_sheet(target, cards, style, advance)


@contextmanager
def private_file(path: Path, option: str = "--output") -> Iterator[BinaryIO]:
    """Write a file only its owner can read, that appears whole when the block has ended well, or not at all."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidValue(option, str(path), f"it cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _csv(application: Application, cards: Sequence[Card]) -> str:
    rows = [
        {
            "code": card.code,
            "password": card.password or card.code,
            "plan": card.plan,
            "price": card.price,
            "batch": card.serial.partition("-")[0],
            "serial": card.serial,
            "state": card.state,
            "use_by": card.use_by,
        }
        for card in cards
    ]
    return csv_text(rows, EXPORTED, application.time_zone)
