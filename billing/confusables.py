"""Look-alikes: texts that people take for one another have the same skeleton (rule R4).

Which characters look alike is Unicode's table of confusables (UTS #39); upper and lower case are one, and with them the
classical 1, l, I and 0, O. As I is both i and l, i and l are one too: `ali` and `all` are look-alikes. Owns no policy:
whether a look-alike is refused is the caller's business.
"""

import unicodedata
from functools import cache

_MARK = "\u200e"  # the table wraps letters that are written from right to left in it
_CLASSICAL = {"i": "l"}
_MOST_STEPS = 8


def skeleton(text: str) -> str:
    """Return what a text looks like, for comparing; not for showing. The skeleton of a skeleton is itself."""
    return text.translate(_ascii_table()) if text.isascii() else _settled(text)


def look_alike(one: str, other: str) -> bool:
    """Whether people could take one text for the other."""
    return skeleton(one) == skeleton(other)


def _settled(text: str) -> str:
    """Fold until nothing changes any more; no character takes more than three steps."""
    for _ in range(_MOST_STEPS):
        folded = _visible(unicodedata.normalize("NFKD", text.casefold())).translate(_table()).casefold()
        if folded == text:
            break
        text = folded
    return text


def _visible(text: str) -> str:
    # Category Cf: zero-width joiners, directional marks, the soft hyphen.
    return "".join(character for character in text if unicodedata.category(character) != "Cf")


@cache
def _ascii_table() -> dict[int, str]:
    """Return what each ASCII character settles to, for speed."""
    return {code: _settled(chr(code)) for code in range(128)}


@cache
def _table() -> dict[int, str]:
    """Return each confusable character with the lower-case prototype it looks like."""
    from confusable_homoglyphs.confusables import confusables_data  # noqa: PLC0415 - a big table, for imports only

    alike = {
        key.strip(_MARK): [entry["c"].strip(_MARK) for entry in entries]
        for key, entries in confusables_data.items()
    }
    table = {
        ord(character): alike[character][0].casefold()
        for character in alike
        if len(character) == 1 and _is_source(character, alike)
    }
    return table | {ord(source): prototype for source, prototype in _CLASSICAL.items()}


def _is_source(character: str, alike: dict[str, list[str]]) -> bool:
    """Whether the table folds this character; it holds each pair both ways, and a prototype has many sources."""
    others = alike[character]
    if len(others) != 1 or others[0] == character:
        return False
    prototype = others[0]
    if len(prototype) > 1 or len(alike.get(prototype, ())) > 1:
        return True
    # A pair of two: fold towards ASCII, else towards the lower code point.
    return (not prototype.isascii(), prototype) < (not character.isascii(), character)
