"""Every command of `herotill`, walked: lists page, sort and print alike, what destroys asks, the shell completes."""

import inspect
import re
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import ShellComplete

from sync_daemon.cli import main

LIST_OPTIONS = {"--sort", "--limit", "--page", "--json", "--csv"}
# Commands that print rows and are no lists of things: sums by interval, one run, one comparison.
NO_LISTS = {
    "billing run",
    "doctor",
    "import",
    "ledger balance",
    "nas dialects",
    "report cuts",
    "report expenditure",
    "report online",
    "report sales",
    "report usage",
    "service status",
    "sync adopt",
    "sync plan",
    "sync status",
    "voucher generate",
}
LIST_NAMES = {"list", "log", "batches", "gateways", "sessions"}
# What takes something away from somebody, for good or at once.
DESTRUCTIVE_NAMES = {
    "apply",
    "adopt",
    "convert",
    "disable",
    "discard",
    "erase",
    "expire",
    "install",
    "move",
    "refuse",
    "remove",
    "reverse",
    "suspend",
    "void",
}


def _walk(command: click.Command, ctx: click.Context, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        assert below is not None
        yield from _walk(below, click.Context(below, parent=ctx, info_name=name), f"{path} {name}".strip())


COMMANDS = dict(_walk(main, click.Context(main, info_name="herotill")))


def _options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def _source(command: click.Command) -> str:
    assert command.callback is not None
    return inspect.getsource(inspect.unwrap(command.callback))


def test_the_walk_finds_the_nouns() -> None:
    assert len(COMMANDS) > 90
    assert {"customer list", "pay unmatched list", "sessions", "ledger reverse"} <= COMMANDS.keys()


LISTS = sorted(
    path
    for path, command in COMMANDS.items()
    if path not in NO_LISTS
    and (
        path.rpartition(" ")[2] in LIST_NAMES
        or "output.rows(" in _source(command)
        or "--list" in _options(command)
    )
)


@pytest.mark.parametrize("path", LISTS)
def test_every_list_pages_sorts_and_prints_for_people_and_programs(path: str) -> None:
    assert _options(COMMANDS[path]) >= LIST_OPTIONS


@pytest.mark.parametrize("path", sorted(NO_LISTS))
def test_what_is_said_to_be_no_list_is_there_and_prints_for_programs(path: str) -> None:
    assert _options(COMMANDS[path]) >= {"--json", "--csv"}


def _is_destructive(path: str, command: click.Command) -> bool:
    return path.rpartition(" ")[2] in DESTRUCTIVE_NAMES or "ask_before(" in _source(command)


@pytest.mark.parametrize(
    "path", sorted(path for path, each in COMMANDS.items() if _is_destructive(path, each))
)
def test_what_destroys_says_what_will_happen_and_asks(path: str) -> None:
    if path == "service install":
        return  # makes units anew, from the settings; `--dry-run` shows them
    command = COMMANDS[path]
    assert "--yes" in _options(command)
    assert command.callback is not None
    module = inspect.getmodule(inspect.unwrap(command.callback))
    assert module is not None
    assert re.search(r"ask_before\(|click\.confirm\(", inspect.getsource(module))


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_command_and_option_says_what_it_is_for(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.show_default, f"{path} {parameter.opts[0]}"


@pytest.mark.parametrize(
    ("typed", "begun", "expected"),
    [
        ([], "vou", {"voucher"}),
        (["customer"], "ver", {"verify"}),
        (["voucher", "list", "--state"], "us", {"used_up"}),
        (["voucher", "list", "--sort"], "ch", {"changed_at"}),
        (["invoice", "list"], "--so", {"--sort"}),
        (["pay", "list", "--state"], "un", {"unmatched"}),
        (["plan", "add", "x", "--at-quota"], "thr", {"throttle"}),
    ],
)
def test_the_shell_completes_nouns_verbs_options_and_words(
    typed: list[str], begun: str, expected: set[str]
) -> None:
    completion = ShellComplete(main, {}, "herotill", "_HEROTILL_COMPLETE")
    assert {item.value for item in completion.get_completions(typed, begun)} >= expected
