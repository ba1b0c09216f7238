"""The plan of an installation: what it touches, what it remembers, when it refuses."""

import pytest

from herotill.errors import InvalidValue, Refused
from sync_daemon.freeradius_install import (
    Entry,
    File,
    Link,
    Manifest,
    Plan,
    dump_manifest,
    load_manifest,
    plan_install,
    plan_uninstall,
)
from sync_daemon.freeradius_install_render import Listening

WANTED: dict[str, Entry] = {
    "mods-available/ours": File(b"new"),
    "mods-enabled/ours": Link("../mods-available/ours"),
    "sites-enabled/default": None,
}
STOCK: dict[str, Entry] = {
    "mods-available/ours": None,
    "mods-enabled/ours": None,
    "sites-enabled/default": Link("../sites-available/default"),
}


def _after(present: dict[str, Entry], plan: Plan) -> dict[str, Entry]:
    return present | {change.path: change.after for change in plan.changes}


def test_files_come_before_the_links_that_switch_them_on() -> None:
    plan = plan_install(WANTED, STOCK, {})
    assert [change.sentence for change in plan.changes] == [
        "removes  sites-enabled/default -> ../sites-available/default",
        "new      mods-available/ours",
        "new      mods-enabled/ours -> ../mods-available/ours",
    ]


def test_installing_twice_changes_nothing() -> None:
    plan = plan_install(WANTED, STOCK, {})
    again = plan_install(WANTED, _after(STOCK, plan), plan.manifest)
    assert again.changes == ()
    assert again.manifest == plan.manifest


@pytest.mark.parametrize("done", range(4))
def test_uninstall_brings_back_what_was_there_also_after_an_interruption(done: int) -> None:
    plan = plan_install(WANTED, STOCK, {})
    interrupted = STOCK | {change.path: change.after for change in plan.changes[:done]}
    assert _after(interrupted, plan_uninstall(interrupted, plan.manifest)) == STOCK


def test_the_first_state_is_remembered_over_many_installations() -> None:
    present = STOCK | {"mods-available/ours": File(b"an operator's", 0o600, 7, 8)}
    manifest: Manifest = {}
    for content in (b"one", b"two", b"three"):
        plan = plan_install(WANTED | {"mods-available/ours": File(content)}, present, manifest)
        # ... and the manifest survives being written and read
        manifest, installed = load_manifest(dump_manifest(plan.manifest)), _after(present, plan)
        assert _after(installed, plan_uninstall(installed, manifest)) == present
        present_now = installed
        assert (
            plan_install(WANTED | {"mods-available/ours": File(content)}, present_now, manifest).changes == ()
        )


def test_a_path_no_longer_wanted_goes_back() -> None:
    plan = plan_install(WANTED, STOCK, {})
    installed = _after(STOCK, plan)
    fewer = {path: entry for path, entry in WANTED.items() if path != "sites-enabled/default"}
    smaller = plan_install(fewer, installed, plan.manifest)
    assert _after(installed, smaller)["sites-enabled/default"] == STOCK["sites-enabled/default"]
    assert set(smaller.manifest) == set(fewer)


def test_an_edited_file_is_refused_and_named_a_removed_one_is_written_anew() -> None:
    plan = plan_install(WANTED, STOCK, {})
    edited = _after(STOCK, plan) | {"mods-available/ours": File(b"edited")}
    with pytest.raises(Refused, match="mods-available/ours"):
        plan_install(WANTED, edited, plan.manifest)
    with pytest.raises(Refused, match="mods-available/ours"):
        plan_uninstall(edited, plan.manifest)
    removed = edited | {"mods-available/ours": None}
    assert [change.path for change in plan_install(WANTED, removed, plan.manifest).changes] == [
        "mods-available/ours"
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1}', '{"a": {"before": {"content": "x"}, "after": ""}}']
)
def test_a_damaged_manifest_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="manifest"):
        load_manifest(text)


@pytest.mark.parametrize(
    ("addresses", "auth_port", "acct_port", "field"),
    [
        (("*",), 0, 1813, "auth-port"),
        (("*",), 1812, 65_536, "acct-port"),
        (("*",), 1812, 1812, "acct-port"),
        (("localhost",), 1812, 1813, "address"),
        (("*\n}",), 1812, 1813, "address"),
    ],
)
def test_listening_refuses_what_cannot_be_bound(
    addresses: tuple[str, ...], auth_port: int, acct_port: int, field: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        Listening(addresses, auth_port, acct_port)
    assert caught.value.field == field
