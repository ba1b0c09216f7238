"""The options every command of `herotill-nas` shares, and how their texts are read."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from herotill.errors import InvalidValue
from nas_simulator.credentials import Method
from nas_simulator.exchange import Retransmission
from nas_simulator.makes import MAKES, make_named
from nas_simulator.outcomes import LogEntry
from nas_simulator.settings import DynamicAuthorizationSettings, NasSettings

_SIZE = re.compile(r"([0-9]{1,18})(|[kMGT]i?)B?")
_UNITS: dict[str, int] = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T"), start=1)},
    **{unit: 1024**power for power, unit in enumerate(("ki", "Mi", "Gi", "Ti"), start=1)},
}


def read_size_octets(text: str) -> int:
    """Read `1000`, `500M` (millions) or `2Gi` (of 1024). Raises InvalidValue."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidValue("size", text, "it is digits with k, M, G, T or ki, Mi, Gi, Ti")
    number, unit = match.groups()
    return int(number) * _UNITS[unit]


def secret_of(option: str, path: Path | None, given: str | None, prompt: str) -> str:
    """Return a secret from its file, else as given by the environment, else asked for."""
    if path is not None:
        text = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        if not text:
            raise InvalidValue(option, str(path), "the file has the secret in its only line")
        return text
    return given if given is not None else str(click.prompt(prompt, hide_input=True, err=True))


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which server, which NAS and which user."""
    for option in reversed(_SERVER_OPTIONS):
        command = option(command)
    return command


def settings_of(
    options: dict[str, Any], pace: float, coa_port: int | None, listener: Callable[[LogEntry], None] | None
) -> NasSettings:
    """Make settings of the shared options; `coa_port` None opens no port for dynamic authorization."""
    secret = secret_of("--secret-file", options["secret_file"], options["secret"], "RADIUS secret")
    first, *others = options["server"]
    return NasSettings(
        secret=secret.encode(),
        server=first,
        other_servers=tuple(others),
        authentication_port=options["auth_port"],
        accounting_port=options["acct_port"],
        make=make_named(options["make"]),
        name=options["nas_identifier"],
        source_address=options["source"],
        retransmission=Retransmission(options["timeout"], options["attempts"]),
        dynamic_authorization=DynamicAuthorizationSettings(coa_port or 0, enabled=coa_port is not None),
        pace=pace,
        signs_access_requests=not options["unsigned"],
        listener=listener,
    )


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PORT = click.IntRange(1, 65535)
_SERVER_OPTIONS = (
    click.option(
        "--server",
        multiple=True,
        default=["127.0.0.1"],
        show_default=True,
        help="RADIUS server, by address or name. Repeated: others to ask when one does not answer.",
    ),
    click.option("--auth-port", type=_PORT, default=1812, show_default=True, help="Its access port."),
    click.option("--acct-port", type=_PORT, default=1813, show_default=True, help="Its accounting port."),
    click.option(
        "--secret-file",
        type=_FILE,
        help="File with the RADIUS secret. Without it, HEROTILL_NAS_SECRET, else you are asked.",
    ),
    click.option("--secret", envvar="HEROTILL_NAS_SECRET", hidden=True),
    click.option("--password-file", type=_FILE, help="File with the user's password; else you are asked."),
    click.option(
        "--method",
        type=click.Choice([str(method) for method in Method]),
        default="pap",
        show_default=True,
        help="How the user proves the password.",
    ),
    click.option(
        "--make",
        type=click.Choice(list(MAKES)),
        default="generic",
        show_default=True,
        help="Whose NAS to be: what it reads as limits, and what it tells.",
    ),
    click.option("--device", help="MAC address of the user's device, or any name for one."),
    click.option("--source", help="Our own address, to be another NAS (127.0.0.2)."),
    click.option("--nas-identifier", default="herotill-nas", show_default=True, help="Our NAS-Identifier."),
    click.option(
        "--timeout",
        type=click.FloatRange(0.05, 60),
        default=2.0,
        show_default=True,
        help="Seconds to wait before asking again.",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(1, 20),
        default=3,
        show_default=True,
        help="How often to ask in all.",
    ),
    click.option(
        "--unsigned",
        is_flag=True,
        help="Leave Message-Authenticator out of Access-Requests, as old routers do (CVE-2024-3596).",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table."),
)
