"""Dialect files, read and checked: a mistake is one sentence that names the file, the key and what is allowed.

A file says what differs from the dialect it extends. Files of an operator take the place of shipped ones of the same name,
and may extend the one they replace.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from herotill.dialect_keys import FILE_KEYS, PROFILE_KEYS, DialectFile, check_keys
from herotill.dialect_model import Dialect, IdentificationProfile
from herotill.dialect_sayings import inherited_sayings, parse_saying
from herotill.dictionary import dictionary
from herotill.errors import InvalidValue

_REQUIRED = ("title", "nas_types", "sources")
_OF_THE_MAKE = ("input_is_upload", "sends_gigawords", "coa_port", "coa_is_whole")


def load_dialects(directory: Path | None = None) -> Mapping[str, Dialect]:
    """Return the shipped dialects by name, then those of an operator's directory, which come before shipped ones.

    A NAS type that an operator's file claims is no longer the shipped dialect's. Raises InvalidValue.
    """
    shipped = _by_name(_shipped_files())
    own = _by_name(read_file(path) for path in sorted(directory.glob("*.toml"))) if directory else {}
    read = {name: _resolve(file, own, shipped) for name, file in sorted({**shipped, **own}.items())}
    claimed = {nas_type for name in own for nas_type in read[name].nas_types}
    _refuse_shared_types([(own[name], read[name]) for name in own])
    kept = {name: _without(dialect, claimed) for name, dialect in read.items() if name not in own}
    return kept | {name: read[name] for name in own}


def read_file(path: Path) -> DialectFile:
    """Read one file. Raises InvalidValue where it cannot be read or is no TOML."""
    try:
        return parse_file(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(path.name, str(path), f"it is a readable TOML file ({error})") from None


def parse_file(text: str, file: str) -> DialectFile:
    """Read the text of a file and check its keys. Raises InvalidValue."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue(file, str(error), "the file is TOML, as those in herotill/dialects") from None
    parsed = DialectFile(file, document)
    check_keys(parsed, "", document, FILE_KEYS)
    if "name" not in document:
        raise parsed.wrong("name", None, "every dialect has a name")
    return parsed


def check_file(path: Path) -> Dialect:
    """Read one file as an operator's own beside the shipped ones. Raises InvalidValue."""
    file = read_file(path)
    shipped = _by_name(_shipped_files())
    return _resolve(file, {file.document["name"]: file}, shipped)


def parse_dialect(file: DialectFile, base: Dialect | None = None) -> Dialect:
    """Read one dialect's document, on top of what it extends. Raises InvalidValue naming file and key."""
    document = file.document
    sayings = tuple(parse_saying(file, where, entry) for where, entry in file.tables("say"))
    disconnect = _profiles(file, "disconnect", base.disconnect if base else ())
    coa = _profiles(file, "coa", base.coa if base and "disconnect" not in document else disconnect)
    known: dict[str, Any] = {key: document[key] for key in (*_OF_THE_MAKE, "title") if key in document}
    known |= {key: tuple(document[key]) for key in ("nas_types", "sources", "notes") if key in document}
    said = (*inherited_sayings(file, base, sayings), *sayings)
    # What takes no CoA changes nothing live, whatever it inherits.
    said = said if coa else tuple(replace(saying, live=False) for saying in said)
    known |= {"sayings": said, "disconnect": disconnect, "coa": coa}
    if base is not None and base.name == document["name"]:
        return replace(base, **known)
    missing = next((key for key in _REQUIRED if key not in document), None)
    if missing is not None:
        raise file.wrong(missing, None, "it is required")
    inherited = {key: getattr(base, key) for key in _OF_THE_MAKE} if base else {}
    return Dialect(name=document["name"], **inherited | known)


def _shipped_files() -> list[DialectFile]:
    entries = sorted(files("herotill").joinpath("dialects").iterdir(), key=lambda entry: entry.name)
    return [
        parse_file(entry.read_text(encoding="utf-8"), entry.name)
        for entry in entries
        if entry.name.endswith(".toml")
    ]


def _by_name(read: Iterable[DialectFile]) -> dict[str, DialectFile]:
    found: dict[str, DialectFile] = {}
    for file in read:
        name = file.document["name"]
        if name in found:
            raise file.wrong("name", name, f"{found[name].file} has that name")
        found[name] = file
    return found


def _resolve(
    file: DialectFile,
    own: Mapping[str, DialectFile],
    shipped: Mapping[str, DialectFile],
    seen: tuple[DialectFile, ...] = (),
) -> Dialect:
    name, base = file.document["name"], file.document.get("extends")
    if base is None:
        return parse_dialect(file)
    # A file may extend the one it takes the place of.
    known = shipped if base == name else {**shipped, **own}
    if base not in known or known[base] in (*seen, file):
        raise file.wrong("extends", base, f"it is another dialect: {', '.join(sorted(known))}")
    return parse_dialect(file, _resolve(known[base], own, shipped, (*seen, file)))


def _refuse_shared_types(read: Iterable[tuple[DialectFile, Dialect]]) -> None:
    taken: dict[str, str] = {}
    for file, dialect in read:
        for nas_type in dialect.nas_types:
            if nas_type in taken:
                raise file.wrong("nas_types", nas_type, f"{taken[nas_type]} means it already")
            taken[nas_type] = file.file


def _without(dialect: Dialect, claimed: set[str]) -> Dialect:
    return replace(dialect, nas_types=tuple(name for name in dialect.nas_types if name not in claimed))


def _profiles(
    file: DialectFile, key: str, inherited: tuple[IdentificationProfile, ...]
) -> tuple[IdentificationProfile, ...]:
    if key not in file.document:
        return inherited
    read = tuple(_profile(file, where, entry) for where, entry in file.tables(key))
    names = [profile.name for profile in read]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise file.wrong(f"{key}: name", twice, "each way to name a session has a name of its own")
    return read


def _profile(file: DialectFile, where: str, entry: Mapping[str, Any]) -> IdentificationProfile:
    check_keys(file, f"{where}: ", entry, PROFILE_KEYS)
    name, required, optional = entry.get("name"), entry.get("required"), entry.get("optional", ())
    if not name or not required:
        raise file.wrong(f"{where}: {'required' if name else 'name'}", None, "it is required")
    for attribute in (*required, *optional):
        if attribute not in dictionary():
            raise file.wrong(where, attribute, "it is an attribute of herotill/dictionaries")
    return IdentificationProfile(name, tuple(required), tuple(optional))
