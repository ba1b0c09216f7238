"""What the shell offers for a name: the plans, groups, accounts, resellers and NASes of the books, while one types.

Tab never fails, waits or starts anything: a database that is away, or a reseller typing, offers nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sync_daemon.settings import FILE_NAME, default_state_directory, load_settings

AT_MOST = 50
WAIT_MILLISECONDS = 2000

# What begins with the letters typed, capitals and small letters alike.
_BEGINS = r"lower({column}) LIKE lower(%(begun)s) ESCAPE '\'"
_QUERIES = {
    "plan": ("name", "billing.plan WHERE removed_at IS NULL"),
    "group": ("name", "billing.customer_group WHERE true"),
    "user": ("username", "billing.account WHERE status IN ('active', 'suspended')"),
    "reseller": ("name", "billing.reseller WHERE closed_at IS NULL"),
    "nas": ("shortname", "radius.nas WHERE true"),
}
# Which of these a parameter holds, by its name; NAME is the noun's own, but where it is a new one.
_KINDS = {
    "plan": "plan",
    "plan_name": "plan",
    "topup_plan": "plan",
    "group": "group",
    "user": "user",
    "username": "user",
    "giver": "user",
    "receiver": "user",
    "customer": "user",
    "reference": "user",
    "reseller": "reseller",
}
_NEW = {"add", "install"}
Offer = Callable[[click.Context, str], list[CompletionItem]]


def offer_names(noun: str, command: click.Command) -> None:
    """Let the shell complete the names that this noun's commands take."""
    for name, below in _commands(command):
        for parameter in below.params:
            kind = _kind_of(noun, name, parameter)
            if kind is not None:
                parameter.shell_complete = _offer(kind)  # type: ignore[method-assign, assignment] # as a subclass would


def _commands(command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield command.name or "", command
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from _commands(below)


def _kind_of(noun: str, name: str, parameter: click.Parameter) -> str | None:
    if name in _NEW and (isinstance(parameter, click.Argument) or noun in ("customer", "service")):
        return "group" if parameter.name == "group" else None
    if parameter.name == "name":
        return "nas" if noun == "coa" else noun if noun in _QUERIES else None
    return None if isinstance(parameter.type, click.Choice) else _KINDS.get(parameter.name or "")


def _offer(kind: str) -> Offer:
    def offer(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        given = ctx.find_root().params
        if given.get("actor"):
            return []
        try:
            return [CompletionItem(name) for name in _names(kind, incomplete, given)]
        except Exception:  # whatever is wrong, a Tab is no place to say so
            return []

    return offer


def _names(kind: str, begun: str, given: dict[str, Path | None]) -> list[str]:
    from sync_daemon import database  # noqa: PLC0415 - slow to import

    state = (given.get("state") or default_state_directory()).expanduser().absolute()
    settings = load_settings(given.get("config") or state / FILE_NAME, state)
    url = database.radius_url(settings) if kind == "nas" else database.billing_url(settings)
    column, source = _QUERIES[kind]
    pattern = "".join(f"\\{letter}" if letter in r"\%_" else letter for letter in begun) + "%"
    connection = database.connect(url, "herotill", statement_timeout_milliseconds=WAIT_MILLISECONDS)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {column} FROM {source} AND {_BEGINS.format(column=column)} ORDER BY 1 LIMIT {AT_MOST}",  # noqa: S608
                {"begun": pattern},
            )
            return [name for (name,) in cursor.fetchall()]
    finally:
        connection.close()
