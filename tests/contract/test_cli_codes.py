"""Codes as an operator types them: generate, print, sell, refill, end; in a dozen lines, refusals in one."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from sync_daemon import database
from sync_daemon.settings import FILE_NAME, new_class_secret
from tests.conftest import RunHerotill


def _ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def _json(result: Result) -> Any:
    return json.loads(_ok(result))


def _ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@pytest.fixture
def run(run_herotill: RunHerotill, state: Path) -> RunHerotill:
    """An installation with a secret for refills, and a plan."""
    with (state / FILE_NAME).open("a", encoding="utf-8") as settings:
        settings.write(
            f"voucher_secret: {new_class_secret()}\nlogin_url: 'http://10.5.50.1/login?username={{code}}'\n"
        )
    _ok(
        run_herotill(
            "plan", "add", "day", "--price", "50", "--quota", "1GiB", "--valid-after-first-use", "1d"
        )
    )
    return run_herotill


def _generate(run: RunHerotill, *options: str) -> Any:
    return _json(run("voucher", "generate", "--plan", "day", "--json", *options))


def _codes(run: RunHerotill, batch: int) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_ok(run("voucher", "export", str(batch))))))


def test_r7_r11_user_accounts_are_generated_and_printed_at_once(run: RunHerotill, tmp_path: Path) -> None:
    sheet = tmp_path / "cards.pdf"
    options = (
        "--type",
        "user",
        "--start",
        "11",
        "--count",
        "12",
        "--password-length",
        "8",
        "--discount",
        "10%",
    )
    batch = _generate(run, *options, "--print", str(sheet), "--per-page", "8", "--paper", "letter")
    assert (batch["states"], batch["price"]["minor"], batch["list_price"]["minor"]) == (
        {"printed": 12},
        4500,
        5000,
    )
    assert sheet.read_bytes().startswith(b"%PDF")
    assert sheet.stat().st_mode & 0o777 == 0o600
    rows = _codes(run, batch["batch"])
    assert [row["code"] for row in rows] == [f"USER{number}" for number in range(11, 23)]
    assert {len(row["password"]) for row in rows} == {8}


def test_r9_a_refill_is_made_printed_again_sold_and_redeemed(
    run: RunHerotill, database_url: str, tmp_path: Path
) -> None:
    ticket = _codes(run, _generate(run, "--count", "1", "--sell", "now")["batch"])[0]["code"]
    batch = _generate(run, "--type", "refill", "--count", "2", "--sell", "later")["batch"]
    listed = _json(run("voucher", "list", "--batch", str(batch), "--json"))
    assert [(row["code"], row["serial"]) for row in listed] == [(None, f"{batch}-1"), (None, f"{batch}-2")]
    code = _codes(run, batch)[0]["code"]
    _ok(run("voucher", "print", f"{batch}-1", code, "--output", str(tmp_path / "again.pdf")))
    refused = run("refill", code, "--to", ticket)
    assert (refused.exit_code, refused.stderr) == (1, "Error: this code cannot be used\n")
    _ok(run("voucher", "sell", f"{batch}-1"))
    redeemed = _json(run("refill", code, "--to", ticket, "--json"))
    assert (redeemed["user"], redeemed["serial"], redeemed["repeated"]) == (ticket, f"{batch}-1", False)
    assert _json(run("refill", code.lower(), "--to", ticket, "--json"))["repeated"] is True
    shown = _json(run("voucher", "show", code, "--json"))
    assert (shown["state"], shown["redeemed_for"], shown["print_count"]) == ("in_use", ticket, 2)
    assert _ask(database_url, "SELECT sum(quota_octets)::bigint FROM radius.entitlement") == [(2 * 2**30,)]


def test_r10_a_refused_refill_is_remembered_although_nothing_else_was_written(
    run: RunHerotill, database_url: str
) -> None:
    ticket = _codes(run, _generate(run, "--count", "1", "--sell", "now")["batch"])[0]["code"]
    answers = [run("refill", f"WRONG{number}", "--to", ticket).stderr for number in range(6)]
    assert answers == ["Error: this code cannot be used\n"] * 5 + [
        "Error: too many codes that cannot be used; try again in a quarter of an hour\n"
    ]
    assert _ask(database_url, "SELECT count(*) FROM billing.refill_failure WHERE party = 'account'") == [(5,)]


def test_r8_a_batch_is_sold_expired_and_void_at_once(run: RunHerotill) -> None:
    batch = str(_generate(run, "--count", "3", "--sell", "later")["batch"])
    assert "sold 3 vouchers" in _ok(run("voucher", "sell", "--batch", batch))
    assert run("voucher", "sell", "--batch", batch).exit_code == 1
    one, two, _ = (row["code"] for row in _codes(run, int(batch)))
    asked = run("voucher", "void", one, stdin="n\n")
    assert "1 vouchers will be void for good" in asked.output
    assert asked.exit_code == 1
    _ok(run("voucher", "void", one, "--yes"))
    _ok(run("voucher", "expire", two, "--yes"))
    _ok(run("voucher", "void", "--batch", batch, "--yes"))
    assert _json(run("voucher", "batches", "--json"))[0]["states"] == {"void": 2, "expired": 1}


def test_r7_free_and_usage_based_accounts(run: RunHerotill) -> None:
    free = _generate(run, "--type", "free", "--count", "2", "--free-logins", "3", "--free-pause", "24h")
    assert (free["price"]["minor"], free["states"]) == (0, {"generated": 2})
    _ok(run("plan", "add", "metered", "--price", "0"))
    options = ("--unit", "100MiB", "--unit-price", "5", "--bill-every", "month", "--prefix", "ROOM")
    _ok(run("voucher", "generate", "--type", "usage", "--plan", "metered", "--count", "2", *options))
    assert [row["code"] for row in _codes(run, 2)] == ["ROOM1", "ROOM2"]
    assert "no unpaid usage bill" in run("voucher", "settle", "ROOM1").stderr


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--type", "free", "--free-logins", "3"], "--free-pause"),
        (["--type", "usage", "--unit", "1h"], "--unit-price"),
        (["--type", "usage", "--unit", "lots", "--unit-price", "5", "--bill-every", "day"], "--unit"),
        (["--discount", "101%"], "--discount"),
        (["--use-by", "2020-01-01"], "codes_expire_at"),
        (["--type", "user", "--length", "9"], "length"),
        (["--print", "cards.pdf", "--login-url", "nowhere"], "--login-url"),
        (["--print", "/nowhere/cards.pdf"], "--output"),
    ],
)
def test_bad_input_is_one_line_that_names_the_option_and_writes_nothing(
    run: RunHerotill, database_url: str, options: list[str], names: str
) -> None:
    result = run("voucher", "generate", "--plan", "day", "--count", "1", *options)
    assert result.exit_code == 2
    assert names in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert _ask(database_url, "SELECT 1 FROM billing.voucher_batch") == []
    assert not Path("cards.pdf.new").exists()


def test_r9_a_plan_says_what_its_refill_does(run: RunHerotill) -> None:
    _ok(run("plan", "edit", "day", "--refill-expiry", "extend", "--refill-counts-overuse"))
    _ok(run("plan", "edit", "day", "--refill-rates", "replace"))
    shown = _json(run("plan", "show", "day", "--json"))
    assert [shown[f"refill_{what}"] for what in ("expiry", "rates", "counts_overuse")] == [
        "extend",
        "replace",
        True,
    ]
