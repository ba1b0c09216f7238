import json

import psycopg2
import pytest

from sync_daemon.cli.status import lines_of
from sync_daemon.metrics.gathering import Gathering
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill


def _fail_a_nas(url: str) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("""
            WITH added AS (INSERT INTO radius.nas (nasname, shortname, type, secret)
                           VALUES ('10.0.0.1', 'tower', 'mikrotik', 'hidden-secret') RETURNING id)
            INSERT INTO radius.nas_profile (nas_id, coa_state, coa_failure) SELECT id, 'fails', 'no answer' FROM added
        """)
    connection.close()


def test_a_sound_installation_is_ready_in_text_and_json(run_herotill: RunHerotill) -> None:
    text = run_herotill("status", "--once")
    assert text.exit_code == 0, text.output
    assert text.output.startswith("ready")
    document = json.loads(run_herotill("status", "--json").output)
    assert document["unready"] == []
    assert document["lag"]["octets"] == 0


def test_a_router_that_does_not_obey_is_named_with_the_reason_and_no_secret(
    run_herotill: RunHerotill, database_url: str, settings: Settings
) -> None:
    _fail_a_nas(database_url)
    shown = run_herotill("status", "--once").output
    assert "tower" in shown
    assert "no answer" in shown
    assert "hidden-secret" not in shown + run_herotill("status", "--json").output
    gathering = Gathering(settings)
    lines = {line.what.strip(): line for line in lines_of(gathering.look())}
    gathering.close()
    assert not lines["tower"].is_fine
    assert lines["ready"].is_fine


def test_without_a_pipe_it_does_not_follow_for_ever(run_herotill: RunHerotill) -> None:
    assert run_herotill("status").exit_code == 0


@pytest.mark.parametrize("every", ["0", "x"])
def test_an_impossible_pace_is_refused(run_herotill: RunHerotill, every: str) -> None:
    assert run_herotill("status", "--every", every).exit_code == 2


def test_an_unreachable_database_is_one_line_and_exit_status_1(
    run_herotill: RunHerotill, settings: Settings
) -> None:
    path = settings.state_directory / "herotill.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("billing_url")]
    path.write_text("\n".join([*lines, "billing_url: postgresql://nobody@127.0.0.1:1/none", ""]))
    shown = run_herotill("status", "--once")
    assert shown.exit_code == 1
    assert "the database does not answer" in shown.output
