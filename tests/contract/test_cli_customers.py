"""`herotill customer` and `account reset-password`, typed as an operator types them (rules R3, R5, R36)."""

import json
import stat
from pathlib import Path

import pytest

from sync_daemon import database
from tests.conftest import RunHerotill

ANN = (
    "customer",
    "add",
    "--name",
    "Ann Otieno",
    "--phone",
    "0712000001",
    "--email",
    "ann@example.org",
    "--user",
    "ann",
)


@pytest.fixture
def run(run_herotill: RunHerotill, state: Path) -> RunHerotill:
    settings = state / "herotill.yaml"
    settings.write_text(settings.read_text() + "phone_region: KE\n")
    assert run_herotill("group", "add", "hostel-a").exit_code == 0
    assert run_herotill(*ANN, "--group", "hostel-a", "--generate-password").exit_code == 0
    return run_herotill


def last_code(url: str) -> str:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT payload ->> 'code' FROM billing.event ORDER BY event_id DESC LIMIT 1")
        [(code,)] = cursor.fetchall()
    return str(code)


def ok(run: RunHerotill, *words: str, stdin: str | None = None) -> str:
    result = run(*words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_r3_a_code_is_sent_and_typed(run: RunHerotill, database_url: str) -> None:
    assert "a code is on its way to +254712000001" in ok(run, "customer", "verify", "ann", "--send", "sms")

    wrong = run("customer", "verify", "ann", "--code", "1")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert wrong.stderr.strip() == "Error: the code is wrong, used up or too old; --send sends another"

    assert "verified customer 100016" in ok(
        run, "customer", "verify", "ann", "--code", last_code(database_url)
    )
    shown = json.loads(ok(run, "customer", "show", "ann", "--json"))
    assert (shown["status"], shown["verified_by"]) == ("active", "sms")


def test_r3_failed_tries_count_though_they_are_refused(run: RunHerotill, database_url: str) -> None:
    ok(run, "customer", "verify", "ann", "--send", "email")
    code = last_code(database_url)
    for _ in range(5):
        assert run("customer", "verify", "ann", "--code", "1").exit_code == 1
    assert run("customer", "verify", "ann", "--code", code).exit_code == 1


def test_r3_an_operator_vouches_and_says_why(run: RunHerotill) -> None:
    ok(run, "customer", "verify", "ann", "--reason", "saw the passport")
    shown = json.loads(ok(run, "customer", "show", "ann", "--json"))
    assert shown["verified_by"].startswith("operator:")
    assert shown["verified_reason"] == "saw the passport"


def test_r3_a_new_password_is_chosen_by_code(run: RunHerotill, database_url: str) -> None:
    ok(run, "account", "reset-password", "ann", "--send", "email")
    words = ("account", "reset-password", "ann", "--code", last_code(database_url), "--password-file", "-")
    assert ok(run, *words, stdin="my-own-1\n") == "changed the password of ann\n"
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT value FROM radius.radcheck WHERE username = 'ann'")
        assert cursor.fetchall() == [("my-own-1",)]


@pytest.mark.parametrize(
    "words",
    [
        ("customer", "verify", "ann", "--send", "sms", "--code", "1"),
        ("account", "reset-password", "ann"),
        ("account", "reset-password", "ann", "--send", "sms", "--code", "1"),
        ("customer", "verify", "ann", "--send", "pigeon"),
        ("customer", "invite", "nowhere", "--send", "sms", "--yes"),
    ],
)
def test_r3_what_cannot_be_typed_is_one_line(run: RunHerotill, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.strip().count("\n") == 0


def test_r4_the_imported_are_invited_and_choose_their_passwords(
    run: RunHerotill, tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "new.csv"
    file.write_text("name,user,email\nBen,ben,ben@example.org\nCora,cora,\n")
    ok(run, "import", str(file), "--group", "hostel-a")
    assert json.loads(ok(run, "customer", "show", "ben", "--json"))["must_choose_password"] == ["ben"]

    told = ok(run, "customer", "invite", "hostel-a", "--send", "email", "--yes")

    assert told == "invited 1 accounts of hostel-a; email does not reach 1\n"
    ok(run, "account", "reset-password", "ben", "--code", last_code(database_url), "--generate-password")
    shown = json.loads(ok(run, "customer", "show", "ben", "--json"))
    assert (shown["status"], shown["must_choose_password"]) == ("active", None)


def test_r5_customers_are_listed_by_standing_and_page(run: RunHerotill) -> None:
    ok(run, "customer", "add", "--name", "Ben", "--verified")
    unverified = json.loads(ok(run, "customer", "list", "--status", "unverified", "--json"))
    assert [row["name"] for row in unverified] == ["Ann Otieno"]
    second = json.loads(
        ok(run, "customer", "list", "--sort", "name", "--limit", "1", "--page", "2", "--json")
    )
    assert [row["name"] for row in second] == ["Ben"]
    found = json.loads(ok(run, "customer", "list", "--search", "0712 000 001", "--json"))
    assert [row["phone"] for row in found] == ["+254712000001"]


def test_r36_an_export_is_a_private_file_and_an_erasure_asks_first(run: RunHerotill, tmp_path: Path) -> None:
    file = tmp_path / "ann.json"
    ok(run, "customer", "export", "ann", "--output", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["tables"]["billing.customer"][0]["email"] == "ann@example.org"

    asked = run("customer", "erase", "ann", stdin="n\n")
    assert asked.exit_code == 1
    assert "this cannot be undone" in asked.stdout
    assert "erased customer 100016" in ok(run, "customer", "erase", "ann", "--yes")
    assert run("customer", "show", "ann").exit_code == 2
    again = run("customer", "erase", "100016", "--yes")
    assert (again.exit_code, "erased already" in again.stderr) == (1, True)


def test_r4_entering_one_customer_looks_for_doubles_as_an_import_does(run_herotill: RunHerotill) -> None:
    piet = ("customer", "add", "--name", "Piet", "--user", "piet1", "--email", "piet@example.org")
    assert run_herotill(*piet, "--generate-password").exit_code == 0
    like = ("customer", "add", "--name", "Pat", "--user", "pietl", "--generate-password")
    refused = run_herotill(*like)
    assert refused.exit_code == 2
    assert "user: pietl is not allowed; it looks like piet1 of customer" in refused.stderr.replace("'", "")
    same = run_herotill("customer", "add", "--name", "Pia", "--email", "PIET@example.org")
    assert (same.exit_code, "--allow-same-email" in same.stderr) == (2, True)
    assert run_herotill("customer", "list", "--csv").stdout.count("\n") == 2, "nothing half-written"
    assert run_herotill(*like, "--allow-look-alikes").exit_code == 0
    wanted = ("customer", "add", "--name", "Pia", "--email", "PIET@example.org", "--allow-same-email")
    assert run_herotill(*wanted).exit_code == 0
    assert run_herotill("customer", "edit", "pietl", "--email", "piet@example.org").exit_code == 2
    again = run_herotill("account", "add", "PlET1", "--customer", "pietl", "--generate-password")
    assert again.exit_code == 2
