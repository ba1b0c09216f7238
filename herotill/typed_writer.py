"""Rows of radcheck, radreply and the group tables that FreeRADIUS would misread: told before they are written (rule R30).

Owns which operator means what where; `herotill.dictionary` knows types and formats. A wrong `Expiration` format, an operator
that compares where it should set, or a number that overflows breaks logins without a word (daloradius#538).
"""

from herotill.dictionary import invalid_because

CHECK_RELATIONS = ("radcheck", "radgroupcheck")
REPLY_RELATIONS = ("radreply", "radgroupreply")

_SETTING = (":=", "+=", "=")
_COMPARING = ("==", "!=", ">", ">=", "<", "<=", "=~", "!~", "=*", "!*")
_PASSWORDS = frozenset(
    {
        *(
            "Cleartext-Password",
            "Crypt-Password",
            "NT-Password",
            "LM-Password",
            "MD5-Password",
            "SMD5-Password",
        ),
        *("SHA-Password", "SSHA-Password", "SHA1-Password", "SHA2-Password", "Password-With-Header"),
    }
)
# FreeRADIUS's own attributes, which our dictionary of the wire does not all have.
_INTERNAL_TEXT = _PASSWORDS | {
    "Auth-Type",
    "Autz-Type",
    "Acct-Type",
    "Login-Time",
    "Current-Time",
    "Pool-Name",
}
_INTERNAL_NUMBERS = frozenset(
    {"Simultaneous-Use", "Max-All-Session", "Max-Daily-Session", "Max-Monthly-Session"}
)
# What is never in a request: comparing it with the request never matches, and the user is refused or let in unchecked.
_CONTROL = _INTERNAL_TEXT | _INTERNAL_NUMBERS | {"User-Password", "Expiration", "Fall-Through"}
_SET_ONCE = ":="


def misread_because(relation: str, attribute: str, op: str, value: str) -> str | None:
    """Tell why FreeRADIUS would not read this row as it is meant; None when it would."""
    return _operator_fault(relation, attribute, op) or _value_fault(attribute, op, value)


def _operator_fault(relation: str, attribute: str, op: str) -> str | None:
    if relation in REPLY_RELATIONS:
        return None if op in _SETTING else f"operator {op} compares; a reply is set with :=, += or ="
    if attribute in _CONTROL:
        if op in (_SET_ONCE, "+="):
            return None
        return f"operator {op} is not how {attribute} is set; use :="
    if op in _COMPARING or op in (_SET_ONCE, "+="):
        return None
    return f"operator {op} is not one of a check; use == to compare or := to set"


def _value_fault(attribute: str, op: str, value: str) -> str | None:
    if op in ("=~", "!~", "=*", "!*"):
        return None
    if attribute in _INTERNAL_TEXT:
        return None if 0 < len(value.encode("utf-8", "replace")) <= 253 else "it takes 1 to 253 octets"
    if attribute in _INTERNAL_NUMBERS:
        is_number = value.isascii() and value.isdigit() and int(value) < 2**32
        return None if is_number else "it is not a whole number from 0 to 4294967295"
    return invalid_because(attribute, value)
