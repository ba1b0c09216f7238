"""The operator's nouns, typed as an operator types them, on a real PostgreSQL."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from sync_daemon import database
from tests.conftest import RunHerotill

GIB = 2**30


def _ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def _ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def _json(result: Result) -> Any:
    return json.loads(_ok(result))


def _hostel(run: RunHerotill) -> None:
    _ok(run("group", "add", "hostel-a", "--allocation", "2GiB", "--period", "month", "--max-sessions", "2"))
    _ok(
        run(
            *(
                "customer",
                "add",
                "--name",
                "Student One",
                "--group",
                "hostel-a",
                "--phone",
                "+254 712 345678",
            ),
            *("--user", "student-1", "--kind", "prepaid", "--password-file", "-"),
            stdin="secret-1\n",
        )
    )


def test_the_story_of_the_first_day_is_typed_in_a_dozen_lines(
    run_herotill: RunHerotill, database_url: str
) -> None:
    run = run_herotill
    _hostel(run)
    _ok(run("customer", "verify", "student-1"))
    _ok(run("plan", "add", "1GiB-1m", "--price", "50", "--quota", "1GiB", "--valid-for", "1m"))
    sold = _json(run("sell", "1GiB-1m", "--to", "student-1", "--key", "till-1", "--json"))
    assert (sold["price"], sold["repeated"]) == ({"minor": 5000, "currency": "USD"}, False)
    _ok(run("plan", "add", "hour", "--price", "20KES", "--valid-after-first-use", "1h"))
    batch = _json(
        run(
            "voucher",
            "generate",
            "--type",
            "ticket",
            "--count",
            "3",
            "--plan",
            "hour",
            "--sell",
            "first-use",
            "--json",
        )
    )
    assert batch["states"] == {"generated": 3}
    _ok(
        run(
            *("customer", "add", "--name", "Office", "--verified", "--user", "office-1", "--kind", "monthly"),
            *("--suspended-pool", "unpaid", "--generate-password"),
        )
    )
    _ok(run("account", "bill", "office-1", "25.00USD", "--due", "2026-01-31"))
    _ok(run("account", "suspend", "office-1", "--reason", "unpaid-bill", "--yes"))
    _ok(run("customer", "add", "--name", "Gone", "--verified", "--user", "gone-1", "--generate-password"))
    _ok(run("customer", "disable", "gone-1", "--yes"))
    managed = """SELECT username, kind, status, group_name, policy FROM radius.managed_account
                 WHERE kind <> 'hotspot' ORDER BY username"""
    assert _ask(database_url, managed) == [
        ("gone-1", "prepaid", "disabled", None, {}),
        ("office-1", "monthly", "suspended", None, {"suspended_pool": "unpaid"}),
        ("student-1", "prepaid", "active", "hostel-a", {"max_sessions": 2}),
    ]
    allocation = "SELECT group_name, period, quota_octets, policy FROM radius.group_allocation"
    assert _ask(database_url, allocation) == [("hostel-a", "month", 2 * GIB, {"max_sessions": 2})]
    sources = "SELECT source, count(*)::int FROM radius.entitlement GROUP BY 1 ORDER BY 1"
    assert _ask(database_url, sources) == [("purchase", 1), ("voucher", 3)]


def test_r8_selling_again_with_the_same_key_sells_nothing(
    run_herotill: RunHerotill, database_url: str
) -> None:
    _hostel(run_herotill)
    _ok(run_herotill("customer", "verify", "student-1"))
    _ok(run_herotill("plan", "add", "p", "--price", "50KES", "--quota", "1GiB"))
    for repeated in (False, True):
        sale = _json(run_herotill("sell", "p", "--to", "student-1", "--key", "till-1", "--json"))
        assert sale["repeated"] is repeated
    assert _ask(database_url, "SELECT count(*) FROM billing.purchase") == [(1,)]


def test_r3_selling_to_an_unverified_customer_is_refused_in_one_line(run_herotill: RunHerotill) -> None:
    _hostel(run_herotill)
    _ok(run_herotill("plan", "add", "p", "--price", "50KES"))
    result = run_herotill("sell", "p", "--to", "student-1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.strip().count("\n") == 0
    assert "customer verify" in result.stderr


BAD = [
    (["plan", "add", "p", "--price", "50"], ["--quota", "2 potatoes"], "--quota"),
    (["plan", "add", "p"], ["--price", "lots"], "--price"),
    (["plan", "add", "p"], ["--down", "fast"], "--down"),
    (["plan", "add", "p"], ["--valid-until", "31.12.2026"], "--valid-until"),
    (["plan", "add", "p"], ["--at-quota", "pool"], "--at-quota"),
    (["plan", "add", "p"], ["--interim", "1s"], "--interim"),
    (["plan", "add", "p"], ["--until-cycle-end"], "--kind"),
    (["plan", "add"], [" "], "name"),
    (["group", "add", "a:b"], [], "name"),
    (["group", "add", "g"], ["--period", "week"], "--allocation"),
    (["group", "add", "g"], ["--time-zone", "Mars/Olympus"], "--time-zone"),
    (["group", "add", "g", "--allocation", "1GiB"], ["--period", "term"], "--term-start"),
    (["customer", "add", "--name", "A"], ["--phone", "0712"], "--phone"),
    (["customer", "add", "--name", "A"], ["--group", "nowhere"], "--group"),
    (["customer", "add", "--name", "A"], ["--kind", "monthly"], "--user"),
    (["customer", "add", "--name", "A", "--generate-password"], ["--user", "a b"], "--user"),
    (["customer", "add", "--name", "A", "--user", "a"], [], "--password-file"),
    (["customer", "add", "--name", "A", "--user", "a"], ["--password-file", "/nowhere"], "--password-file"),
    (["voucher", "generate", "--count", "5"], ["--plan", "nope"], "--plan"),
    (["sell", "nope", "--to", "nobody"], [], "--to"),
    (["account", "add", "ticket-1", "--generate-password"], ["--customer", "nobody"], "--customer"),
    (["account", "bill", "x", "much", "--due", "2026-01-01"], [], "AMOUNT"),
    (["voucher", "void", "--yes"], [], "--batch"),
]


@pytest.mark.parametrize(
    ("good", "bad", "field"), BAD, ids=[" ".join(good[:2] + bad) for good, bad, _ in BAD]
)
def test_bad_input_is_one_line_that_names_the_option_and_writes_nothing(
    run_herotill: RunHerotill, database_url: str, good: list[str], bad: list[str], field: str
) -> None:
    result = run_herotill(*good, *bad)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.strip().count("\n") == 0
    assert result.stderr.startswith((f"Error: {field}: ", f"Error: {field} is missing")), result.stderr
    for table in ("plan", "customer_group", "customer", "account", "voucher_batch", "ledger_transaction"):
        assert _ask(database_url, f"SELECT count(*) FROM billing.{table}") == [(0,)]


def test_lists_come_as_table_json_and_csv_without_secrets(run_herotill: RunHerotill) -> None:
    _hostel(run_herotill)
    table = _ok(run_herotill("account", "list"))
    assert "student-1" in table
    (row,) = _json(run_herotill("account", "list", "--json"))
    assert (row["user"], row["status"], row["group"]) == ("student-1", "unverified", "hostel-a")
    (line,) = csv.DictReader(io.StringIO(_ok(run_herotill("customer", "list", "--csv"))))
    assert (line["name"], line["phone"]) == ("Student One", "+254712345678")
    everything = [
        _ok(run_herotill(noun, verb, *rest, "--json"))
        for noun, verb, rest in (
            ("account", "list", []),
            ("account", "show", ["student-1"]),
            ("customer", "list", []),
            ("customer", "show", ["student-1"]),
            ("group", "list", []),
            ("group", "show", ["hostel-a"]),
            ("plan", "list", []),
        )
    ]
    assert "secret-1" not in table + "".join(everything)


def test_a_table_in_a_pipe_is_never_cut_short(run_herotill: RunHerotill) -> None:
    long_name = "A hostel with quite a long name beside the third gate of the university, block"
    for letter in "ABC":
        _ok(run_herotill("group", "add", f"{long_name} {letter}", "--address-list", "x" * 60))
    table = _ok(run_herotill("group", "list"))
    assert f"{long_name} C" in table
    assert "x" * 60 in table
    assert "…" not in table


@pytest.mark.parametrize("wanted", ["student", "Student One", "712345", "One"])
def test_r5_a_customer_is_found_by_whatever_is_known(run_herotill: RunHerotill, wanted: str) -> None:
    _hostel(run_herotill)
    _ok(run_herotill("customer", "add", "--name", "Somebody Else"))
    found = _json(run_herotill("customer", "list", "--search", wanted, "--json"))
    assert [row["name"] for row in found] == ["Student One"]
    number = found[0]["account_number"]
    for reference in (number, "student-1", "+254712345678"):
        assert _json(run_herotill("customer", "show", reference, "--json"))["account_number"] == number


def test_destructive_commands_say_what_will_happen_and_ask(
    run_herotill: RunHerotill, database_url: str
) -> None:
    _hostel(run_herotill)
    refused = run_herotill("customer", "remove", "student-1", stdin="n\n")
    assert refused.exit_code == 1
    assert "student-1 will be deleted" in refused.stdout
    assert _ask(database_url, "SELECT count(*) FROM radius.managed_account") == [(1,)]
    _ok(run_herotill("customer", "remove", "student-1", "--yes"))
    assert _ask(database_url, "SELECT count(*) FROM radius.managed_account") == [(0,)]


def test_a_generated_password_is_told_once_and_works(run_herotill: RunHerotill, database_url: str) -> None:
    made = _json(
        run_herotill("customer", "add", "--name", "A", "--user", "a-1", "--generate-password", "--json")
    )
    stored = "SELECT value FROM radius.radcheck WHERE username = 'a-1'"
    assert _ask(database_url, stored) == [(made["password"],)]
    _ok(run_herotill("account", "password", "a-1", "--password-file", "-", stdin="another-1\n"))
    assert _ask(database_url, stored) == [("another-1",)]


def test_plans_are_edited_and_limits_taken_away(run_herotill: RunHerotill) -> None:
    run = run_herotill
    _ok(
        run(
            "plan",
            "add",
            "p",
            "--price",
            "50KES",
            "--quota",
            "1GiB",
            "--down",
            "2Mbit/s",
            "--kind",
            "prepaid",
        )
    )
    _ok(run("plan", "edit", "p", "--quota", "none", "--price", "60KES", "--up", "1Mbit/s", "--name", "q"))
    plan = _json(run("plan", "show", "q", "--json"))
    assert (plan["quota_octets"], plan["price"]["minor"]) == (None, 6000)
    assert plan["policy"] == {"download_bits_per_second": 2_000_000, "upload_bits_per_second": 1_000_000}
    assert plan["kinds"] == ["prepaid"]
    _ok(run("plan", "remove", "q", "--yes"))
    assert _json(run("plan", "list", "--json")) == []


def test_r17_an_allocation_is_edited_and_taken_away(run_herotill: RunHerotill, database_url: str) -> None:
    _hostel(run_herotill)
    _ok(run_herotill("group", "edit", "hostel-a", "--period", "week", "--max-sessions", "3"))
    allocation = "SELECT period, quota_octets, policy FROM radius.group_allocation"
    assert _ask(database_url, allocation) == [("week", 2 * GIB, {"max_sessions": 3})]
    _ok(run_herotill("group", "edit", "hostel-a", "--allocation", "none"))
    assert _ask(database_url, allocation) == []
    assert run_herotill("group", "remove", "hostel-a", "--yes").exit_code == 1


def test_r8_vouchers_are_listed_exported_sold_and_void(
    run_herotill: RunHerotill, database_url: str, tmp_path: Path
) -> None:
    run = run_herotill
    _ok(run("plan", "add", "hour", "--price", "20KES", "--valid-after-first-use", "1h"))
    _ok(run("voucher", "generate", "--count", "3", "--plan", "hour", "--sell", "later"))
    cards = tmp_path / "cards.csv"
    _ok(run("voucher", "export", "1", "--output", str(cards)))
    rows = list(csv.DictReader(cards.read_text(encoding="utf-8").splitlines()))
    assert [(row["password"] == row["code"], row["state"]) for row in rows] == [(True, "printed")] * 3
    assert cards.stat().st_mode & 0o077 == 0
    code = rows[0]["code"]
    _ok(run("voucher", "sell", code))
    assert run("voucher", "sell", code).exit_code == 1
    assert "sold" in _ok(run("voucher", "show", code))
    _ok(run("voucher", "void", "--batch", "1", "--yes"))
    assert {row["state"] for row in _json(run("voucher", "list", "--json"))} == {"void"}
    assert _json(run("voucher", "batches", "--json"))[0]["states"] == {"void": 3}
    assert _ask(database_url, "SELECT count(*) FROM radius.managed_account") == [(0,)]


def test_r10_short_codes_come_with_their_odds(run_herotill: RunHerotill) -> None:
    _ok(run_herotill("plan", "add", "hour", "--price", "20KES"))
    made = run_herotill("voucher", "generate", "--count", "10", "--plan", "hour", "--length", "7")
    assert made.exit_code == 0
    assert "one guess in 2,751,261,411" in made.stderr
    assert run_herotill("voucher", "generate", "--count", "10", "--plan", "hour").stderr == ""


def test_times_are_shown_in_the_operators_time_zone(run_herotill: RunHerotill, state: Path) -> None:
    settings = state / "herotill.yaml"
    settings.write_text(settings.read_text() + "time_zone: Africa/Nairobi\n")
    _ok(run_herotill("plan", "add", "fair", "--price", "1KES", "--valid-until", "2030-12-31"))
    assert _json(run_herotill("plan", "show", "fair", "--json"))["valid_until"] == "2031-01-01T00:00:00+03:00"
    assert "2031-01-01 00:00" in _ok(run_herotill("plan", "show", "fair"))


def test_r24_no_bill_no_suspension(run_herotill: RunHerotill) -> None:
    _ok(
        run_herotill(
            "customer", "add", "--name", "O", "--user", "office-1", "--kind", "monthly", "--generate-password"
        )
    )
    result = run_herotill("account", "suspend", "office-1", "--reason", "unpaid-bill", "--yes")
    assert (result.exit_code, "no bill, no suspension" in result.stderr) == (1, True)
    _ok(run_herotill("account", "bill", "office-1", "25USD", "--due", "2026-01-31"))
    _ok(run_herotill("account", "suspend", "office-1", "--reason", "unpaid-bill", "--yes"))
    assert "2026-02-01 00:00" in _ok(run_herotill("account", "show", "office-1"))
    _ok(run_herotill("account", "resume", "office-1"))
    assert run_herotill("account", "resume", "office-1").exit_code == 1
