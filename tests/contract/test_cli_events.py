"""`herotill topup`, `transfer`, `notice` and `event`, as an operator types them (rules R19, R20, R21)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.orm import Session

from billing.events import emit
from sync_daemon import database
from sync_daemon.events.worker import dispatch_all
from sync_daemon.settings import FILE_NAME, Settings, load_settings
from tests.conftest import RunHerotill


@pytest.fixture
def run(run_herotill: RunHerotill) -> RunHerotill:
    """Ann has 1 GiB that may be given away; Bob has nothing."""
    for name in ("ann", "bob"):
        _ok(
            run_herotill, "customer", "add", "--name", name, "--user", name, "--verified", "--password", "secret-1"
        )  # fmt: skip
    _ok(run_herotill, "plan", "add", "1g", "--price", "50KES", "--quota", "1GiB", "--transferable")
    _ok(run_herotill, "sell", "1g", "--to", "ann")
    return run_herotill


def _ok(run: RunHerotill, *arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.output


def _json(run: RunHerotill, *arguments: str) -> Any:
    return json.loads(_ok(run, *arguments, "--json"))


def test_r19_an_operator_tops_up_with_a_reason_and_it_is_on_record(run: RunHerotill) -> None:
    typed = (
        "topup",
        "bob",
        "--octets",
        "2GB",
        "--seconds",
        "2h",
        "--reason",
        "the mast was down",
        "--key",
        "k1",
    )
    first, again = _json(run, *typed), _json(run, *typed)
    assert (first["octets"], first["time"], first["repeated"]) == (2 * 10**9, 7200, False)
    assert (again["top_up"], again["repeated"]) == (first["top_up"], True)
    (kept,) = _json(run, "topup", "--list", "bob")
    assert (kept["reason"], kept["key"], bool(kept["given_by"])) == ("the mast was down", "k1", True)
    assert _json(run, "topup", "--list", "ann") == []
    assert "top-up" in _ok(run, "explain", "bob")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("bob", "--octets", "2GB"), "--reason"),
        (("bob", "--reason", "x"), "octets"),
        (("--octets", "2GB", "--reason", "x"), "USER"),
        (("bob", "--octets", "2", "--reason", "x"), "--octets"),
        (("nobody", "--octets", "2GB", "--reason", "x"), "nobody"),
    ],
)
def test_r19_what_is_missing_is_named(run: RunHerotill, arguments: tuple[str, ...], field: str) -> None:
    refused = run("topup", *arguments)
    assert (refused.exit_code, field in refused.output, refused.output.count("\n")) == (2, True, 1)
    assert _json(run, "topup", "--list") == []


def test_r20_both_histories_show_a_transfer(run: RunHerotill) -> None:
    typed = ("transfer", "ann", "bob", "--octets", "300MiB", "--key", "t1")
    assert _json(run, *typed)["repeated"] is False
    assert _json(run, *typed)["repeated"] is True
    for user in ("ann", "bob"):
        (shown,) = _json(run, "transfer", "--list", user)
        assert (shown["from"], shown["to"], shown["octets"]) == ("ann", "bob", 300 * 2**20)
    assert "314572800 octets to bob" in _ok(run, "explain", "ann")
    assert "1g, transfer" in _ok(run, "explain", "bob")
    refused = run("transfer", "ann", "bob", "--octets", "900MiB")
    assert (refused.exit_code, refused.output) == (1, "Error: ann can give 724MiB, 900MiB were asked for\n")


def test_r21_marks_ends_and_balances_are_set_and_listed(run: RunHerotill) -> None:
    _ok(run, "notice", "set", "--plan", "1g", "--at", "90,100")
    _ok(run, "notice", "set", "--before-expiry", "3d,1d", "--low-balance", "50KES")
    listed = {(row["notice"], row["of"], row["when"]) for row in _json(run, "notice", "list")}
    assert listed == {
        ("usage", "plan 1g", "90,100 % used"),
        ("expiry", "what was sold", "1d before"),
        ("expiry", "what was sold", "3d before"),
        ("low balance", "balances in KES", "below 50.00 KES"),
    }
    _ok(run, "notice", "set", "--plan", "1g", "--at", "none")
    _ok(run, "notice", "set", "--before-expiry", "none", "--low-balance", "0KES")
    assert [row["when"] for row in _json(run, "notice", "list")] == ["never"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--plan", "1g"),
        ("--at", "50"),
        ("--plan", "1g", "--at", "0"),
        ("--plan", "2g", "--at", "50"),
        ("--before-expiry", "soon"),
        ("--low-balance", "little"),
    ],
)
def test_r21_what_makes_no_notice_is_refused(run: RunHerotill, arguments: tuple[str, ...]) -> None:
    before = _json(run, "notice", "list")
    assert run("notice", "set", *arguments).exit_code == 2
    assert _json(run, "notice", "list") == before


def test_r21_the_words_are_the_operators(run: RunHerotill, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("Imebaki {remaining}.\n", encoding="utf-8")
    words = ("notice.usage", "--language", "sw")
    _ok(run, "notice", "template", "set", *words, "--subject", "{percent} %", "--body-file", str(body))
    shown = _json(run, "notice", "template", "show", *words)
    assert (shown["subject"], shown["body"]) == ("{percent} %", "Imebaki {remaining}.\n")
    kinds = [(row["kind"], row["language"]) for row in _json(run, "notice", "template", "list")]
    assert ("notice.usage", "en") in kinds
    assert ("notice.usage", "sw") in kinds
    _ok(run, "notice", "template", "remove", *words, "--yes")
    assert run("notice", "template", "show", *words).exit_code == 2
    assert "sw" in _ok(run, "notice", "language", "ann", "sw")
    assert run("notice", "language", "ann", "Swahili!").exit_code == 2


# -- events


@pytest.fixture
def event(state: Path, run_herotill: RunHerotill) -> Settings:
    """One event, laid out for two sinks."""
    sinks = {name: {"type": "file", "path": f"/nonexistent/{name}"} for name in ("first", "second")}
    file = state / FILE_NAME
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"event_sinks": sinks}))
    settings = load_settings(file, state)
    engine = database.billing_engine(settings)
    with Session(engine) as session, session.begin():
        emit(session, "customer.code", "code:1", {"code": "RA7D91Q", "to": "ann"}, datetime.now(UTC))
    dispatch_all(engine, settings)
    engine.dispose()
    return settings


def _states(run: RunHerotill) -> dict[str, str]:
    return {row["sink"]: row["state"] for row in _json(run, "event", "list")}


def test_an_event_is_listed_shown_discarded_and_retried(run_herotill: RunHerotill, event: Settings) -> None:
    assert _states(run_herotill) == {"first": "pending", "second": "pending"}
    _ok(run_herotill, "event", "discard", "1", "--sink", "first", "--yes")
    assert _states(run_herotill) == {"first": "discarded", "second": "pending"}
    assert [row["sink"] for row in _json(run_herotill, "event", "list", "--state", "discarded")] == ["first"]
    assert _json(run_herotill, "event", "list", "--kind", "notice.*") == []
    _ok(run_herotill, "event", "retry", "1")
    assert _states(run_herotill) == {"first": "pending", "second": "pending"}
    refused = run_herotill("event", "retry", "--all-dead", "--yes")
    assert (refused.exit_code, "no such delivery" in refused.output) == (1, True)
    for wrong in (("retry",), ("discard",), ("retry", "1", "--all-dead")):
        assert run_herotill("event", *wrong, "--yes").exit_code == 2


def test_discarding_asks_first(run_herotill: RunHerotill, event: Settings) -> None:
    assert run_herotill("event", "discard", "--all", stdin="n\n").exit_code == 1
    assert _states(run_herotill) == {"first": "pending", "second": "pending"}


def test_r36_a_code_is_shown_only_to_who_asks_for_it(run_herotill: RunHerotill, event: Settings) -> None:
    shown = _ok(run_herotill, "event", "show", "1")
    assert "RA7D91Q" not in shown
    assert "to: ann" in shown
    assert "first: pending after 0 attempts; second: pending" in shown
    assert "RA7D91Q" in _ok(run_herotill, "event", "show", "1", "--reveal")
    assert run_herotill("event", "show", "2").exit_code == 2
