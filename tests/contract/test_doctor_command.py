"""`herotill doctor` on a real PostgreSQL and a real FreeRADIUS configuration of our own."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
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
    findings = {finding["topic"]: finding for finding in json.loads(result.output)}
    assert all(finding["mend"] for finding in findings.values() if finding["health"] != "good"), findings
    return result, findings


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


_PROGRAM = "sync_daemon.freeradius_install_probe.PROGRAM"


@dataclass(frozen=True)
class _Broken:
    """What a test may break, and how it is broken."""

    state: Path
    raddb: Path
    owner_url: str
    patch: pytest.MonkeyPatch

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.raddb / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def no_journal(self) -> None:
        shutil.rmtree(self.state / "journal")

    def journal_is_a_file(self) -> None:
        self.no_journal()
        (self.state / "journal").write_text("")

    def unsigned(self) -> None:
        self.edit("sites-enabled/herotill_clients", "Client-Require-MA := yes", "Client-Require-MA := no")

    def freeradius_that_blanks_values(self) -> None:
        program = self.state / "freeradius"
        program.write_text("#!/bin/sh\necho 'freeradius: FreeRADIUS Version 3.2.9, for host x86_64'\n")
        program.chmod(0o755)
        self.patch.setattr(_PROGRAM, str(program))

    def no_freeradius(self) -> None:
        self.patch.setattr(_PROGRAM, "/nowhere/freeradius")

    def no_schema(self) -> None:
        _execute(self.owner_url, "DROP SCHEMA billing CASCADE; DROP SCHEMA radius CASCADE")

    def no_rights(self) -> None:
        _execute(self.owner_url, "REVOKE ALL ON billing.account FROM herotill_daemon")

    def packet_time_without_rights(self) -> None:
        _execute(self.owner_url, "REVOKE ALL ON SCHEMA radius FROM herotill_radius")

    def no_packet_time_url(self) -> None:
        values = yaml.safe_load((self.state / FILE_NAME).read_text())
        del values["packet_time_url"]
        write_private(self.state / FILE_NAME, render_settings(values))

    def another_secret(self) -> None:
        _change_setting(self.state, "class_secret", "ab" * 32)

    def other_dictionary(self) -> None:
        (self.raddb / "dictionary.herotill").write_text("# of another version\n")


@pytest.fixture
def broken(state: Path, raddb: Path, owner_url: str, monkeypatch: pytest.MonkeyPatch) -> _Broken:
    return _Broken(state, raddb, owner_url, monkeypatch)


@pytest.mark.parametrize(
    ("breaking", "topic", "word"),
    [
        (_Broken.no_journal, "journal", "is not a directory"),
        (_Broken.journal_is_a_file, "journal", "is not a directory"),
        (_Broken.unsigned, "Message-Authenticator", "forged"),
        (_Broken.freeradius_that_blanks_values, "FreeRADIUS", "3.2.9"),
        (_Broken.no_freeradius, "FreeRADIUS", "freeradius"),
        (_Broken.no_schema, "schema", "older than"),
        (_Broken.no_rights, "database billing: role", "may not use 1 of our tables"),
        (_Broken.packet_time_without_rights, "packet time's role", "nobody can log in"),
        (_Broken.no_packet_time_url, "packet time's role", "packet_time_url"),
        (_Broken.another_secret, "module", "class_secret"),
        (_Broken.other_dictionary, "dictionary", "another version"),
    ],
)
def test_each_thing_that_can_be_broken_is_found_and_mendable(
    breaking: Callable[[_Broken], None], topic: str, word: str, broken: _Broken, run_herotill: RunHerotill
) -> None:
    breaking(broken)
    result, findings = examined(run_herotill, broken.raddb)
    assert result.exit_code == 1
    assert findings[topic]["health"] == "wrong", findings[topic]
    assert word in findings[topic]["sentence"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_journal_nobody_may_write_is_found(run_herotill: RunHerotill, raddb: Path, state: Path) -> None:
    (state / "journal").chmod(0o500)
    _, findings = examined(run_herotill, raddb)
    assert findings["journal: writing"]["health"] == "wrong"


def test_a_broken_settings_file_is_one_line_that_names_it(
    run_herotill: RunHerotill, raddb: Path, state: Path
) -> None:
    (state / FILE_NAME).write_text("time_zone: [Africa/Nairobi\n")
    result = run_herotill("doctor", "--raddb", str(raddb))
    assert (result.exit_code, result.stdout, result.stderr.strip().count("\n")) == (2, "", 0)
    assert FILE_NAME in result.stderr
    assert "line 2" in result.stderr
