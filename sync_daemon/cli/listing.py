"""What every command that lists has: `--sort`, `--limit` and `--page`, `--json` and `--csv`."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from billing.paging import Page
from herotill.quantities import Money
from sync_daemon.cli.output import Column, Row, output_options
from sync_daemon.cli.parameters import limit_option, page_option


class SortKey(click.Choice):  # type: ignore[type-arg] # generic since click 8.2 only
    """A key to sort by; behind a `-` from the other end."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__([*keys, *(f"-{key}" for key in keys)])
        self.keys = tuple(keys)


def list_options(keys: Iterable[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of a list that can be sorted by these keys, and the arguments `page` and `output`."""
    known = tuple(keys)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--sort",
            type=SortKey(known),
            metavar="KEY",
            help=f"By {', '.join(known)}; -KEY from the other end.",
        )
        @limit_option
        @page_option
        @output_options
        @functools.wraps(command)
        def with_page(*arguments: Any, sort: str | None, limit: int, page: int, **others: Any) -> Any:
            return command(*arguments, page=Page(limit, limit * (page - 1), sort or ""), **others)

        return with_page

    return decorate


def keys_of(columns: Iterable[Column]) -> list[str]:
    """Return what a list of few rows can be sorted by: its columns."""
    return [column.key for column in columns]


def arranged(rows: Iterable[Row], page: Page) -> list[Row]:
    """Sort few rows and cut the page out of them; what has no value comes last."""
    found = list(rows)
    if page.sort:
        key = page.sort.removeprefix("-")
        has_value = [row for row in found if row.get(key) is not None]
        has_value.sort(key=lambda row: _comparable(row[key]), reverse=page.sort.startswith("-"))
        found = has_value + [row for row in found if row.get(key) is None]
    return found[page.offset : page.offset + page.limit]


def bounds_of(page: Page) -> dict[str, int]:
    """Return the parameters of a statement that ends with LIMIT and OFFSET."""
    return {"limit": page.limit, "offset": page.offset}


def order_of(page: Page) -> str:
    """Return what comes first in an ORDER BY whose output columns are the keys; those were checked by `--sort`."""
    if not page.sort:
        return ""
    direction = "DESC" if page.sort.startswith("-") else "ASC"
    return f'"{page.sort.removeprefix("-")}" {direction} NULLS LAST, '


def _comparable(value: Any) -> Any:
    if isinstance(value, Money):
        return (value.currency, value.minor)
    if isinstance(value, str):
        return value.casefold()
    return str(value) if isinstance(value, list | tuple | dict) else value
