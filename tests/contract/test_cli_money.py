"""`herotill pay`, `ledger` and `reseller`, typed as they are typed, on a real PostgreSQL."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import Result

from herotill.signature import sign
from sync_daemon.cli import main
from sync_daemon.cli.acting import RESELLER_MAY
from tests.conftest import RunHerotill

SECRET = "what the gateway and we know"


def _ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def _json(result: Result) -> Any:
    return json.loads(_ok(result))


def _customer(run: RunHerotill, name: str, *more: str) -> str:
    """Enter a verified customer with an account of this name; return the account number."""
    words = ("customer", "add", "--name", name.title(), "--verified", "--user", name, "--generate-password")
    number: str = _json(run(*words, *more, "--json"))["account_number"]
    return number


@pytest.fixture
def till(run_herotill: RunHerotill) -> RunHerotill:
    """A plan of 25.00 and ann."""
    _ok(run_herotill("plan", "add", "p", "--price", "25", "--quota", "1GiB"))
    _customer(run_herotill, "ann")
    return run_herotill


def test_r25_the_ledger_shows_a_customers_running_balance_and_exports_it(
    till: RunHerotill, tmp_path: Path
) -> None:
    _ok(till("pay", "ann", "60", "--key", "R-1"))
    _ok(till("sell", "p", "--to", "ann", "--paid-by", "balance", "--key", "s-1"))
    lines = _json(till("ledger", "list", "--customer", "ann", "--json"))
    assert [(line["kind"], line["amount"]["minor"], line["balance"]["minor"]) for line in lines] == [
        ("sale", -2500, 3500),
        ("payment", 6000, 6000),
    ]
    only_sales = _json(till("ledger", "list", "--customer", "ann", "--kind", "sale", "--json"))
    assert [line["balance"]["minor"] for line in only_sales] == [3500]
    assert _json(till("ledger", "list", "--until", "2020-01-01", "--json")) == []
    assert _json(till("ledger", "list", "--limit", "1", "--page", "5", "--json")) == []
    file = tmp_path / "ledger.csv"
    assert _ok(till("ledger", "export", "--output", str(file))) == f"wrote 4 lines to {file}\n"
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert sum(int(row["amount"]) for row in rows) == 0
    assert _ok(till("ledger", "export", "--account", "cash")).splitlines()[1].split(",")[6] == "-6000"
    trial = _json(till("ledger", "balance", "--json"))
    assert sum(row["balance"]["minor"] for row in trial) == 0


def test_r25_a_mistake_is_reversed_once_and_after_asking(till: RunHerotill) -> None:
    _ok(till("pay", "ann", "60", "--key", "R-1"))
    (line,) = _json(till("ledger", "list", "--customer", "ann", "--json"))
    number = str(line["transaction"])
    asked = till("ledger", "reverse", number, "--reason", "typed 60 for 6", stdin="n\n")
    assert (asked.exit_code, "will be reversed for good" in asked.stdout) == (1, True)
    told = _ok(till("ledger", "reverse", number, "--reason", "typed 60 for 6", "--yes"))
    assert told.startswith(f"reversed transaction {number} by transaction ")
    reversal = told.split()[-1]
    assert _json(till("ledger", "show", reversal, "--json"))["reverses"] == int(number)
    for wrong in (number, reversal):
        refused = till("ledger", "reverse", wrong, "--reason", "again", "--yes")
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    (standing,) = _json(till("ledger", "balance", "ann", "--json"))
    assert standing["balance"]["minor"] == 0


def test_r26_credit_is_shown_in_the_balance_and_used_by_sell(till: RunHerotill) -> None:
    _ok(till("ledger", "credit-limit", "ann", "40", "--overdue-after", "7d"))
    _ok(till("sell", "p", "--to", "ann", "--paid-by", "credit"))
    (standing,) = _json(till("ledger", "balance", "ann", "--json"))
    assert (standing["owed"]["minor"], standing["credit_limit"]["minor"]) == (2500, 4000)
    assert (standing["credit_left"]["minor"], standing["overdue"]) == (1500, False)
    refused = till("sell", "p", "--to", "ann", "--paid-by", "credit")
    assert refused.exit_code == 1
    assert "the balance is -25.00 USD, p costs 25.00 USD, and the credit limit is 40.00 USD" in refused.stderr
    _ok(till("ledger", "credit-limit", "ann", "none"))
    assert "there is no credit" in till("sell", "p", "--to", "ann", "--paid-by", "credit").stderr
    assert "-25.00 USD" in _ok(till("ledger", "list", "--customer", "ann"))


def _with_gateway(state: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    settings = state / "herotill.yaml"
    gateway = {
        "secret_file": str(secret),
        "fields": {"id": "data.id", "amount": "data.amount", "reference": "data.account"},
        "currency": "USD",
        "amount_in": "minor",
    }
    values = yaml.safe_load(settings.read_text()) | {"payment_gateways": {"acme": gateway}}
    settings.write_text(yaml.safe_dump(values))


def _deliver(run: RunHerotill, file: Path, reference: str, number: str = "77", amount: int = 2500) -> Result:
    body = json.dumps({"data": {"id": number, "amount": amount, "account": reference}}).encode()
    file.write_bytes(body)
    signature = sign(SECRET.encode(), body, datetime.now(UTC))
    return run("pay", "receive", "--gateway", "acme", "--signature", signature, str(file), "--json")


def test_r27_a_requested_payment_arrives_by_a_gateway_and_activates_its_plan(
    till: RunHerotill, state: Path, tmp_path: Path
) -> None:
    _with_gateway(state, tmp_path)
    assert [each["name"] for each in _json(till("pay", "gateways", "--json"))] == ["acme"]
    expected = _json(till("pay", "request", "ann", "--plan", "p", "--user", "ann", "--json"))
    file = tmp_path / "message.json"
    for repeated in (False, True):
        taken = _json(_deliver(till, file, expected["reference"]))
        assert (taken["state"], taken["activated"], taken["repeated"]) == ("received", "p", repeated)
    forged = till("pay", "receive", "--gateway", "acme", "--signature", "t=1,v1=" + "0" * 64, str(file))
    assert (forged.exit_code, "signature is wrong" in forged.stderr) == (1, True)
    unknown = till("pay", "receive", "--gateway", "nobody", "--signature", "x", str(file))
    assert (unknown.exit_code, "has acme" in unknown.stderr) == (2, True)


def test_r27_what_matches_nobody_is_resolved_by_the_operator(
    till: RunHerotill, state: Path, tmp_path: Path
) -> None:
    _with_gateway(state, tmp_path)
    file = tmp_path / "message.json"
    first = _json(_deliver(till, file, "an"))["payment"]
    second = _json(_deliver(till, file, "nobody", "78"))["payment"]
    waiting = _json(till("pay", "unmatched", "list", "--json"))
    assert [each["payment"] for each in waiting] == [first, second]
    _ok(till("pay", "unmatched", "assign", str(first), "ann", "--reason", "telephoned"))
    asked = till("pay", "unmatched", "refuse", str(second), "--reason", "sent back", stdin="n\n")
    assert asked.exit_code == 1
    _ok(till("pay", "unmatched", "refuse", str(second), "--reason", "sent back", "--yes"))
    assert _json(till("pay", "unmatched", "list", "--json")) == []
    states = {each["payment"]: each["state"] for each in _json(till("pay", "list", "--json"))}
    assert states == {first: "received", second: "refused"}
    assert _json(till("pay", "show", str(second), "--json"))["resolution"] == "sent back"
    _ok(till("pay", "activate", str(first), "--plan", "p", "--user", "ann"))
    again = till("pay", "activate", str(first), "--plan", "p", "--user", "ann")
    assert (again.exit_code, "at most once" in again.stderr) == (1, True)


def test_r27_a_payment_by_hand_counts_once_and_needs_its_receipt(till: RunHerotill) -> None:
    for repeated in (False, True):
        taken = _json(till("pay", "ann", "60", "--key", "R-1", "--method", "bank", "--json"))
        assert taken["repeated"] is repeated
    missing = till("pay", "ann", "60")
    assert (missing.exit_code, "--key" in missing.stderr) == (2, True)
    assert till("pay", "nobody", "60", "--key", "R-2").exit_code == 2


# ---------------------------------------------------------------- resellers


@pytest.fixture
def kiosk(till: RunHerotill) -> RunHerotill:
    """Run as the reseller kiosk, which serves dan of the group north; ann and the rival's zoe are others'."""
    for name, group, customer in (("kiosk", "north", "dan"), ("rival", "south", "zoe")):
        _ok(till("reseller", "add", name, "--commission", "10%"))
        _ok(till("group", "add", group))
        _ok(till("reseller", "assign", name, group))
        _ok(till("reseller", "pay", name, "100", "--key", "R-1"))
        _customer(till, customer, "--group", group)
    _ok(till("pay", "zoe", "70", "--key", "R-9"))
    _ok(till("sell", "p", "--to", "zoe", "--key", "s-9"))

    def run(*words: str, stdin: str | None = None) -> Result:
        return till("--as", "reseller", "kiosk", *words, stdin=stdin)

    return run


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from _leaves(below, (*path, name))


def test_r28_every_command_is_refused_to_a_reseller_but_those_made_for_it(kiosk: RunHerotill) -> None:
    leaves = {" ".join(path): path for path in _leaves(main)}
    assert set(leaves) >= RESELLER_MAY
    for name, path in leaves.items():
        result = kiosk(*path)
        if name not in RESELLER_MAY:
            assert result.exit_code == 1, f"{name}: {result.output}"
            assert f"a reseller may not use `{name}`" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("sell", "p", "--to", "zoe"),
        ("sell", "p", "--to", "ann"),
        ("pay", "zoe", "1", "--key", "x"),
        ("pay", "by-hand", "ann", "1", "--key", "x"),
        ("pay", "dan", "25", "--key", "x", "--activate", "p", "--user", "zoe"),
        ("pay", "list", "--customer", "zoe"),
        ("pay", "show", "1"),
        ("customer", "show", "zoe"),
        ("customer", "list", "--group", "south"),
        ("account", "show", "zoe"),
        ("group", "show", "south"),
        ("ledger", "balance", "zoe"),
        ("ledger", "list", "--customer", "ann"),
        ("ledger", "list", "--reseller", "rival"),
        ("ledger", "export", "--customer", "zoe"),
        ("ledger", "show", "3"),
        ("reseller", "show", "rival"),
    ],
)
def test_r28_a_reseller_that_names_others_is_told_that_there_is_nobody(
    kiosk: RunHerotill, words: tuple[str, ...]
) -> None:
    result = kiosk(*words)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "there is no" in result.stderr or "nobody has" in result.stderr


def test_r28_the_lists_of_a_reseller_hold_its_own_only(kiosk: RunHerotill) -> None:
    sold = _json(kiosk("sell", "p", "--to", "dan", "--key", "1", "--json"))
    assert sold["repeated"] is False
    _ok(kiosk("pay", "dan", "10", "--key", "1"))
    lists = [
        ("customer", "list"),
        ("account", "list"),
        ("group", "list"),
        ("pay", "list"),
        ("ledger", "list"),
        ("ledger", "export"),
        ("ledger", "balance"),
        ("reseller", "list"),
        ("plan", "list"),
        ("customer", "list", "--search", "e"),
    ]
    for words in lists:
        shown = _ok(kiosk(*words)).lower()
        for other in ("zoe", "ann", "south", "rival", "70.00", "r-9"):
            assert other not in shown, f"{words}: {other}"
    shown = _json(kiosk("reseller", "show", "kiosk", "--json"))
    assert (shown["balance"]["minor"], shown["earned"]["minor"]) == (10_000 - 2250 - 1000, 250)


def test_r28_a_reseller_that_is_not_in_the_books_can_do_nothing(till: RunHerotill) -> None:
    result = till("--as", "reseller", "nobody", "customer", "list")
    assert (result.exit_code, "no such reseller" in result.stderr) == (2, True)
