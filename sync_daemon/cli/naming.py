"""What the rules call a field, as the operator typed it: `at_quota` is `--at-quota`."""

from collections.abc import Sequence

import click

from herotill.errors import InvalidValue

# Where an option fills a field of another name.
_FILLED_BY = {"ladder": "steps", "term_start": "term_starts"}


def command_of(command: click.Command, ctx: click.Context, words: Sequence[str]) -> click.Command:
    """Follow the words typed down to the command that would run."""
    rest = list(words)
    while isinstance(command, click.Group) and rest:
        below = command.get_command(ctx, rest.pop(0))
        if below is None:
            break
        command = below
    return command


def as_typed(error: InvalidValue, command: click.Command | None) -> InvalidValue:
    """Return the error with the option of this command that holds the field, where there is one."""
    wanted = _FILLED_BY.get(error.field, error.field)
    for parameter in () if command is None else command.params:
        if isinstance(parameter, click.Option) and parameter.name == wanted:
            return InvalidValue(parameter.opts[0], None if error.value == () else error.value, error.allowed)
    return error
