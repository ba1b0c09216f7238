"""`herotill customer verify` and `invite`, `herotill account reset-password`: codes by e-mail and SMS (rule R3)."""

from typing import Any

import click

from billing import accounts, customers, invitations, verification
from billing.verification import Channel, ContactKey, Sent
from herotill.errors import InvalidValue, Refused
from sync_daemon.cli.application import Application, pass_application
from sync_daemon.cli.output import show_time
from sync_daemon.cli.parameters import ask_before, choice_of, operator_name, password_options, yes_option

_send_option = click.option(
    "--send", "channel", type=choice_of(Channel), help="Send a code to its own address."
)
_code_option = click.option("--code", help="The code the customer got.")


@click.command()
@click.argument("reference", metavar="REF")
@_send_option
@_code_option
@click.option("--reason", help="How you know this customer; with neither --send nor --code.")
@pass_application
def verify(
    application: Application, /, reference: str, channel: str | None, code: str | None, reason: str | None
) -> None:
    """Verify a customer, who from now on may buy and log in: by a code, or because you vouch for it."""
    if sum(option is not None for option in (channel, code, reason)) > 1:
        raise InvalidValue("--send", channel, "it is one of --send, --code and --reason")
    if channel is not None:
        _send_verification(application, reference, Channel(channel))
    elif code is not None:
        _verify_by_code(application, reference, code)
    else:
        _vouch(application, reference, reason)


@click.command(name="reset-password")
@click.argument("user")
@_send_option
@_code_option
@password_options
@pass_application
def reset_password(
    application: Application, /, user: str, channel: str | None, code: str | None, password: Any
) -> None:
    """Let the owner of an account choose a new password: --send a code, then give it with --code."""
    if (channel is None) == (code is None):
        raise InvalidValue("--code", None, "first --send a code, then give --code and a password")
    if channel is not None:
        _send_reset(application, user, Channel(channel))
        return
    secret, is_generated = password()
    with application.billing_session() as session:
        is_good = verification.reset_by_code(
            session,
            username=user,
            code=code or "",
            secret=secret,
            key=contact_key(application),
            now=application.now(),
        )
    _check(is_good)
    click.echo(f"changed the password of {user}" + (f" to {secret}" if is_generated else ""))


@click.command()
@click.argument("group")
@click.option("--send", "channel", type=choice_of(Channel), required=True, help="How the codes go.")
@yes_option
@pass_application
def invite(application: Application, /, group: str, channel: str, yes: bool) -> None:
    """Send every imported member of a group, who has no password yet, a code to choose one."""
    ask_before(f"every member of {group} without a password will be sent a code by {channel}", yes)
    with application.billing_session() as session:
        done = invitations.invite(
            session,
            group=group,
            channel=Channel(channel),
            key=contact_key(application),
            now=application.now(),
        )
    unreachable = f"; {channel} does not reach {done.unreachable}" if done.unreachable else ""
    click.echo(f"invited {done.sent} accounts of {group}{unreachable}")


def contact_key(application: Application) -> ContactKey:
    """Return the key codes are hashed with."""
    return ContactKey.of_secret(application.settings.class_secret)


def _send_verification(application: Application, reference: str, channel: Channel) -> None:
    with application.billing_session() as session:
        key, now = contact_key(application), application.now()
        sent = verification.send_verification(session, reference=reference, channel=channel, key=key, now=now)
    _tell_sent(application, sent)


def _send_reset(application: Application, user: str, channel: Channel) -> None:
    with application.billing_session() as session:
        key, now = contact_key(application), application.now()
        sent = verification.send_reset(session, username=user, channel=channel, key=key, now=now)
    _tell_sent(application, sent)


def _verify_by_code(application: Application, reference: str, code: str) -> None:
    with application.billing_session() as session:
        key, now = contact_key(application), application.now()
        is_good = verification.verify_by_code(session, reference=reference, code=code, key=key, now=now)
    # After the transaction: a failed try counts.
    _check(is_good)
    with application.billing_session() as session:
        found = customers.get(session, reference)
        without = [each.username for each in accounts.accounts_of(session, found) if each.must_reset_secret]
        told = f"verified customer {found.account_number} ({found.name})"
    click.echo(told)
    for user in without:
        click.echo(f"{user} has no password yet: `herotill account reset-password {user} --send email`")


def _vouch(application: Application, reference: str, reason: str | None) -> None:
    with application.billing_session() as session:
        found = customers.verify(
            session, reference=reference, now=application.now(), by=operator_name(), reason=reason
        )
        told = f"verified customer {found.account_number} ({found.name})"
    click.echo(told)


def _check(is_good: bool) -> None:
    if not is_good:
        raise Refused("the code is wrong, used up or too old; --send sends another", "R3")


def _tell_sent(application: Application, sent: Sent) -> None:
    until = show_time(sent.expires_at.astimezone(application.time_zone))
    click.echo(f"a code is on its way to {sent.address}; it is good until {until}")
