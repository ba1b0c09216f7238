"""`herotill group`: hostels, buildings, a reseller's clients, and what their members get for nothing."""

from dataclasses import replace
from datetime import date
from typing import Any

import click
from sqlalchemy.orm import Session

from billing import groups, regions
from billing.groups import Allocation
from billing.models import CustomerGroup
from billing.paging import Page
from herotill.allocation import Period
from herotill.errors import InvalidValue
from herotill.policy import Counting
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
    ask_before,
    choice_of,
    given,
    policy_options,
    search_option,
    with_options,
    yes_option,
)

COLUMNS = [
    Column("name"),
    Column("customers", right=True),
    Column("allocation_octets", show_octets, right=True, head="allocation"),
    Column("allocation_seconds", show_seconds, right=True, head="allocated time"),
    Column("allocation_period", head="every"),
    Column("time_zone"),
    Column("policy", show_mapping),
]
DETAILS = [
    *COLUMNS,
    Column("allocation_valid_seconds", show_seconds, "to the end of the period"),
    Column("allocation_term_starts", show_list),
    Column("allocation_rolls_over"),
    Column("allocation_counting"),
    Column("created_at", show_time),
]


def _allocation_options(command: Any) -> Any:
    options = [
        click.option("--allocation", "quota_octets", type=OCTETS, help="Octets for each member, like 2GiB."),
        click.option(
            "--allocation-time", "quota_seconds", type=SECONDS, help="Time for each member, like 10h."
        ),
        click.option("--period", type=choice_of(Period), help="How often; default month."),
        click.option(
            "--term-start", "term_starts", multiple=True, help="First day of a term, like 2026-09-01."
        ),
        click.option(
            "--allocation-valid-for", "valid_seconds", type=SECONDS, help="Default: to the period's end."
        ),
        click.option("--rolls-over/--no-roll-over", "rolls_over", default=None, help="Unused data stays."),
        click.option("--counting", type=choice_of(Counting), help="Which octets count; default sum."),
        click.option("--time-zone", help="Whose midnight begins a period; default that of the settings."),
    ]
    return with_options(command, options)


@click.group()
def group() -> None:
    """Sets of customers and their pre-allocation."""


@group.command()
@click.argument("name")
@_allocation_options
@policy_options
@pass_application
def add(application: Application, /, name: str, policy: dict[str, Any], **options: Any) -> None:
    """Found a group."""
    zone = options.pop("time_zone") or application.settings.time_zone
    allocation = _allocation(given(options))
    with application.billing_session() as session:
        groups.add(
            session, name=name, now=application.now(), allocation=allocation, policy=policy, time_zone=zone
        )
    click.echo(f"added group {name}")


@group.command(name="list")
@search_option
@list_options(keys_of(COLUMNS))
@pass_application
def list_groups(application: Application, /, output: Output, search: str, page: Page) -> None:
    """List the groups."""
    with application.billing_session() as session:
        found = groups.listing(session, search=search, limit=100_000)
        output.rows(arranged([_row(session, each) for each in found], page), COLUMNS)


@group.command()
@click.argument("name")
@output_options
@pass_application
def show(application: Application, /, output: Output, name: str) -> None:
    """Show one group."""
    with application.billing_session() as session:
        output.record(_row(session, groups.get(session, name)), DETAILS)


@group.command()
@click.argument("name")
@_allocation_options
@policy_options
@pass_application
def edit(application: Application, /, name: str, policy: dict[str, Any], **options: Any) -> None:
    """Change a group; `--allocation none` takes the allocation's octets away. What was granted stays."""
    changes: dict[str, Any] = {"policy": policy} if policy else {}
    zone = options.pop("time_zone")
    if zone is not None:
        changes["time_zone"] = zone
    typed = given(options)
    with application.billing_session() as session:
        if typed:
            changes["allocation"] = _changed(groups.allocation_of(groups.get(session, name)), typed)
        groups.edit(session, name=name, changes=changes)
    click.echo(f"changed group {name}: {', '.join(changes) or 'nothing'}")


@group.command()
@click.argument("name")
@click.argument("region")
@yes_option
@pass_application
def move(application: Application, /, name: str, region: str, yes: bool) -> None:
    """Let a group's accounts live in another region, where each has a RADIUS database of its own."""
    with application.billing_session() as session:
        count = groups.count_members(session, groups.get(session, name))
        ask_before(f"{count} customers of {name} will log in in region {region} and nowhere else", yes)
        regions.move_group(session, group=name, region=region)
    click.echo(f"group {name} belongs to region {region}")


@group.command()
@click.argument("name")
@yes_option
@pass_application
def remove(application: Application, /, name: str, yes: bool) -> None:
    """Dissolve an empty group."""
    with application.billing_session() as session:
        groups.get(session, name)
        ask_before(f"group {name} and its allocation will be deleted", yes)
        groups.remove(session, name=name)
    click.echo(f"removed group {name}")


def _changed(before: Allocation | None, typed: dict[str, Any]) -> Allocation | None:
    """Return the allocation after an edit; None when neither octets nor time are left."""
    if before is None:
        return _allocation(typed)
    values = _values(typed)
    octets = values.get("quota_octets", before.quota_octets)
    seconds = values.get("quota_seconds", before.quota_seconds)
    return None if octets is None and seconds is None else replace(before, **values)


def _allocation(typed: dict[str, Any]) -> Allocation | None:
    values = _values(typed)
    if values.get("quota_octets") is None and values.get("quota_seconds") is None:
        if any(value for value in values.values()):
            raise InvalidValue("--allocation", None, "an allocation needs octets or --allocation-time")
        return None
    return Allocation(**values)


def _values(typed: dict[str, Any]) -> dict[str, Any]:
    values = dict(typed)
    if "period" in values:
        values["period"] = Period(values["period"])
    if "counting" in values:
        values["counting"] = Counting(values["counting"])
    if "term_starts" in values:
        values["term_starts"] = tuple(_parse_day(day) for day in values["term_starts"])
    return values


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidValue("--term-start", text, "it is a day like 2026-09-01") from None


def _row(session: Session, found: CustomerGroup) -> dict[str, Any]:
    columns = {column.key: getattr(found, column.key, None) for column in DETAILS}
    if found.allocation_period is None:
        columns["allocation_counting"] = columns["allocation_rolls_over"] = None
    return columns | {"customers": groups.count_members(session, found)}
