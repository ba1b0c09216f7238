"""What the nouns' options have in common: quantities, dates, policies, passwords, asking before destroying."""

import functools
import getpass
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click

from billing.accounts import generate_secret
from herotill.errors import InvalidValue
from herotill.ladder import format_ladder, parse_ladder
from herotill.policy import Ending, Outage, Sharing, parse_percents
from herotill.quantities import parse_bits_per_second, parse_octets, parse_seconds

CLEARED = object()
_CLEARING_WORDS = ("none", "unlimited")


class Quantity(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4 only
    """A number with its unit, read by one of the parsers of herotill.quantities; `none` takes a limit away."""

    def __init__(self, name: str, parse: Callable[[str, str], int], *, clearable: bool = True) -> None:
        self.name = name
        self._parse = parse
        self._clearing_words = _CLEARING_WORDS if clearable else ()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return the integer, or CLEARED. Raises InvalidValue, naming the option."""
        if not isinstance(value, str):
            return value
        if value.strip().lower() in self._clearing_words:
            return CLEARED
        return self._parse(value, param.opts[0] if param is not None else self.name)


def _parse_whole(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise InvalidValue(field, text, "it is a whole number")
    return int(text)


OCTETS = Quantity("octets", parse_octets)
SECONDS = Quantity("duration", parse_seconds)
RATE = Quantity("rate", parse_bits_per_second)
WHOLE = Quantity("number", _parse_whole)
WHOLE_NEEDED = Quantity("number", _parse_whole, clearable=False)
SECONDS_NEEDED = Quantity("duration", parse_seconds, clearable=False)
OCTETS_NEEDED = Quantity("octets", parse_octets, clearable=False)


class Percents(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4 only
    """Percents with commas between them; `none` is none."""

    name = "percents"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return them as a policy has them. Raises InvalidValue."""
        text = "" if str(value).strip().lower() == "none" else str(value).replace(" ", "")
        return ",".join(str(percent) for percent in parse_percents(text))


PERCENTS = Percents()


def network_of(text: str | None) -> str | None:
    """Return the network of `--nas`, an address being one of its own. Raises InvalidValue."""
    if text is None:
        return None
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise InvalidValue("--nas", text, "it is an address such as 192.0.2.1, or a network") from None


def choice_of(words: type[StrEnum]) -> Any:
    """Return the click type that takes the enum's values; click by itself takes the members' names."""
    return click.Choice([word.value for word in words])


# The options of a policy: the field of herotill.policy.ServicePolicy, its type, its help.
_POLICY_OPTIONS: dict[str, tuple[str, Any, str]] = {
    "--down": ("download_bits_per_second", RATE, "Download rate, like 10Mbit/s."),
    "--up": ("upload_bits_per_second", RATE, "Upload rate."),
    "--burst-down": (
        "download_burst_bits_per_second",
        RATE,
        "Download rate of a burst, where the router has it.",
    ),
    "--burst-up": ("upload_burst_bits_per_second", RATE, "Upload rate of a burst."),
    "--burst-time": ("burst_seconds", SECONDS, "Over how long a burst is measured."),
    "--redirect-url": ("redirect_url", click.STRING, "Where the router leads to after a login."),
    "--max-sessions": ("max_sessions", WHOLE, "How many devices may be on at once."),
    "--sharing": ("sharing", choice_of(Sharing), "How devices share the quota."),
    "--slice": ("slice_octets", OCTETS_NEEDED, "What a strict plan hands to one session at a time."),
    "--at-quota": ("at_quota", choice_of(Ending), "What happens when quota or time is used up."),
    "--at-expiry": ("at_expiry", choice_of(Ending), "What happens when the validity ends."),
    "--throttled-down": ("throttled_download_bits_per_second", RATE, "Download rate after the end."),
    "--throttled-up": ("throttled_upload_bits_per_second", RATE, "Upload rate after the end."),
    "--pool": ("address_pool", click.STRING, "Address pool."),
    "--restricted-pool": ("restricted_pool", click.STRING, "Pool after the end."),
    "--suspended-pool": ("suspended_pool", click.STRING, "Pool of a suspended monthly account."),
    "--unverified-pool": (
        "unverified_pool",
        click.STRING,
        "Pool of who is not verified yet; without it they cannot log in.",
    ),
    "--bind-devices": (
        "bound_devices",
        click.STRING,
        "MAC addresses that may use the account, by comma; '' for any.",
    ),
    "--address-list": ("address_list", click.STRING, "Address list on the router."),
    "--interim": ("interim_interval_seconds", SECONDS_NEEDED, "How often the NAS reports usage."),
    "--outage": ("outage", choice_of(Outage), "What a login meets while the database is away."),
    "--idle-timeout": ("idle_timeout_seconds", SECONDS, "Ends a session nobody uses."),
    "--notify-at": ("notice_percents", PERCENTS, "Percent used at which to tell, like 50,80,100; or none."),
    "--transferable/--not-transferable": (
        "transferable",
        click.BOOL,
        "Whether unused data may be given away.",
    ),
}


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a policy and the argument `policy`: only what was typed."""

    @functools.wraps(command)
    def with_policy(*arguments: Any, **options: Any) -> Any:
        typed = {field: options.pop(field) for field, _, _ in _POLICY_OPTIONS.values()}
        typed["ladder"] = _ladder_of(options.pop("steps"))
        return command(*arguments, policy=given(typed), **options)

    decorated: Callable[..., Any] = with_policy
    decorated = click.option(
        "--step",
        "steps",
        multiple=True,
        metavar="PERCENT:DOWN/UP",
        help="Slower from so much use on, like 80%:2M/1M; 120%:cut ends it; again for each step; none for none.",
    )(decorated)
    for option, (field, kind, text) in reversed(_POLICY_OPTIONS.items()):
        decorated = click.option(option, field, type=kind, default=None, help=text)(decorated)
    return decorated


def _ladder_of(steps: Sequence[str]) -> str | None:
    if not steps:
        return None
    return (
        ""
        if [step.strip().lower() for step in steps] == ["none"]
        else format_ladder(parse_ladder(",".join(steps)))
    )


def with_options(command: Callable[..., Any], options: Sequence[Any]) -> Callable[..., Any]:
    """Give a command these click options; `--help` shows them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were typed; what was cleared is None."""
    return {
        name: None if value is CLEARED else value
        for name, value in options.items()
        if value not in (None, ())
    }


def password_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the ways to a password and the argument `password`.

    It is a function that returns the password and whether we made it up (and so must tell it).
    """

    @click.option("--generate-password", "generate", is_flag=True, help="Make a password and print it once.")
    @click.option(
        "--password-file", "file", metavar="FILE", help="Read it from a file's first line; - is stdin."
    )
    @click.option("--password", "plain", help="Seen by everybody in the process list: prefer the other ways.")
    @functools.wraps(command)
    def with_password(
        *arguments: Any, generate: bool, file: str | None, plain: str | None, **options: Any
    ) -> Any:
        return command(
            *arguments, password=lambda: (_read_password(generate, file, plain), generate), **options
        )

    return with_password


def _read_password(generate: bool, file: str | None, plain: str | None) -> str:
    if sum([generate, file is not None, plain is not None]) > 1:
        raise InvalidValue("--password-file", file or "", "give one way to the password only")
    if generate:
        return generate_secret()
    if plain is not None:
        return plain
    if file is not None:
        return _first_line(file)
    if not sys.stdin.isatty():
        raise InvalidValue("--password-file", None, "say where the password is, or --generate-password")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return answer


def _first_line(file: str) -> str:
    if file == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        with Path(file).open(encoding="utf-8") as lines:
            return lines.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InvalidValue("--password-file", file, f"it cannot be read: {reason}") from None


def parse_day_or_time(text: str, field: str, zone: tzinfo) -> datetime:
    """Read `2026-12-31 18:00`, or `2026-12-31`, which is to the end of that day, in the operator's time zone."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidValue(
            field, text, "it is a day like 2026-12-31 or a time like '2026-12-31 18:00'"
        ) from None
    if len(text.strip()) == len("2026-12-31"):
        moment = datetime.combine(moment.date() + timedelta(days=1), time())
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def parse_since(text: str, field: str, zone: tzinfo) -> datetime:
    """Read `2026-12-01`, which is from the beginning of that day, or a time, in the operator's time zone."""
    whole_day = len(text.strip()) == len("2026-12-01")
    return parse_day_or_time(f"{text.strip()} 00:00" if whole_day else text, field, zone)


def ask_before(what_happens: str, yes: bool) -> None:
    """Say what will happen and ask; `--yes` answers for scripts."""
    if not yes:
        click.echo(what_happens)
        click.confirm("Go on?", abort=True)


def operator_name() -> str:
    """Who is doing this, for the books."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many at most."
)
page_option = click.option(
    "--page",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="Which of the pages of --limit.",
)
look_alikes_option = click.option(
    "--allow-look-alikes", is_flag=True, help="Another customer's name or address may look like this one."
)
search_option = click.option("--search", default="", metavar="TEXT", help="Only what contains this.")
