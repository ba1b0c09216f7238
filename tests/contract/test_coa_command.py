"""`herotill coa` shows every attempt and tries again (rule R31)."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from sync_daemon import database
from sync_daemon.settings import Settings

ADD = """
    INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES ('192.0.2.1', 'r1', 'mikrotik', 's3cret s3cret');
    INSERT INTO radius.nas_profile (nas_id, coa_state, coa_failure) SELECT id, 'fails', 'It was silent.' FROM radius.nas;
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                last_report_at)
    VALUES ('s', 's', 'anna', '192.0.2.1', '81', now(), now());
    INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address,
                                    session_attributes, state, finished_at, outcome, attempts)
    VALUES ('a', 'disconnect', 'quota', 'anna', 's', '192.0.2.1', '{"User-Name": "anna"}', 'naked', now(), 'r1 refused.', 2),
           ('b', 'disconnect', 'quota', 'berta', 'gone', '198.51.100.7', '{}', 'pending', NULL, NULL, 0);
    INSERT INTO radius.coa_attempt (coa_request_id, attempt, action, profile, destination, identifier, source_port, sent_at,
                                    transmissions, answered_at, result, error_cause, outcome)
    SELECT coa_request_id, number, 'disconnect', 'user-session', '192.0.2.1:3799', 7, 40000, now(), 1, now(), 'nak', 402,
           'r1 refused: missing attribute.'
    FROM radius.coa_request CROSS JOIN generate_series(1, 2) AS number WHERE request_key = 'a'
"""

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _filled(settings: Settings) -> None:
    with (
        database.transaction(database.radius_url(settings), "test") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(ADD)


def listed(result: Result) -> list[tuple[str, int | None, str]]:
    assert result.exit_code == 0, result.output
    return [(row["username"], row["attempt"], row["state"]) for row in json.loads(result.output)]


def test_r31_every_attempt_is_a_row(run_herotill: Run) -> None:
    assert listed(run_herotill("coa", "log", "--user", "anna", "--json")) == [
        ("anna", 2, "naked"),
        ("anna", 1, "naked"),
    ]
    assert len(listed(run_herotill("coa", "log", "--json"))) == 3
    assert listed(run_herotill("coa", "log", "--nas", "198.51.100.0/24", "--json")) == [
        ("berta", None, "pending")
    ]
    assert listed(run_herotill("coa", "log", "--failed", "--limit", "1", "--page", "2", "--json")) == [
        ("anna", 1, "naked")
    ]
    assert "missing attribute" in run_herotill("coa", "log").output


def test_one_request_is_shown_with_its_attempts(run_herotill: Run) -> None:
    request = json.loads(run_herotill("coa", "log", "--user", "anna", "--json").output)[0]["request"]
    shown = run_herotill("coa", "show", str(request))
    assert "User-Name = anna" in shown.output
    assert "2. disconnect to 192.0.2.1:3799 from port 40000, named by user-session" in shown.output
    unknown = run_herotill("coa", "show", "999999")
    assert (unknown.exit_code, len(unknown.output.strip().splitlines())) == (2, 1)


def test_r31_routers_that_fail_come_first_and_secrets_are_not_shown(run_herotill: Run) -> None:
    shown = run_herotill("coa", "nas")
    assert "It was silent." in shown.output
    assert "s3cret" not in shown.output


def test_r31_what_failed_is_tried_again_for_who_is_still_online(run_herotill: Run) -> None:
    asked = run_herotill("coa", "retry", "--all-failed", stdin="n\n")
    assert (asked.exit_code, "1 requests will be tried again" in asked.output) == (1, True)
    assert run_herotill("coa", "retry", "--all-failed", "--yes").exit_code == 0
    assert listed(run_herotill("coa", "log", "--user", "anna", "--json"))[0][2] == "pending"
    again = run_herotill("coa", "retry", "--user", "anna", "--yes")
    assert (again.exit_code, "nothing to try again" in again.output) == (1, True)
    assert run_herotill("coa", "retry").exit_code == 2
    assert run_herotill("coa", "retry", "--nas", "router").exit_code == 2


def test_r31_port_address_and_secret_of_a_router_can_be_set(run_herotill: Run, settings: Settings) -> None:
    done = run_herotill(
        "coa", "set", "r1", "--address", "2001:db8::1", "--secret-file", "-", stdin="a new secret\n"
    )
    assert (done.exit_code, done.output) == (0, "changed r1: address, secret\n")
    assert run_herotill("coa", "set", "r1", "--port", "1700").exit_code == 0
    assert profile(settings) == (1700, "2001:db8::1", "a new secret")
    assert run_herotill("coa", "set", "r1", "--address", "none", "--radius-secret").exit_code == 0
    assert profile(settings) == (1700, None, None)
    for wrong in (("r2", "--port", "1"), ("r1", "--port", "0"), ("r1", "--address", "router")):
        refused = run_herotill("coa", "set", *wrong)
        assert (refused.exit_code in (1, 2), len(refused.output.strip().splitlines())) == (True, 1)


def profile(settings: Settings) -> tuple[object, ...]:
    with (
        database.transaction(database.radius_url(settings), "test") as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT coa_port, host(coa_address), coa_secret FROM radius.nas_profile")
        rows: list[tuple[object, ...]] = cursor.fetchall()
    return rows[0]
