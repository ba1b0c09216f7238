"""What names, secrets and addresses may look like. Pure; every refusal names its field."""

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from herotill.errors import InvalidValue
from herotill.policy import ServicePolicy

MAX_NAME_CHARACTERS = 120
MAX_USERNAME_OCTETS = 128
MAX_SECRET_OCTETS = 128  # User-Password holds no more (RFC 2865 §5.2)
MIN_SECRET_CHARACTERS = 4

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_USERNAME = re.compile(r"[^\s\\]+")


def check_name(field: str, name: str) -> None:
    """A name of a plan, group or customer: one printable line."""
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > MAX_NAME_CHARACTERS:
        raise InvalidValue(
            field, name, f"it is one line of 1 to {MAX_NAME_CHARACTERS} characters, no spaces around it"
        )


def check_one_line(field: str, line: str, most: int) -> None:
    """A reason, a key: one printable line that says something."""
    if not line.strip() or not line.isprintable() or len(line) > most:
        raise InvalidValue(field, line, f"it is one line of 1 to {most} printable characters")


def check_group_name(name: str) -> None:
    """A group's name; ':' separates the parts of an allocation's key."""
    check_name("name", name)
    if ":" in name:
        raise InvalidValue("name", name, "a group's name has no ':'")


def check_username(username: str) -> None:
    """A user name as a NAS sends it: no blanks, no control characters, no backslash."""
    fits = len(username.encode("utf-8", "replace")) <= MAX_USERNAME_OCTETS
    if not fits or not username.isprintable() or not _USERNAME.fullmatch(username):
        raise InvalidValue(
            "user", username, f"it is 1 to {MAX_USERNAME_OCTETS} octets without blanks and backslashes"
        )


def check_secret(secret: str) -> None:
    """A password. The refusal does not repeat it.

    FreeRADIUS's rlm_sql interprets backslashes and takes off quotes a value begins with, others do not: a password that
    readers of radcheck would not agree on is refused rather than sometimes wrong.
    """
    fits = (
        len(secret) >= MIN_SECRET_CHARACTERS and len(secret.encode("utf-8", "replace")) <= MAX_SECRET_OCTETS
    )
    if not fits or not secret.isprintable():
        allowed = f"it is {MIN_SECRET_CHARACTERS} to {MAX_SECRET_OCTETS} printable characters on one line"
        raise InvalidValue("password", "(not shown)", allowed)
    if "\\" in secret or secret[0] in "'\"`":
        raise InvalidValue("password", "(not shown)", "it has no backslash and does not begin with a quote")


def check_email(email: str | None) -> None:
    """An e-mail address, as far as that can be seen from outside."""
    if email is not None and (len(email) > 254 or not email.isprintable() or not _EMAIL.fullmatch(email)):
        raise InvalidValue("email", email, "it is an address like name@example.org")


def check_time_zone(name: str) -> None:
    """A time zone of the IANA database."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise InvalidValue("time_zone", name, "it is a name like Africa/Nairobi or UTC") from None


def check_cycle_day(cycle_day: int) -> None:
    """The day a monthly cycle begins on."""
    if not 1 <= cycle_day <= 31:
        raise InvalidValue("cycle_day", cycle_day, "it is a day of the month, 1 to 31")


def check_policy(*layers: dict[str, object]) -> None:
    """Policies laid over one another must make one a NAS can obey."""
    merged: dict[str, object] = {}
    for layer in layers:
        merged |= layer
    ServicePolicy.from_mapping(merged)


def escape_like(search: str) -> str:
    """Return a LIKE pattern that finds `search` anywhere, whatever characters it has."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", search) + "%"
