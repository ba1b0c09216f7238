"""`herotill notice`: when customers are told, and in which words (rule R21)."""

import sys
from pathlib import Path
from typing import Any

import click

from billing import customers, message_templates, notices, plans
from billing.message_templates import Wording, check_language
from billing.paging import Page
from herotill.errors import InvalidValue
from herotill.messages import Template
from herotill.policy import ServicePolicy
from herotill.quantities import Money, format_money, format_seconds, parse_money
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.listing import arranged, keys_of, list_options
from sync_daemon.cli.output import Column, Output, output_options, show_time
from sync_daemon.cli.parameters import PERCENTS, SECONDS_NEEDED, ask_before, operator_name, yes_option

COLUMNS = [Column("notice"), Column("of"), Column("when")]
TEMPLATE_COLUMNS = [
    Column("kind"),
    Column("language"),
    Column("subject"),
    Column("changed_at", show_time, "ours"),
    Column("changed_by"),
]


@click.group()
def notice() -> None:
    """When customers are told, and in which words."""


@notice.command(name="list")
@list_options(keys_of(COLUMNS))
@pass_application
def list_notices(application: Application, /, output: Output, page: Page) -> None:
    """List when customers are told: marks of use by plan, ends, balances."""
    with application.billing_session() as session:
        set_ = notices.settings(session)
        found = plans.listing(session, limit=100_000)
        marks = [(plan.name, ServicePolicy.from_mapping(plan.policy).notice_percents) for plan in found]
    rows = [
        {"notice": "usage", "of": f"plan {name}", "when": f"{percents} % used" if percents else "never"}
        for name, percents in marks
    ]
    rows += [
        {"notice": "expiry", "of": "what was sold", "when": f"{format_seconds(seconds)} before"}
        for seconds in set_.lead_seconds
    ]
    rows += [
        {"notice": "low balance", "of": f"balances in {mark.currency}", "when": f"below {format_money(mark)}"}
        for mark in set_.low_balances
    ]
    output.rows(arranged(rows, page), COLUMNS)


@notice.command(name="set")
@click.option(
    "--plan", "plan_name", metavar="NAME", help="Whose marks --at sets, for what is sold from now on."
)
@click.option("--at", "percents", type=PERCENTS, help="Percents used, like 50,80,100; or none.")
@click.option(
    "--before-expiry", "leads", metavar="DURATIONS", help="So long before an end, like 3d,1d; or none."
)
@click.option("--low-balance", metavar="AMOUNT", help="Below this balance, like 50KES; 0KES is never.")
@pass_application
def set_notices(
    application: Application,
    /,
    plan_name: str | None,
    percents: str | None,
    leads: str | None,
    low_balance: str | None,
) -> None:
    """Set when customers are told."""
    if (plan_name is None) != (percents is None):
        raise InvalidValue("--at", percents, "--plan and --at go together")
    lead_seconds = None if leads is None else _read_leads(leads)
    mark = _read_mark(application, low_balance)
    if (plan_name, lead_seconds, mark) == (None, None, None):
        raise InvalidValue("set", None, "say what: --plan with --at, --before-expiry, --low-balance")
    with application.billing_session() as session:
        if plan_name is not None:
            policy = plans.get(session, plan_name).policy | {"notice_percents": percents}
            plans.edit(session, name=plan_name, changes={"policy": ServicePolicy.from_mapping(policy)})
        if lead_seconds is not None:
            notices.set_leads(session, lead_seconds, application.now())
        if mark is not None:
            notices.set_low_balance(session, mark)
    click.echo("set; `herotill notice list` shows it")


@notice.command()
@click.argument("customer")
@click.argument("tag", metavar="LANGUAGE")
@pass_application
def language(application: Application, /, customer: str, tag: str) -> None:
    """Write to CUSTOMER in LANGUAGE, such as sw or pt-BR; `none` is that of the settings."""
    chosen = None if tag == "none" else check_language(tag)
    with application.billing_session() as session:
        found = customers.get(session, customer)
        found.language = chosen
        name = found.name
    click.echo(f"{name} is written to in {chosen or 'the language of the settings'}")


@notice.group()
def template() -> None:
    """The words: a subject and a body for each kind of event and language."""


@template.command(name="list")
@list_options(keys_of(TEMPLATE_COLUMNS))
@pass_application
def list_templates(application: Application, /, output: Output, page: Page) -> None:
    """List the templates in force."""
    with application.billing_session() as session:
        found = message_templates.listing(session)
    output.rows(arranged([_row(wording) for wording in found], page), TEMPLATE_COLUMNS)


@template.command()
@click.argument("kind")
@click.option("--language", "tag", default="en", show_default=True, help="Such as sw or pt-BR.")
@output_options
@pass_application
def show(application: Application, /, output: Output, kind: str, tag: str) -> None:
    """Show what is said of a KIND of event; {names} stand for what the event says."""
    with application.billing_session() as session:
        found = [wording for wording in message_templates.listing(session) if wording.kind == kind]
    chosen = next((wording for wording in found if wording.language == tag), None)
    if chosen is None:
        raise InvalidValue("template", f"{kind} {tag}", "there is none; `herotill notice template list`")
    output.record(_row(chosen), [*TEMPLATE_COLUMNS, Column("body")])


@template.command(name="set")
@click.argument("kind")
@click.option("--language", "tag", default="en", show_default=True, help="Such as sw or pt-BR.")
@click.option("--subject", required=True, help="One line; {names} stand for what the event says.")
@click.option("--body-file", required=True, metavar="FILE", help="The text; - is standard input.")
@pass_application
def set_template(application: Application, /, kind: str, tag: str, subject: str, body_file: str) -> None:
    """Say this of a KIND of event from now on."""
    words = Template(subject, _read_text(body_file))
    wording = Wording(kind, tag, words, application.now(), operator_name())
    with application.billing_session() as session:
        message_templates.put(session, wording)
    click.echo(f"{kind} is told in {tag} with these words")


@template.command()
@click.argument("kind")
@click.option("--language", "tag", default="en", show_default=True, help="Such as sw or pt-BR.")
@yes_option
@pass_application
def remove(application: Application, /, kind: str, tag: str, yes: bool) -> None:
    """Forget your words of a KIND; ours are used again where there are any."""
    ask_before(f"your words of {kind} in {tag} will be forgotten", yes)
    with application.billing_session() as session:
        message_templates.remove(session, kind, tag)
    click.echo(f"forgot the words of {kind} in {tag}")


def _read_leads(text: str) -> list[int]:
    if text.strip().lower() == "none":
        return []
    return [SECONDS_NEEDED.convert(part, None, None) for part in text.split(",")]


def _read_mark(application: Application, text: str | None) -> Money | None:
    return None if text is None else parse_money(text, "--low-balance", application.settings.currency)


def _read_text(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InvalidValue("--body-file", file, f"it cannot be read: {reason}") from None


def _row(wording: Wording) -> dict[str, Any]:
    return {
        "kind": wording.kind,
        "language": wording.language,
        "subject": wording.template.subject,
        "body": wording.template.body,
        "changed_at": wording.changed_at,
        "changed_by": wording.changed_by,
    }
