"""Plans how our configuration gets into a raddb and out again. Pure: states in, plan out.

A manifest remembers, for every path we touched, what lay there before and what we put there. What an operator has
edited since is never overwritten: the plan is refused and names the files.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from herotill.errors import InvalidValue, Refused


@dataclass(frozen=True, slots=True)
class File:
    """A regular file. Without a mode and owner it gets those an installation chooses (secrets: 0640)."""

    content: bytes
    mode: int | None = None
    owner: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


Entry = File | Link | None
"""What lies at a path; None is nothing."""


@dataclass(frozen=True, slots=True)
class Touched:
    """One path we changed: what lay there before, and the fingerprint of what we put there."""

    before: Entry
    after: str


Manifest = Mapping[str, Touched]


@dataclass(frozen=True, slots=True)
class Change:
    """One step at one path below raddb."""

    path: str
    before: Entry
    after: Entry

    @property
    def sentence(self) -> str:
        """Say for people what happens to the path."""
        if self.after is None:
            return f"removes  {self.path}" + (
                f" -> {self.before.target}" if isinstance(self.before, Link) else ""
            )
        target = f" -> {self.after.target}" if isinstance(self.after, Link) else ""
        return f"{'new     ' if self.before is None else 'replaces'} {self.path}{target}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes, in an order that is safe to interrupt, and the manifest that undoes them (empty: nothing left)."""

    changes: tuple[Change, ...]
    manifest: Manifest


def fingerprint(entry: Entry) -> str:
    """Name what lies at a path, by its content; modes and owners do not count as edits."""
    if entry is None:
        return "nothing"
    if isinstance(entry, Link):
        return f"link {entry.target}"
    return f"sha256 {hashlib.sha256(entry.content).hexdigest()}"


def plan_install(wanted: Mapping[str, Entry], present: Mapping[str, Entry], manifest: Manifest) -> Plan:
    """Plan what makes the raddb hold `wanted`. `present` covers every path of `wanted` and of `manifest`.

    Paths of an earlier installation that are no longer wanted go back to what they were. Raises Refused when one of
    our files was edited since.
    """
    _refuse_edits(present, manifest)
    goal = {path: touched.before for path, touched in manifest.items()} | dict(wanted)
    befores = {path: manifest[path].before if path in manifest else present[path] for path in wanted}
    kept = {path: Touched(before, fingerprint(wanted[path])) for path, before in befores.items()}
    return Plan(_changes(present, goal), kept)


def plan_uninstall(present: Mapping[str, Entry], manifest: Manifest) -> Plan:
    """Plan what brings every touched path back, byte for byte. Raises Refused when one was edited since."""
    _refuse_edits(present, manifest)
    return Plan(_changes(present, {path: touched.before for path, touched in manifest.items()}), {})


def _refuse_edits(present: Mapping[str, Entry], manifest: Manifest) -> None:
    edited = [
        path
        for path, touched in sorted(manifest.items())
        # An interrupted run leaves some paths as they were before; in a removed file there is no edit to lose.
        if fingerprint(present[path]) not in (touched.after, fingerprint(touched.before), fingerprint(None))
    ]
    if edited:
        raise Refused(
            f"edited since herotill wrote it: {', '.join(edited)}; move your change elsewhere and put the file back, "
            "or remove the file to have it written anew",
            rule="freeradius",
        )


def _changes(present: Mapping[str, Entry], goal: Mapping[str, Entry]) -> tuple[Change, ...]:
    differing = [
        Change(path, present[path], entry)
        for path, entry in goal.items()
        if fingerprint(present[path]) != fingerprint(entry)
    ]
    # Files before the links that switch them on; removed links before removed files.
    return tuple(sorted(differing, key=lambda change: (_stage(change), change.path)))


def _stage(change: Change) -> int:
    if isinstance(change.after, File):
        return 1
    if isinstance(change.after, Link):
        return 2
    return 0 if isinstance(change.before, Link) else 3


def dump_manifest(manifest: Manifest) -> str:
    """Render a manifest as JSON."""
    return json.dumps(
        {
            path: {"before": _dump(touched.before), "after": touched.after}
            for path, touched in manifest.items()
        },
        indent=1,
        sort_keys=True,
    )


def load_manifest(text: str) -> Manifest:
    """Read a manifest. Raises InvalidValue when it is not one."""
    try:
        return {
            path: Touched(_load(item["before"]), item["after"]) for path, item in json.loads(text).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidValue(
            "manifest", text[:40], "it is the file `herotill freeradius install` wrote"
        ) from None


def _dump(entry: Entry) -> dict[str, object] | None:
    if entry is None:
        return None
    if isinstance(entry, Link):
        return {"link": entry.target}
    content = base64.b64encode(entry.content).decode()
    return {"content": content, "mode": entry.mode, "owner": entry.owner, "group": entry.group}


def _load(item: dict[str, str] | None) -> Entry:
    if item is None:
        return None
    if "link" in item:
        return Link(item["link"])
    numbers = [None if item[key] is None else int(item[key]) for key in ("mode", "owner", "group")]
    return File(base64.b64decode(item["content"]), *numbers)
