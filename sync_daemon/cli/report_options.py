"""What the reports' options have in common: of which days, of whom, in which form, and where a picture goes."""

import functools
from collections.abc import Callable
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import reports
from billing.report_periods import Interval, spans_of
from billing.reports import Question
from herotill.errors import InvalidValue
from sync_daemon.cli.application import Application
from sync_daemon.cli.parameters import choice_of, with_options

SUFFIXES = (".png", ".svg")
_ASKED = ("first", "last", "group", "plan", "username")

_FROM = click.option("--from", "first", metavar="DAY", help="The first day; default the first of this month.")
_TO = click.option("--to", "last", metavar="DAY", help="The last day, with it; default today.")
_GROUP = click.option("--group", metavar="NAME", help="Only customers of this group.")
_PLAN = click.option("--plan", metavar="NAME", help="Only this plan.")
_USER = click.option("--user", "username", metavar="NAME", help="Only this account.")
_PLOT = click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw a picture, too: a .png or .svg.",
)


def interval_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option `--interval`; `text` says what it does without."""
    return click.option("--interval", type=choice_of(Interval), help=text)


def question_options(*, plan: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of a report, and the arguments `asked` and `plot`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_question(*arguments: Any, plot: Path | None, **options: Any) -> Any:
            asked = {name: options.pop(name) for name in _ASKED if name in options}
            if plot is not None:
                check_picture(plot)
            return command(*arguments, asked=asked, plot=plot, **options)

        return with_options(with_question, [_FROM, _TO, _GROUP, *([_PLAN] if plan else []), _USER, _PLOT])

    return decorate


def question_of(
    application: Application, session: Session, asked: dict[str, Any], interval: Interval | None
) -> Question:
    """Return what was asked. Raises InvalidValue for a day that is none, and for names nobody has."""
    today = application.now().astimezone(application.time_zone).date()
    first = _day(asked["first"], "--from", today.replace(day=1))
    last = _day(asked["last"], "--to", today)
    question = Question(
        spans=spans_of(first, last + timedelta(days=1), application.settings.time_zone, interval),
        group=asked["group"],
        plan=asked.get("plan"),
        username=asked["username"],
        seller=application.seller(session),
    )
    reports.check(session, question)
    return question


def check_picture(file: Path) -> None:
    """Raise InvalidValue where no picture can be drawn or written, before anything is asked of the database."""
    if file.suffix.lower() not in SUFFIXES:
        raise InvalidValue("--plot", str(file), "a picture's name ends with .png or .svg")
    if not file.absolute().parent.is_dir():
        raise InvalidValue("--plot", str(file), f"there is no folder {file.absolute().parent}")
    if find_spec("matplotlib") is None:
        raise InvalidValue(
            "--plot", str(file), "pictures are drawn by matplotlib: pip install 'herotill-radius[plots]'"
        )


def _day(text: str | None, field: str, otherwise: date) -> date:
    if text is None:
        return otherwise
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidValue(field, text, "it is a day like 2026-11-30") from None
