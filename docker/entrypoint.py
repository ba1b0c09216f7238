"""Where containers begin: the settings come from the environment and from files, then the command runs in our place.

`HEROTILL_<KEY>` is the setting `<key>` of herotill.yaml, and `HEROTILL_<KEY>_FILE` a file that holds it: a secret. What is
not said so is read from the file `HEROTILL_SETTINGS` names, if it names one. A database's URL may leave its password to a
file of its own: `HEROTILL_BILLING_PASSWORD_FILE` belongs to `HEROTILL_BILLING_URL`, and likewise for RADIUS and PACKET_TIME.

The command `freeradius` first writes the configuration of a private FreeRADIUS, with the options in HEROTILL_RADIUS_OPTIONS.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import get_args
from urllib.parse import quote, urlsplit, urlunsplit

import yaml

from herotill.errors import InvalidValue, Refused
from sync_daemon.settings import Settings, render_settings, settings_from_mapping, write_private

PREFIX = "HEROTILL_"
FREERADIUS = Path("/run/herotill/freeradius")
STATUS_SITE = Path("/usr/local/lib/herotill/status.conf")
# Variables of ours that are no settings.
OTHERS = frozenset(
    f"{PREFIX}{name}" for name in ("STATE", "CONFIG", "SETTINGS", "LOG_FORMAT", "RADIUS_OPTIONS", "PREPARE")
)
PASSWORDS = {
    f"{PREFIX}{name}_PASSWORD_FILE": f"{name.lower()}_url" for name in ("BILLING", "RADIUS", "PACKET_TIME")
}
IN_WORDS = (str, Path)
"""Settings of these types are taken as they stand; of others as YAML, so that 5 is a number and [] a list."""


def main(command: list[str]) -> None:
    """Write the settings, and become the command."""
    try:
        write_settings(os.environ)
        if command[:1] == ["freeradius"]:
            command = prepared_freeradius(command)
    except (InvalidValue, Refused, OSError) as error:
        sys.exit(f"Error: {error}")
    os.execvp(command[0], command)  # noqa: S606 - there is no shell, and that is the point


def write_settings(environment: Mapping[str, str]) -> None:
    """Write the file that HEROTILL_CONFIG names, if anything is said. Raises InvalidValue before it is written."""
    values = settings_values(environment)
    if values:
        settings_from_mapping(values, Path(environment[f"{PREFIX}STATE"]))
        write_private(Path(environment[f"{PREFIX}CONFIG"]), render_settings(values))


def settings_values(environment: Mapping[str, str]) -> dict[str, object]:
    """Gather what the environment and its files say. Raises InvalidValue for a variable that is none of ours."""
    values: dict[str, object] = {}
    if path := environment.get(f"{PREFIX}SETTINGS"):
        values |= yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    types = {field.name: field.type for field in fields(Settings) if field.name != "state_directory"}
    for name in sorted(
        name for name in environment if name.startswith(PREFIX) and name not in {*OTHERS, *PASSWORDS}
    ):
        key = name.removeprefix(PREFIX).removesuffix("_FILE").lower()
        if key not in types:
            raise InvalidValue(
                name, "set", f"after HEROTILL_ comes a setting, such as {', '.join(sorted(types))}"
            )
        text = _line_of(environment[name]) if name.endswith("_FILE") else environment[name]
        values[key] = text if _is_in_words(types[key]) else yaml.safe_load(text)
    return values | _with_passwords(values, environment)


def _with_passwords(values: Mapping[str, object], environment: Mapping[str, str]) -> dict[str, object]:
    given = {key: environment[name] for name, key in PASSWORDS.items() if name in environment}
    return {
        key: with_password(str(values[key]), _line_of(path)) for key, path in given.items() if key in values
    }


def with_password(url: str, password: str) -> str:
    """Return the libpq URI with a password in it."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}:{quote(password, safe='')}@{place}"))


def _line_of(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")


def _is_in_words(kind: object) -> bool:
    members = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return any(member in IN_WORDS for member in members)


def prepared_freeradius(command: list[str]) -> list[str]:
    """Let herotill write FreeRADIUS's configuration, add the health check's site, and return what starts it."""
    options = shlex.split(os.environ.get(f"{PREFIX}RADIUS_OPTIONS", ""))
    address = [] if "--address" in options else ["--address", "*"]
    install = ["herotill", "freeradius", "private", "--directory", str(FREERADIUS), *address, *options]
    if subprocess.run(install, check=False).returncode != 0:
        sys.exit(1)
    (FREERADIUS / "raddb/sites-enabled/herotill_status").write_bytes(STATUS_SITE.read_bytes())
    return ["freeradius", "-f", "-l", "stdout", "-d", str(FREERADIUS / "raddb"), *command[1:]]


if __name__ == "__main__":
    main(sys.argv[1:])
