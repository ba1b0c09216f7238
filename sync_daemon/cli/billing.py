"""`herotill billing`: how accounts are billed, and the billing run."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.orm import Session

from billing import accounts, billing_run, recurring
from billing.billing_run_cycles import open_cycles
from billing.cycle_grants import align_grants
from billing.cycles import CycleLength
from billing.models import Account
from billing.recurring import MAX_PAYMENT_TERMS_DAYS, Profile
from herotill.errors import InvalidValue
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import Column, Format, Output, output_options, show_mapping, show_time
from sync_daemon.cli.parameters import choice_of, given, operator_name, parse_day_or_time, with_options
from sync_daemon.cli.progress import step_bar

if TYPE_CHECKING:
    from billing.billing_run import Report

NOTHING = "none"

PROFILE = [
    Column("user"),
    Column("kind"),
    Column("profile", absent=NOTHING),
    Column("plan", absent="nothing recurs"),
    Column("automatic_bill"),
    Column("automatic_suspend"),
    Column("automatic_topup"),
    Column("payment_terms_days"),
    Column("cycle"),
    Column("ends_with_month"),
    Column("next_cycle", show_time, "none", head="next cycle begins"),
    Column("paused"),
]
# Of a monthly account whose profile nobody has touched.
_DEFAULTS = {
    "profile": str(Profile.MONTHLY),
    "automatic_bill": True,
    "automatic_suspend": True,
    "automatic_topup": True,
    "payment_terms_days": recurring.DEFAULT_PAYMENT_TERMS_DAYS,
}
SUMMARY = [
    Column("until", show_time),
    Column("dry_run"),
    Column("done", lambda counts: show_mapping(counts) or "nothing was due"),
    Column("billed", lambda amounts: ", ".join(map(str, amounts)) or "nothing"),
]
LINES = [Column("user"), Column("what"), Column("detail")]
SHOWN_LINES = 100


@click.group()
def billing() -> None:
    """How accounts are billed, and the billing run."""


@billing.command()
@click.option("--until", help="Do what is due up to the end of this day, like 2026-11-30; default now.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing; may look ahead.")
@output_options
@pass_application
def run(application: Application, /, output: Output, until: str | None, dry_run: bool) -> None:
    """Bill, roll over, top up, suspend and resume whatever is due; the daemon does it every minute.

    Run it as often as you like: nothing is done twice.
    """
    now = application.now()
    end = now if until is None else parse_day_or_time(until, "--until", application.time_zone)
    end = end if dry_run else min(end, now)
    options = billing_run.Options(actor=operator_name(), dry_run=dry_run)
    with application.billing_session() as session:
        total = billing_run.due_cycles(session, end)
    with step_bar() as advance:
        progress = _progress(advance, total)
        report = billing_run.run(application.billing_session, end, now, options=options, progress=progress)
    _show(output, report, {"until": end, "dry_run": dry_run})


def _profile_options(command: Any) -> Any:
    options = [
        click.option(
            "--profile",
            type=click.Choice([*(each.value for each in Profile), NOTHING]),
            help="daily is for prepaid accounts.",
        ),
        click.option("--plan", help="The plan that recurs, or none: no more after this cycle."),
        click.option("--automatic-bill/--no-automatic-bill", default=None, help="A bill on the first day."),
        click.option(
            "--automatic-suspend/--no-automatic-suspend", default=None, help="When a bill is overdue."
        ),
        click.option(
            "--automatic-topup/--no-automatic-topup", default=None, help="Where the plan has a top-up."
        ),
        click.option(
            "--payment-terms",
            "payment_terms_days",
            type=click.IntRange(0, MAX_PAYMENT_TERMS_DAYS),
            help="Days to pay.",
        ),
        click.option("--cycle", "cycle_length", type=choice_of(CycleLength), help="How long a cycle is."),
        click.option("--cycle-day", type=click.IntRange(1, 31), help="The day of the month cycles begin on."),
        click.option(
            "--ends-with-month/--no-ends-with-month",
            default=None,
            help="Yes bills the rest of the month first; no bills to the next payment date.",
        ),
        click.option("--begins", "begins_on", help="The first day, like 2026-12-01; default today."),
    ]
    return with_options(command, options)


@billing.command()
@click.argument("user")
@_profile_options
@output_options
@pass_application
def profile(application: Application, /, output: Output, user: str, **options: Any) -> None:
    """Show or change how an account is billed. A plan that recurs from today on is billed and given at once."""
    changes = _changes(given(options))
    with application.billing_session() as session:
        if changes:
            _change(application, session, user, changes)
        output.record(_row(session, accounts.get(session, user)), PROFILE)


def _change(application: Application, session: Session, user: str, changes: dict[str, Any]) -> None:
    now = application.now()
    changed = recurring.change(
        session, username=user, changes=changes, now=now, time_zone=application.settings.time_zone
    )
    if changed is None:
        return
    if changed.next_cycle_on is not None:
        open_cycles(
            session,
            until=now,
            now=now,
            limit=1,
            billed_by=operator_name(),
            account_id=changed.account_id,
        )
    align_grants(session, [changed.account_id], now)
    session.expire_all()


def _changes(typed: dict[str, Any]) -> dict[str, Any]:
    if "profile" in typed:
        typed["profile"] = None if typed["profile"] == NOTHING else Profile(typed["profile"])
    if typed.get("plan") == NOTHING:
        typed["plan"] = None
    if "begins_on" in typed:
        typed["begins_on"] = _day(typed["begins_on"])
    return typed


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidValue("--begins", text, "it is a day like 2026-12-01") from None


def _row(session: Session, account: Account) -> dict[str, Any]:
    found = recurring.profile_of(session, account)
    row: dict[str, Any] = {"user": account.username, "kind": account.kind}
    if found is None:
        return row | (dict(_DEFAULTS) if account.kind == AccountKind.MONTHLY else {})
    row["profile"] = found.profile
    if found.profile == Profile.DAILY:
        return row
    month = found.cycle_length == CycleLength.MONTH
    return row | {
        "plan": None if found.plan is None else found.plan.name,
        "automatic_bill": found.automatic_bill,
        "automatic_suspend": found.automatic_suspend,
        "automatic_topup": found.automatic_topup,
        "payment_terms_days": found.payment_terms_days,
        "cycle": f"from day {account.cycle_day} of a month to that of the next" if month else "30 days",
        "ends_with_month": month and account.cycle_day == 1,
        "next_cycle": found.next_cycle_at,
        "paused": found.paused,
    }


def _progress(advance: Callable[[str, int, int], None], total: int) -> Callable[[str, int], None]:
    done: Counter[str] = Counter()

    def progress(step: str, more: int) -> None:
        done[step] += more
        advance(step, done[step], max(total, done[step]) if step == "cycles" else 0)

    return progress


def _show(output: Output, report: "Report", record: dict[str, Any]) -> None:
    billed = [Money(minor, currency) for currency, minor in sorted(report.billed.items())]
    record |= {"done": dict(report.counts), "billed": billed}
    lines = [{"user": line.username, "what": line.what, "detail": line.detail} for line in report.lines]
    if output.format is Format.TABLE:
        output.record(record, SUMMARY)
        if lines:
            output.rows(lines[:SHOWN_LINES], LINES)
        if len(lines) > SHOWN_LINES:
            click.echo(f"… and {len(lines) - SHOWN_LINES} more (--json has all)", err=True)
    else:
        extra = [*SUMMARY, Column("lines")] if report.is_dry_run else SUMMARY
        output.record(record | {"lines": lines}, extra)
