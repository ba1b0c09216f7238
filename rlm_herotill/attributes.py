"""Attribute pairs: read from a request, and made fit to be returned.

FreeRADIUS turns a value it cannot parse into 0 and still sends the Accept, interprets backslashes, and adds with `=` only
what is absent; so every pair is checked against the dictionary, escaped, and carries an operator that does what it says.
"""

import itertools
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from herotill.decision import LoginRequest
from herotill.dictionary import invalid_because
from herotill.snapshot import Row

Pairs = Sequence[tuple[str, str]]
ReplyPair = tuple[str, str, str]
"""Name, operator, value."""

SOURCE = "Tmp-String-0"
"""Where unlang puts the packet's source address; see sites-available/herotill."""
SECTION = "Tmp-String-1"
"""Where unlang says from which section it calls, where one hook serves several."""
LOGIN_ID = "Tmp-String-2"
"""Where authorize leaves the login id for post-auth: in the control list, because for each pair returned FreeRADIUS
copies the list it goes to, and that of the request is long. unlang moves it to the request where a hook asks for it."""
DECIDED = "Tmp-String-3"
"""The same of a login that authorize has accepted, which post-auth need not ask about again."""

MESSAGE_AUTHENTICATOR: ReplyPair = ("Message-Authenticator", ":=", "0x00")
"""First in every Access reply (CVE-2024-3596); FreeRADIUS fills in the value."""

ACCEPT_UNSEEN: ReplyPair = ("Auth-Type", ":=", "Accept")
"""For the control list: let in whoever this is, whatever the password. Only in an outage, and only where told to."""

KNOWN_GOOD_PASSWORDS = frozenset(
    {
        "Cleartext-Password",
        "NT-Password",
        "Crypt-Password",
        "MD5-Password",
        "SMD5-Password",
        "SHA-Password",
        "SSHA-Password",
        "SHA2-Password",
        "Password-With-Header",
    }
)
_OPERATORS = {"=": "=", ":=": ":=", "+=": "+=", "==": ":="}


class AccessRequest(NamedTuple):
    """What a hook needs of an Access-Request."""

    source: str
    section: str
    login_id: str
    username: str
    calling_station_id: str
    called_station_id: str
    is_one_of_many: bool = False
    """One round of a conversation (EAP, RFC 3579): only its end is a login."""
    is_decided: bool = False
    """Accepted in authorize, under `login_id`."""
    is_unsigned: bool = False
    """Without Message-Authenticator; where FreeRADIUS requires one, such a request does not come as far as this."""


def first(pairs: Iterable[Sequence[str]], name: str) -> str:
    """Return the first value of an attribute, or empty text."""
    for pair in pairs:
        if pair[0] == name:
            return pair[1]
    return ""


def last(pairs: Sequence[Sequence[str]], name: str) -> str:
    """Return the last value of an attribute, or empty text: what unlang and we add stands at the end."""
    return first(reversed(pairs), name)


def parse_access_request(pairs: Pairs) -> AccessRequest:
    """Read the request; what is absent is empty text."""
    # Reversed, because dict keeps the last of equal names and the first one is meant.
    found = dict(reversed(pairs))
    return AccessRequest(
        found.get(SOURCE, ""),
        found.get(SECTION, ""),
        found.get(LOGIN_ID) or found.get(DECIDED, ""),
        found.get("User-Name", ""),
        found.get("Calling-Station-Id", ""),
        found.get("Called-Station-Id", ""),
        "EAP-Message" in found,
        DECIDED in found,
        MESSAGE_AUTHENTICATOR[0] not in found,
    )


_login_numbers = itertools.count(secrets.randbits(32))
_PROCESS = secrets.token_hex(4)


def login_request(request: AccessRequest) -> LoginRequest:
    """Return what the rules need, with a login id of its own: random for each process, then counted."""
    login_id = f"{_PROCESS}{next(_login_numbers) & 0xFFFFFFFF:08x}"
    return LoginRequest(request.username, login_id, request.calling_station_id, request.source)


def password_pairs(rows: Iterable[Row]) -> tuple[ReplyPair, ...]:
    """Return the known good passwords for FreeRADIUS's control list."""
    return tuple(
        (row.attribute, ":=", escape(row.value)) for row in rows if row.attribute in KNOWN_GOOD_PASSWORDS
    )


def checked_pairs(pairs: Iterable[tuple[str, str]], complain: Callable[[str], None]) -> list[ReplyPair]:
    """Return rendered pairs fit for the reply list; one that would be misread is left out and complained of.

    A name may come again (Cisco-AVPair): `:=` would then leave the last alone.
    """
    checked: list[ReplyPair] = []
    said: set[str] = set()
    for name, value in pairs:
        if _is_sound(name, value, complain):
            checked.append((name, "+=" if name in said else ":=", escape(value)))
            said.add(name)
    return checked


def checked_rows(rows: Iterable[Row], complain: Callable[[str], None]) -> list[ReplyPair]:
    """Return the operator's own radreply and radgroupreply rows, likewise checked."""
    pairs: list[ReplyPair] = []
    for row in rows:
        operator = _OPERATORS.get(row.op)
        if operator is None:
            complain(f"{row.attribute} {row.op} {row.value!r}: the operator of a reply row is =, := or +=")
        elif _is_sound(row.attribute, row.value, complain):
            pairs.append((row.attribute, operator, escape(row.value)))
    return pairs


def _is_sound(name: str, value: str, complain: Callable[[str], None]) -> bool:
    reason = invalid_because(name, value)
    if reason is not None:
        complain(f"{name} = {value!r} is not sent: {reason}")
    return reason is None


def escape(value: str) -> str:
    """Return a value as FreeRADIUS's parser of double-quoted strings reads it back unchanged."""
    if value.isascii():
        return value.replace("\\", "\\\\") if "\\" in value else value
    return value.replace("\\", "\\\\").encode("utf-8", "replace").decode()
