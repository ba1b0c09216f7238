"""`herotill plan`: what is sold."""

from dataclasses import replace
from typing import Any

import click

from billing import plans
from billing.models import Plan
from billing.paging import Page
from billing.terms import PlanTerms
from herotill.policy import Counting, ServicePolicy
from herotill.quantities import Money, parse_money
from herotill.refilling import RefillExpiry, RefillRates, RefillTerms
from herotill.snapshot import AccountKind
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, keys_of, list_options
from sync_daemon.cli.output import (
    Column,
    Output,
    output_options,
    show_list,
    show_mapping,
    show_octets,
    show_seconds,
    show_time,
)
from sync_daemon.cli.parameters import (
    OCTETS,
    SECONDS,
    WHOLE,
    WHOLE_NEEDED,
    ask_before,
    choice_of,
    given,
    parse_day_or_time,
    policy_options,
    search_option,
    with_options,
    yes_option,
)

COLUMNS = [
    Column("name"),
    Column("price", right=True),
    Column("quota_octets", show_octets, "unlimited", right=True, head="quota"),
    Column("quota_seconds", show_seconds, "unlimited", right=True, head="time"),
    Column("valid"),
    Column("kinds", show_list),
]
DETAILS = [
    *COLUMNS[:4],
    Column("seconds_after_purchase", show_seconds, "never", head="valid after purchase"),
    Column("seconds_after_first_use", show_seconds, "never", head="valid after first use"),
    Column("seconds_after_last_use", show_seconds, "never", head="valid after last use"),
    Column("valid_until", show_time, "never"),
    Column("ends_with_cycle"),
    Column("rolls_over"),
    Column("topup_plan", absent="none"),
    Column("topups_max", absent="no limit"),
    Column("kinds", show_list),
    Column("counting"),
    Column("priority"),
    Column("policy", show_mapping),
    Column("refill_expiry"),
    Column("refill_rates"),
    Column("refill_counts_overuse"),
    Column("created_at", show_time),
]

_REFILL_FIELDS = {
    "refill_expiry": "expiry",
    "refill_rates": "rates",
    "refill_counts_overuse": "counts_overuse",
}


def _terms_options(command: Any) -> Any:
    options = [
        click.option("--price", help="Like 50KES or 1.50USD; without a currency, that of the settings."),
        click.option("--quota", "quota_octets", type=OCTETS, help="Octets, like 1GiB; default unlimited."),
        click.option(
            "--time", "quota_seconds", type=SECONDS, help="Time online, like 2h; default unlimited."
        ),
        click.option(
            "--valid-for", "seconds_after_purchase", type=SECONDS, help="From the purchase on, like 30d."
        ),
        click.option("--valid-after-first-use", "seconds_after_first_use", type=SECONDS, help="Like 1h."),
        click.option("--valid-after-last-use", "seconds_after_last_use", type=SECONDS, help="Like 7d."),
        click.option("--valid-until", help="A day like 2026-12-31 (to its end) or '2026-12-31 18:00'."),
        click.option(
            "--until-cycle-end/--not-until-cycle-end", "ends_with_cycle", default=None, help="Monthly only."
        ),
        click.option(
            "--roll-over/--no-roll-over",
            "rolls_over",
            default=None,
            help="Monthly only: what a cycle leaves is usable in the next.",
        ),
        click.option(
            "--auto-topup", "topup_plan", metavar="PLAN", help="Monthly only: sold when data is used up."
        ),
        click.option(
            "--auto-topups", "topups_max", type=WHOLE, help="So often in a cycle; default no limit."
        ),
        click.option("--kind", "kinds", multiple=True, type=choice_of(AccountKind), help="Who may buy it."),
        click.option("--counting", type=choice_of(Counting), help="Which octets count; default sum."),
        click.option("--priority", type=WHOLE_NEEDED, help="Lower burns first; default 100."),
        click.option(
            "--refill-expiry",
            type=choice_of(RefillExpiry),
            help="As a refill: when all that is left then ends; default latest.",
        ),
        click.option(
            "--refill-rates", type=choice_of(RefillRates), help="As a refill: whose rates; default keep."
        ),
        click.option(
            "--refill-counts-overuse/--refill-forgives-overuse",
            default=None,
            help="As a refill: whether what a soft-capped user took beyond the quota counts; default not.",
        ),
    ]
    return with_options(command, options)


@click.group()
def plan() -> None:
    """What is sold."""


@plan.command()
@click.argument("name")
@_terms_options
@policy_options
@pass_application
def add(application: Application, /, name: str, policy: dict[str, Any], **options: Any) -> None:
    """Put a plan on the shelf."""
    fields = _fields(application, options)
    fields.setdefault("price", Money(0, application.settings.currency))
    fields["refill"] = _refill_of(fields, RefillTerms())
    terms = PlanTerms(policy=ServicePolicy.from_mapping(policy), **fields)
    with application.billing_session() as session:
        plans.add(session, name=name, terms=terms, now=application.now())
    click.echo(f"added plan {name} for {terms.price}")


@plan.command(name="list")
@search_option
@list_options(keys_of(COLUMNS))
@pass_application
def list_plans(application: Application, /, output: Output, search: str, page: Page) -> None:
    """List the plans on the shelf."""
    with application.billing_session() as session:
        found = plans.listing(session, search=search, limit=100_000)
        output.rows(arranged([_row(each) for each in found], page), COLUMNS)


@plan.command()
@click.argument("name")
@output_options
@pass_application
def show(application: Application, /, output: Output, name: str) -> None:
    """Show one plan."""
    with application.billing_session() as session:
        output.record(_row(plans.get(session, name)), DETAILS)


@plan.command()
@click.argument("name")
@click.option("--name", "new_name", help="A new name.")
@_terms_options
@policy_options
@pass_application
def edit(application: Application, /, name: str, policy: dict[str, Any], **options: Any) -> None:
    """Change what will be sold from now on; what was sold stays as it was. `none` takes a limit away."""
    new_name = options.pop("new_name")
    changes = _fields(application, options)
    with application.billing_session() as session:
        if policy:
            before = plans.get(session, name).policy
            changes["policy"] = ServicePolicy.from_mapping(before | policy)
        if any(field in changes for field in _REFILL_FIELDS):
            changes["refill"] = _refill_of(changes, PlanTerms.of(plans.get(session, name)).refill)
        if new_name is not None:
            changes["name"] = new_name
        plans.edit(session, name=name, changes=changes)
    click.echo(f"changed plan {name}: {', '.join(changes) or 'nothing'}")


@plan.command()
@click.argument("name")
@yes_option
@pass_application
def remove(application: Application, /, name: str, yes: bool) -> None:
    """Take a plan off the shelf; what was sold of it lives on."""
    with application.billing_session() as session:
        found = plans.get(session, name)
        fate = (
            "kept in the books, sold no more"
            if plans.was_sold(session, found)
            else "deleted, it was never sold"
        )
        ask_before(f"plan {found.name} will be {fate}", yes)
        plans.remove(session, name=name, now=application.now())
    click.echo(f"removed plan {name}")


def _fields(application: Application, options: dict[str, Any]) -> dict[str, Any]:
    """Return fields of PlanTerms for what was typed."""
    fields = given(options)
    if "price" in fields:
        fields["price"] = parse_money(fields["price"], "--price", application.settings.currency)
    if "valid_until" in fields:
        fields["valid_until"] = parse_day_or_time(
            fields["valid_until"], "--valid-until", application.time_zone
        )
    if "kinds" in fields:
        fields["kinds"] = tuple(AccountKind(kind) for kind in fields["kinds"])
    if "counting" in fields:
        fields["counting"] = Counting(fields["counting"])
    if fields.get("topup_plan") == "none":
        fields["topup_plan"] = None
    return fields


def _refill_of(fields: dict[str, Any], before: RefillTerms) -> RefillTerms:
    """Take what a refill does out of the fields and lay it over what it did before."""
    typed = {field: fields.pop(name) for name, field in _REFILL_FIELDS.items() if name in fields}
    if "expiry" in typed:
        typed["expiry"] = RefillExpiry(typed["expiry"])
    if "rates" in typed:
        typed["rates"] = RefillRates(typed["rates"])
    return replace(before, **typed)


def _row(found: Plan) -> dict[str, Any]:
    columns = {column.key: getattr(found, column.key, None) for column in DETAILS}
    return columns | {"price": Money(found.price_minor, found.currency), "valid": _validity(found)}


def _validity(found: Plan) -> str:
    clocks = {
        "after purchase": found.seconds_after_purchase,
        "after first use": found.seconds_after_first_use,
        "after last use": found.seconds_after_last_use,
    }
    parts = [f"{show_seconds(seconds)} {since}" for since, seconds in clocks.items() if seconds is not None]
    if found.valid_until is not None:
        parts.append(f"until {show_time(found.valid_until)} UTC")
    if found.ends_with_cycle:
        parts.append("to the end of the cycle")
    return ", ".join(parts) or "for ever"
