"""`herotill doctor` on a real PostgreSQL and a real FreeRADIUS configuration of our own."""

import json
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from click.testing import Result

from sync_daemon.settings import FILE_NAME, render_settings, write_private
from tests.conftest import RunHerotill


@pytest.fixture
def raddb(run_herotill: RunHerotill, tmp_path: Path) -> Path:
    directory = tmp_path / "freeradius"
    made = run_herotill("freeradius", "private", "--directory", str(directory))
    assert made.exit_code == 0, made.output
    return directory / "raddb"


def examined(run_herotill: RunHerotill, raddb: Path) -> tuple[Result, dict[str, dict[str, Any]]]:
    result = run_herotill("doctor", "--raddb", str(raddb), "--json")
    return result, {finding["topic"]: finding for finding in json.loads(result.output)}


def _execute(url: str, statement: str) -> None:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def _change_setting(state: Path, key: str, value: str) -> None:
    values = yaml.safe_load((state / FILE_NAME).read_text())
    write_private(state / FILE_NAME, render_settings({**values, key: value}))


def test_a_sound_installation_has_nothing_wrong_but_what_the_machine_lacks(
    run_herotill: RunHerotill, raddb: Path
) -> None:
    _, findings = examined(run_herotill, raddb)
    wrong = {topic for topic, finding in findings.items() if finding["health"] == "wrong"}
    # Whether a clock is set and units run is the machine's affair, not this test's.
    assert {
        topic for topic in wrong if topic != "clock" and not topic.startswith(("unit", "journal: space"))
    } == set()
    good = {topic for topic, finding in findings.items() if finding["health"] == "good"}
    assert good >= {
        "Python", "FreeRADIUS", "database billing", "database billing: clock", "database billing: role", "schema",
        "packet time's role", "threads", "max_requests", "Message-Authenticator", "dictionary", "module", "files",
        "journal: writing",
    }  # fmt: skip


def test_everything_that_is_wrong_is_found_at_once_with_how_to_mend_it_and_exit_status_1(
    run_herotill: RunHerotill, raddb: Path, state: Path, owner_url: str
) -> None:
    # Given: another node's name in FreeRADIUS, no dictionary, an edited site, a role that can write, an old schema.
    _change_setting(state, "node", "renamed")
    (raddb / "dictionary").write_text("# nothing\n")
    with (raddb / "sites-available/herotill").open("a") as site:
        site.write("# mine\n")
    _execute(owner_url, "GRANT DELETE ON radius.radacct TO herotill_radius")
    _execute(owner_url, "UPDATE public.alembic_version SET version_num = '0001'")
    # When
    result, findings = examined(run_herotill, raddb)
    # Then
    assert result.exit_code == 1
    for topic, word in {
        "module": "node", "dictionary": "$INCLUDE", "files": "sites-available/herotill", "schema": "0001",
        "packet time's role": "radacct",
    }.items():  # fmt: skip
        assert findings[topic]["health"] == "wrong", findings[topic]
        assert word in findings[topic]["sentence"]
        assert findings[topic]["mend"]


def test_a_packet_time_url_of_the_daemon_is_found(
    run_herotill: RunHerotill, raddb: Path, state: Path, database_url: str
) -> None:
    _change_setting(state, "packet_time_url", database_url)
    result, findings = examined(run_herotill, raddb)
    assert result.exit_code == 1
    assert "can read the books" in findings["packet time's role"]["sentence"]


def test_an_unreachable_database_is_a_finding_and_the_rest_is_looked_at(
    run_herotill: RunHerotill, raddb: Path, state: Path
) -> None:
    _change_setting(state, "billing_url", "postgresql://nobody@127.0.0.1:1/none")
    result, findings = examined(run_herotill, raddb)
    assert result.exit_code == 1
    assert findings["database billing"]["health"] == "wrong"
    assert findings["threads"]["health"] == "good"


def test_without_freeradius_files_it_says_where_it_looked(run_herotill: RunHerotill, tmp_path: Path) -> None:
    result = run_herotill("doctor", "--raddb", str(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert "nowhere is not a FreeRADIUS directory" in result.output
    assert "--raddb" in result.output
