"""`herotill --as reseller NAME`: what a reseller may type. All else is refused before it begins (rule R28).

Each of these commands reads and writes through a session that finds the reseller's own customers only
(billing/confinement.py), and sells from the reseller's balance. Who may use `--as` is up to whoever runs the command for the
reseller: a login of the machine can leave it out.
"""

from collections.abc import Sequence

import click

from herotill.errors import Refused

RESELLER_MAY = frozenset(
    {
        "sell",
        "plan list",
        "plan show",
        "customer list",
        "customer show",
        "account list",
        "account show",
        "group list",
        "group show",
        "ledger list",
        "ledger show",
        "ledger balance",
        "ledger export",
        "pay by-hand",
        "pay list",
        "pay show",
        "report sales",
        "report usage",
        "report expenditure",
        "report online",
        "report cuts",
        "reseller list",
        "reseller show",
    }
)


def check_may_type(ctx: click.Context, noun: click.Command, words: Sequence[str]) -> None:
    """Raise Refused unless a reseller may use the command these words name."""
    path = _path(ctx, noun, list(words))
    if path not in RESELLER_MAY:
        allowed = ", ".join(f"`{each}`" for each in sorted(RESELLER_MAY))
        raise Refused(f"a reseller may not use `{path}`, only {allowed}", "R28")


def _path(ctx: click.Context, command: click.Command, words: list[str]) -> str:
    """Follow the words down to the command that would run; options before it end the way, and so does an unknown word."""
    path = [command.name or ""]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, below, words = command.resolve_command(ctx, words)
        if below is None:
            break
        path.append(name or "")
        command = below
    return " ".join(path)
