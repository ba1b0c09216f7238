"""R29: reports as an owner types them: tables, JSON, CSV and pictures."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from sync_daemon import database
from tests.conftest import RunHerotill

PNG = b"\x89PNG\r\n\x1a\n"
REPORTS = ("sales", "usage", "expenditure", "online", "cuts")


def _ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def shop(run_herotill: RunHerotill, database_url: str) -> RunHerotill:
    """Two plans, of which Ann $ and Co bought three; what they used of it; a session that was cut."""
    run = run_herotill
    _ok(run("plan", "add", "day", "--price", "50KES", "--quota", "1GiB"))
    _ok(run("plan", "add", "gift", "--price", "0KES", "--quota", "1GiB"))
    added = (
        "customer",
        "add",
        "--name",
        "Ann $ and $ Co",
        "--user",
        "ann",
        "--generate-password",
        "--verified",
    )
    _ok(run(*added))
    for key, plan in enumerate(("day", "day", "gift")):
        _ok(run("sell", plan, "--to", "ann", "--key", str(key)))
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("""
            INSERT INTO radius.usage_interval VALUES ('ann', date_trunc('hour', now(), 'UTC'), 0, 1048576, 3 * 2^30, 3600);
            INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                        last_report_at) VALUES ('a', 'a', 'ann', '192.0.2.1', 'a', now(), now());
            INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address,
                                            session_attributes)
            VALUES ('a', 'disconnect', 'quota', 'ann', 'a', '192.0.2.1', '{}')""")
    return run


def test_r29_each_report_as_json_is_exact(shop: RunHerotill) -> None:
    found: dict[str, list[dict[str, Any]]] = {
        name: json.loads(_ok(shop("report", name, "--json"))) for name in REPORTS
    }

    (sold,) = found["sales"]
    assert (sold["plan"], sold["sold"], sold["amount"]) == ("day", 2, {"minor": 10_000, "currency": "KES"})
    (used,) = found["usage"]
    assert (used["down"], used["up"], used["time"], used["users"]) == (3 * 2**30, 2**20, 3600, 1)
    (spent,) = found["expenditure"]
    assert (spent["bought"], spent["spent"]["minor"], spent["balance"]["minor"]) == (2, 10_000, 0)
    assert [row["user"] for row in found["online"]] == ["ann"]
    assert [(row["user"], row["reason"]) for row in found["cuts"]] == [("ann", "quota")]


def test_r29_tables_say_the_totals_and_csv_does_not(shop: RunHerotill) -> None:
    assert "total  2 sold for 100.00 KES" in _ok(shop("report", "sales"))
    assert "total  3 GiB down, 1 MiB up, 1h00m online" in _ok(shop("report", "usage"))
    rows = list(csv.DictReader(io.StringIO(_ok(shop("report", "sales", "--by", "user", "--csv")))))
    assert [(row["user"], row["sold"], row["amount"]) for row in rows] == [("ann", "2", "100.00 KES")]


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_r29_each_report_can_be_drawn_even_when_there_is_nothing(
    shop: RunHerotill, tmp_path: Path, report: str, suffix: str
) -> None:
    full, empty = tmp_path / f"full{suffix}", tmp_path / f"empty{suffix}"

    result = shop("report", report, "--plot", str(full), "--json")
    _ok(shop("report", report, "--plot", str(empty), "--from", "2020-01-01", "--to", "2020-01-31"))

    json.loads(_ok(result))
    assert result.stderr == f"drew {full}\n"
    begins = PNG if suffix == ".png" else b"<?xml"
    assert full.read_bytes().startswith(begins)
    assert empty.read_bytes().startswith(begins)
    assert sorted(path.name for path in tmp_path.glob("*.unfinished")) == []


BAD = [
    (["--from", "yesterday"], "--from"),
    (["--from", "2026-02-02", "--to", "2026-02-01"], "--to"),
    (["--group", "nowhere"], "group"),
    (["--user", "nobody"], "user"),
    (["--plan", "nothing"], "plan"),
    (["--plot", "sales.gif"], "--plot"),
    (["--plot", "/nowhere/at/all/sales.png"], "--plot"),
    (["--from", "1990-01-01", "--interval", "day"], "--interval"),
]


@pytest.mark.parametrize(("words", "field"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_r29_bad_input_is_one_line_that_names_the_option(
    run_herotill: RunHerotill, words: list[str], field: str
) -> None:
    result = run_herotill("report", "sales", *words)

    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.strip().count("\n") == 0
    assert field in result.stderr


def test_r29_without_matplotlib_a_picture_is_refused_with_what_to_install(
    run_herotill: RunHerotill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    result = run_herotill("report", "sales", "--plot", str(tmp_path / "sales.png"))

    assert result.exit_code == 2
    assert "herotill-radius[plots]" in result.stderr


def test_r28_r29_a_reseller_types_reports_of_its_own_groups(shop: RunHerotill) -> None:
    _ok(shop("reseller", "add", "kiosk", "--currency", "KES"))

    for report in REPORTS:
        assert json.loads(_ok(shop("--as", "reseller", "kiosk", "report", report, "--json"))) == []
    result = shop("--as", "reseller", "kiosk", "report", "usage", "--user", "ann")
    assert (result.exit_code, "no account has" in result.stderr) == (2, True)
