"""`herotill report`: what an owner wants to know: sales, use, who spends what, who is online, what was cut (rule R29).

Days are those of the operator's time zone. Tables round octets; `--json` and `--csv` are exact.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from billing import report_sales, report_usage
from billing.report_periods import Interval, Span
from billing.report_sales import SalesBy
from billing.report_usage import Usage, UsageBy
from herotill.quantities import approximate_octets
from sync_daemon import plots
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Format, Output, output_options, show_time
from sync_daemon.cli.parameters import choice_of, limit_option, page_option
from sync_daemon.cli.report_options import interval_option, question_of, question_options

HOUR = timedelta(hours=1)
MAX_MOMENTS = 2_000


def show_hours(seconds: int) -> str:
    """Show a long time in hours and minutes: `312h05m`."""
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"


_FROM, _TO = Column("from"), Column("to")
_USE = [
    Column("down", approximate_octets, right=True),
    Column("up", approximate_octets, right=True),
    Column("total", approximate_octets, right=True),
]
_COUNT_COLUMNS = [
    *[_FROM, _TO, Column("reason"), Column("cuts", right=True)],
    Column("done", right=True, head="certainly gone"),
]
_CUT_COLUMNS = [
    Column("cut_at", show_time, head="when"),
    *[Column(key) for key in ("user", "group", "nas", "action", "reason", "state", "outcome")],
]

Asked = dict[str, Any]


@click.group()
def report() -> None:
    """Sales, use, expenditure, who is online, what was cut: as a table, JSON, CSV or a picture."""


@report.command("sales")
@interval_option("A row for each; default the whole period.")
@click.option("--by", type=choice_of(SalesBy), default="plan", show_default=True, help="What is told apart.")
@question_options(plan=True)
@output_options
@pass_application
def sales(
    application: Application,
    /,
    output: Output,
    asked: Asked,
    plot: Path | None,
    interval: str | None,
    by: str,
) -> None:
    """Show what was sold, by plan. What costs nothing is not in it; what was taken back counts on that day, below zero."""
    kind = SalesBy(by)
    with application.billing_session() as session:
        question = question_of(application, session, asked, _interval(interval))
        found = report_sales.sales(session, question, kind)
        daily = question_of(application, session, asked, _interval(interval) or Interval.DAY)
        drawn = report_sales.sales(session, daily, kind) if plot is not None else []
    columns = [_FROM, _TO, Column(by), Column("sold", right=True), Column("amount", right=True)]
    rows = [_days(row.span) | {by: row.label, "sold": row.items, "amount": row.amount} for row in found]
    output.rows(rows, columns)
    _say(output, [f"total  {items} sold for {amount}" for items, amount in report_sales.totals(found)])
    if plot is not None:
        plots.draw_sales(drawn, daily.spans, by, plot)
        _say_drawn(plot)


@report.command("usage")
@interval_option("A row for each; default day.")
@click.option("--by", type=choice_of(UsageBy), default="all", show_default=True, help="What is told apart.")
@question_options(plan=True)
@output_options
@pass_application
def usage(
    application: Application,
    /,
    output: Output,
    asked: Asked,
    plot: Path | None,
    interval: str | None,
    by: str,
) -> None:
    """Show what was used: download and upload, time online, and by how many accounts."""
    with application.billing_session() as session:
        question = question_of(application, session, asked, _interval(interval) or Interval.DAY)
        found = report_usage.usage(session, question, UsageBy(by))
        # A picture stacks down and up, whatever the table tells apart.
        drawn = report_usage.usage(session, question) if plot is not None else []
    told_apart = [] if by == UsageBy.ALL else [Column(by)]
    columns = [
        _FROM,
        _TO,
        *told_apart,
        *_USE,
        Column("time", show_hours, right=True),
        Column("users", right=True),
    ]
    output.rows([_usage_row(row, by) for row in found], columns)
    _say(output, _usage_total(found))
    if plot is not None:
        plots.draw_usage(drawn, question.spans, plot)
        _say_drawn(plot)


@report.command("expenditure")
@question_options()
@limit_option
@page_option
@output_options
@pass_application
def expenditure(
    application: Application, /, output: Output, asked: Asked, plot: Path | None, limit: int, page: int
) -> None:
    """Show what each customer spent and paid in the period, who spent most first, and the balance as it is now."""
    with application.billing_session() as session:
        question = question_of(application, session, asked, None)
        found = report_sales.expenditure(session, question, limit=limit, offset=limit * (page - 1))
    columns = [
        *[Column("account_number", head="account"), Column("name"), Column("group")],
        *[Column(key, right=True) for key in ("bought", "spent", "paid")],
        Column("balance", right=True, head="balance now"),
    ]
    output.rows([asdict(row) | _money(row) for row in found], columns)
    if plot is not None:
        plots.draw_expenditure(found, question.spans, plot)
        _say_drawn(plot)


@report.command("online")
@question_options()
@limit_option
@page_option
@output_options
@pass_application
def online(
    application: Application, /, output: Output, asked: Asked, plot: Path | None, limit: int, page: int
) -> None:
    """Show who is online now; the picture shows how many were, hour by hour, in the days asked for."""
    with application.billing_session() as session:
        question = question_of(application, session, asked, None)
        found = report_usage.online(session, question, limit=limit, offset=limit * (page - 1))
        moments = _moments(question.spans[0], application.now()) if plot is not None else []
        counts = report_usage.online_at(session, question, moments)
    columns = [
        *[Column(key) for key in ("user", "customer", "group", "device", "address", "nas")],
        *[Column("since", show_time), Column("last_report", show_time)],
        *[Column("time", show_hours, right=True), *_USE[:2]],
    ]
    output.rows([_online_row(row) for row in found], columns)
    if plot is not None:
        plots.draw_online(moments, counts, application.time_zone, plot)
        _say_drawn(plot)


@report.command("cuts")
@interval_option("Count them, for each; default: list them.")
@question_options()
@limit_option
@page_option
@output_options
@pass_application
def cuts(
    application: Application,
    /,
    output: Output,
    asked: Asked,
    plot: Path | None,
    interval: str | None,
    **page: int,
) -> None:
    """Show which sessions were ordered to end or to be restricted, why, and what the router made of it."""
    with application.billing_session() as session:
        question = question_of(application, session, asked, _interval(interval) or Interval.DAY)
        counted = report_usage.cut_counts(session, question)
        limit, offset = page["limit"], page["limit"] * (page["page"] - 1)
        listed = [] if interval else report_usage.cuts(session, question, limit=limit, offset=offset)
    if interval is not None:
        output.rows([_days(row.span) | asdict(row) for row in counted], _COUNT_COLUMNS)
    else:
        output.rows([asdict(row) | {"user": row.username} for row in listed], _CUT_COLUMNS)
    if plot is not None:
        plots.draw_cuts(counted, question.spans, plot)
        _say_drawn(plot)


def _interval(word: str | None) -> Interval | None:
    return None if word is None else Interval(word)


def _days(span: Span) -> dict[str, Any]:
    return {"from": span.first_day, "to": span.end_day - timedelta(days=1)}


def _usage_row(row: Usage, by: str) -> dict[str, Any]:
    return _days(row.span) | {
        by: row.label,
        "down": row.download_octets,
        "up": row.upload_octets,
        "total": row.download_octets + row.upload_octets,
        "time": row.seconds,
        "users": row.users,
    }


def _usage_total(rows: list[Usage]) -> list[str]:
    down, up = sum(row.download_octets for row in rows), sum(row.upload_octets for row in rows)
    hours = show_hours(sum(row.seconds for row in rows))
    return [f"total  {approximate_octets(down)} down, {approximate_octets(up)} up, {hours} online"]


def _money(row: report_sales.Expenditure) -> dict[str, Any]:
    return {"bought": row.items, "spent": row.spent, "paid": row.paid, "balance": row.balance}


def _online_row(row: report_usage.Online) -> dict[str, Any]:
    return asdict(row) | {
        "user": row.username,
        "since": row.started_at,
        "last_report": row.last_report_at,
        "time": row.seconds,
        "down": row.download_octets,
        "up": row.upload_octets,
    }


def _moments(span: Span, now: datetime) -> list[datetime]:
    """Return when to count who was online: every hour, or less often where there would be too many."""
    ends_at = min(span.ends_at, now)
    hours = max(int((ends_at - span.begins_at) / HOUR), 0)
    step = HOUR * (hours // MAX_MOMENTS + 1)
    return [span.begins_at + step * number for number in range(int((ends_at - span.begins_at) / step) + 1)]


def _say(output: Output, lines: list[str]) -> None:
    """Say what is for people only."""
    if output.format is Format.TABLE:
        for line in lines:
            click.echo(line)


def _say_drawn(file: Path) -> None:
    click.echo(f"drew {file}", err=True)
