"""`herotill nas dialects`: what is spoken is shown, an operator's own is spoken too, and a mistake in it is one line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from herotill.dialect import dialects, use_dialects
from sync_daemon import database
from sync_daemon.cli.nas import TYPES
from tests.conftest import RunHerotill

OWN = """
name = "towerlink"
title = "TowerLink"
nas_types = ["towerlink"]
extends = "generic"
sources = ["its manual"]
coa_port = 3798
[[say]]
field = "rates"
attribute = "Filter-Id"
text = "{download}/{upload}"
"""


@pytest.fixture(autouse=True)
def _shipped_again() -> Iterator[None]:
    yield
    use_dialects(None)


def test_every_shipped_type_can_be_chosen_and_no_other() -> None:
    spoken = [nas_type for dialect in dialects().values() for nas_type in dialect.nas_types]
    assert sorted(TYPES) == sorted(spoken)


def test_the_makes_are_listed_and_one_is_shown_whole(run_herotill: RunHerotill, database_url: str) -> None:
    listed = run_herotill("nas", "dialects", "--json")
    assert {row["name"] for row in json.loads(listed.output)} == set(dialects())
    shown = run_herotill("nas", "dialects", "--show", "chilli").output
    for words in (
        "its Input is the download, a CoA must say everything",
        "ChilliSpot-Max-Total-Gigawords",
        "source: ",
    ):
        assert words in shown
    assert "not said: address pool" in shown
    assert json.loads(run_herotill("nas", "dialects", "--show", "nokia", "--json").output)["coa_port"] == 3799
    refused = run_herotill("nas", "dialects", "--show", "toaster")
    assert refused.exit_code == 2
    assert "it is one of accel-ppp" in refused.output


def test_r33_an_operator_s_dialect_is_a_type_like_the_others(
    run_herotill: RunHerotill, database_url: str, state: Path
) -> None:
    add = ("nas", "add", "hill", "--address", "10.0.0.1", "--type", "TowerLink", "--generate-secret")
    assert run_herotill(*add).exit_code == 2
    own = state / "dialects"
    own.mkdir()
    (own / "towerlink.toml").write_text(OWN, encoding="utf-8")
    added = run_herotill(*add)
    assert added.exit_code == 0, added.output
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT type, coa_port FROM radius.nas JOIN radius.nas_profile ON nas_id = id")
        assert cursor.fetchall() == [("towerlink", 3798)]
    assert "TowerLink" in run_herotill("nas", "dialects").output


def test_a_file_with_a_mistake_is_told_in_one_line_before_and_after_it_is_put_there(
    run_herotill: RunHerotill, database_url: str, state: Path, tmp_path: Path
) -> None:
    path = tmp_path / "towerlink.toml"
    path.write_text(OWN, encoding="utf-8")
    right = run_herotill("nas", "dialects", "--check", str(path))
    assert (right.exit_code, right.output) == (0, "towerlink.toml is right: towerlink, for towerlink\n")

    path.write_text(OWN.replace("Filter-Id", "Filter-Idea"), encoding="utf-8")
    wrong = run_herotill("nas", "dialects", "--check", str(path))
    assert wrong.exit_code == 2
    assert "towerlink.toml: say 1: attribute: 'Filter-Idea' is not allowed" in wrong.output
    assert len(wrong.output.strip().splitlines()) == 1

    (state / "dialects").mkdir()
    path.rename(state / "dialects" / "towerlink.toml")
    refused = run_herotill("nas", "list")
    assert refused.exit_code == 2
    assert "towerlink.toml: say 1: attribute" in refused.output


def test_the_coa_port_is_the_make_s_unless_said(run_herotill: RunHerotill, database_url: str) -> None:
    for number, (nas_type, said) in enumerate(
        [("cisco", ()), ("cisco", ("--coa-port", "3799")), ("mikrotik", ())]
    ):
        address = ("--address", f"10.0.0.{number + 1}", "--type", nas_type, "--generate-secret")
        assert run_herotill("nas", "add", f"n{number}", *address, *said).exit_code == 0
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT coa_port FROM radius.nas_profile ORDER BY nas_id")
        assert [port for (port,) in cursor.fetchall()] == [1700, 3799, 3799]
