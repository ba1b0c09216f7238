"""`herotill import`, typed as an operator types it (rule R4)."""

import csv
import json
import stat
from pathlib import Path

import pytest

from tests.conftest import RunHerotill

FILE = "name;user;phone\nAnn;ann;0712 000001\nBen;ben;0712 000001\nCora;cora;+254712000003\n"


@pytest.fixture
def file(tmp_path: Path, state: Path, run_herotill: RunHerotill) -> Path:
    settings = state / "herotill.yaml"
    settings.write_text(settings.read_text() + "phone_region: KE\n")
    assert run_herotill("group", "add", "hostel-a").exit_code == 0
    path = tmp_path / "customers.csv"
    path.write_text(FILE)
    return path


def test_r4_a_dry_run_shows_every_row_and_why_one_is_refused(run_herotill: RunHerotill, file: Path) -> None:
    result = run_herotill("import", str(file), "--group", "hostel-a", "--dry-run")

    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "3 refused ben Ben phone +254712000001 is in line 2 already" in lines
    assert "2 new ann Ann" in lines
    assert "would import 2 of 3 rows; 0 unchanged, 1 refused" in lines
    assert "read as utf-8 with semicolons: name is name, user is user, phone is phone" in lines
    assert run_herotill("customer", "list", "--csv").stdout.count("\n") == 1


def test_r4_a_bad_row_stops_the_import_with_one_line(run_herotill: RunHerotill, file: Path) -> None:
    result = run_herotill("import", str(file), "--group", "hostel-a")

    assert result.exit_code == 1
    assert result.stderr.strip() == (
        "Error: nothing was imported: 1 of 3 rows are refused; "
        "correct them (--report writes them), or enter the others with --skip-bad"
    )
    assert run_herotill("customer", "list", "--csv").stdout.count("\n") == 1


def test_r4_the_report_is_corrected_and_imported(
    run_herotill: RunHerotill, file: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    options = ("--group", "hostel-a", "--skip-bad", "--report", str(report), "--json")
    done = json.loads(run_herotill("import", str(file), *options).stdout)
    assert (done["applied"], done["new"], done["refused"]) == (True, 2, 1)
    with report.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.reader(text, delimiter=";"))
    assert rows == [
        ["name", "user", "phone", "import line", "import outcome", "import column", "import reason"],
        ["Ben", "ben", "0712 000001", "3", "refused", "phone", "+254712000001 is in line 2 already"],
    ]
    assert stat.S_IMODE(report.stat().st_mode) == 0o600

    report.write_text(report.read_text(encoding="utf-8-sig").replace("0712 000001", "0712 000002"))
    result = run_herotill("import", str(report), "--group", "hostel-a")

    assert "imported 1 of 1 rows" in result.stdout, result.output
    again = run_herotill("import", str(report), "--group", "hostel-a")
    assert "imported 0 of 1 rows; 1 unchanged, 0 refused" in again.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--map", "phone"), "a column's head and a field"),
        (("--map", "phone=fax"), "a column is one of"),
        (("--separator", "::"), "it is one character"),
        (("--encoding", "klingon"), "it is a name like"),
        (("--report", "/nowhere/report.csv"), "--report"),
    ],
)
def test_r4_an_option_that_cannot_be_is_named(
    run_herotill: RunHerotill, file: Path, options: tuple[str, ...], message: str
) -> None:
    result = run_herotill("import", str(file), "--group", "hostel-a", *options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0
