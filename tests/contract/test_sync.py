"""`herotill sync`: drift made by hand is found, named and mended, and nothing else is touched (rule R30)."""

import json
from typing import Any

import pytest

from tests.conftest import RunHerotill
from tests.contract.sync_setup import ask, by_hand, found_hostel, ok

GIB = 2**30


def _plan(run: RunHerotill, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ok(run("sync", "plan", "--json", *arguments)))
    return found


def _apply(run: RunHerotill, share: str = "100%") -> str:
    return ok(run("sync", "apply", "--yes", "--max-cut-off", share))


@pytest.fixture
def run(run_herotill: RunHerotill) -> RunHerotill:
    """A hostel with three students, one of whom has bought something."""
    found_hostel(run_herotill, "ann", "bob", "cid")
    return run_herotill


def test_r30_what_the_books_project_leaves_nothing_to_mend(run: RunHerotill) -> None:
    for change in (
        ("account", "disable", "bob", "--yes"),
        ("topup", "cid", "--octets", "1GB", "--reason", "x"),
    ):
        ok(run(*change))
    result = run("sync", "plan", "--exit-code")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert ok(run("sync", "apply", "--yes")) == ""


DRIFT = {
    "another password": "UPDATE radius.radcheck SET value = 'mine' WHERE username = 'ann'",
    "no password": "DELETE FROM radius.radcheck WHERE username = 'ann'",
    "the password twice": "INSERT INTO radius.radcheck (username, attribute, op, value) "
    "SELECT username, attribute, op, value FROM radius.radcheck WHERE username = 'ann'",
    "let in whatever is typed": "INSERT INTO radius.radcheck (username, attribute, op, value) "
    "VALUES ('ann', 'Auth-Type', ':=', 'Accept')",
    "a group of one's own": "INSERT INTO radius.radusergroup (username, groupname) VALUES ('ann', 'gold')",
    "no group": "DELETE FROM radius.radusergroup WHERE username = 'ann'",
    "suspended": "UPDATE radius.managed_account SET status = 'suspended' WHERE username = 'ann'",
    "gone": "DELETE FROM radius.managed_account WHERE username = 'ann'",
    "a rate": """UPDATE radius.managed_account SET policy = '{"max_sessions": 9}' WHERE username = 'ann'""",
    "more data": "UPDATE radius.entitlement SET quota_octets = quota_octets * 9 WHERE username = 'ann'",
    "a later end": "UPDATE radius.entitlement SET expires_at = expires_at + interval '9 days' WHERE username = 'ann'",
    "ended": "UPDATE radius.entitlement SET ended_at = now(), ended_reason = 'void' WHERE username = 'ann'",
    "used up, which it is not": "UPDATE radius.entitlement SET ended_at = now(), ended_reason = 'quota' "
    "WHERE username = 'ann'",
    "no grant": "DELETE FROM radius.entitlement WHERE username = 'ann'",
    "a larger allocation": "UPDATE radius.group_allocation SET quota_octets = quota_octets * 9",
    "no allocation": "DELETE FROM radius.group_allocation",
}
STATE = """
    SELECT (SELECT jsonb_agg(to_jsonb(t) - 'id' ORDER BY username, attribute, value) FROM radius.radcheck t),
           (SELECT jsonb_agg(to_jsonb(t) - 'id' ORDER BY username, groupname) FROM radius.radusergroup t),
           (SELECT jsonb_agg(to_jsonb(t) - 'updated_at' ORDER BY username) FROM radius.managed_account t),
           (SELECT jsonb_agg(to_jsonb(t) - 'entitlement_id' ORDER BY external_key) FROM radius.entitlement t),
           (SELECT jsonb_agg(to_jsonb(t) - 'updated_at' ORDER BY group_name) FROM radius.group_allocation t)
"""


@pytest.mark.parametrize("drift", DRIFT.values(), ids=list(DRIFT))
def test_r30_drift_made_by_hand_is_found_and_mended(run: RunHerotill, database_url: str, drift: str) -> None:
    before = ask(database_url, STATE)
    by_hand(database_url, drift)
    found = _plan(run)
    assert found
    assert {change["name"] for change in found} <= {"ann", "hostel-a"}
    assert run("sync", "plan", "--exit-code").exit_code == 4
    assert "mended" in _apply(run)
    assert ask(database_url, STATE) == before
    assert ok(run("sync", "plan", "--exit-code")) == ""


def test_r30_a_deleted_grant_comes_back_with_what_was_used_of_it(run: RunHerotill, database_url: str) -> None:
    ask(
        database_url,
        """UPDATE radius.entitlement SET used_input_octets = 5, used_output_octets = 7, used_seconds = 60,
                  first_used_at = '2026-11-22 10:00Z', last_used_at = '2026-11-22 11:00Z'""",
    )
    ask(
        database_url,
        """INSERT INTO radius.usage_interval
           SELECT 'ann', hour, entitlement_id, input, output, 30 FROM radius.entitlement, (VALUES
               (timestamptz '2026-11-22 10:00Z', 2, 3), ('2026-11-22 11:00Z', 3, 4)) AS used (hour, input, output)""",
    )
    before = ask(database_url, "SELECT * FROM radius.entitlement")
    by_hand(database_url, "DELETE FROM radius.entitlement")
    _apply(run)
    assert ask(database_url, "SELECT * FROM radius.entitlement") == before


def test_r30_the_plan_says_before_and_after_and_hides_passwords(run: RunHerotill, database_url: str) -> None:
    by_hand(
        database_url,
        "UPDATE radius.radcheck SET value = 'mine' WHERE username = 'ann'",
        "UPDATE radius.entitlement SET quota_octets = 9 WHERE username = 'ann'",
    )
    check, grant = _plan(run)
    assert (check["table"], check["before"], check["after"]) == (
        "radcheck",
        {"value": "(hidden)"},
        {"value": "(hidden)"},
    )
    assert (grant["before"], grant["after"]) == ({"quota_octets": 9}, {"quota_octets": GIB})
    assert "quota octets" in grant["why"]
    assert _plan(run) == [check, grant]
    assert _plan(run, "--user", "bob") == []


def test_r30_what_was_mended_is_told_with_its_time_and_whose_login_it_was(
    run: RunHerotill, database_url: str
) -> None:
    by_hand(database_url, "UPDATE radius.entitlement SET quota_octets = 9 WHERE username = 'ann'")
    _apply(run)
    (told,) = json.loads(ok(run("sync", "status", "--json")))
    assert (told["table"], told["name"], told["before"], told["after"]) == (
        "entitlement", "ann", {"quota_octets": 9}, {"quota_octets": GIB},
    )  # fmt: skip
    assert told["since"] < told["mended_at"]
    assert "herotill_daemon with psql" in told["edited_as"]


def test_r30_rows_nobody_owns_stay(run: RunHerotill, database_url: str) -> None:
    by_hand(
        database_url,
        "INSERT INTO radius.radcheck (username, attribute, op, value) VALUES ('ldap', 'Cleartext-Password', ':=', 'x')",
        "INSERT INTO radius.radusergroup (username, groupname) VALUES ('ldap', 'staff')",
        "INSERT INTO radius.radreply (username, attribute, op, value) VALUES ('ann', 'Framed-IP-Address', ':=', '10.0.0.9')",
        "INSERT INTO radius.radgroupreply (groupname, attribute, op, value) VALUES ('staff', 'Idle-Timeout', ':=', '60')",
        "INSERT INTO radius.managed_account (username, kind, status, policy) VALUES ('ours', 'prepaid', 'active', '{}')",
        "INSERT INTO radius.nas (nasname, shortname, secret) VALUES ('192.0.2.9', 'old', 'x')",
    )
    assert _plan(run) == []


def test_r30_adopted_rows_are_held_to_what_they_were(run: RunHerotill, database_url: str) -> None:
    address = "SELECT value FROM radius.radreply WHERE username = 'ann'"
    by_hand(
        database_url,
        "INSERT INTO radius.radreply (username, attribute, op, value) VALUES ('ann', 'Framed-IP-Address', ':=', '10.0.0.9')",
    )
    assert run("sync", "adopt", "--user", "ann", stdin="n\n").exit_code == 1
    (row,) = json.loads(ok(run("sync", "adopt", "--user", "ann", "--yes", "--json")))
    assert (row["item"], row["value"]) == ("Framed-IP-Address", "10.0.0.9")
    assert _plan(run) == []
    by_hand(database_url, "UPDATE radius.radreply SET value = '10.0.0.66'")
    _apply(run)
    assert ask(database_url, address) == [("10.0.0.9",)]
    by_hand(database_url, "DELETE FROM billing.radius_attribute")
    _apply(run)
    assert ask(database_url, address) == []
    assert _plan(run) == []


def test_r30_a_nas_changed_by_hand_is_mended_in_place(run: RunHerotill, database_url: str) -> None:
    ok(run("nas", "add", "tower", "--address", "192.0.2.1", "--generate-secret"))
    (before,) = ask(database_url, "SELECT * FROM radius.nas")
    by_hand(database_url, "UPDATE radius.nas SET secret = 'guessme'")
    (change,) = _plan(run)
    assert (change["table"], change["name"], change["after"]) == ("nas", "tower", {"secret": "(hidden)"})
    _apply(run)
    assert ask(database_url, "SELECT * FROM radius.nas") == [before]


ONLINE = """
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                last_report_at)
    SELECT name, name, name, '192.0.2.1', name, now(), now() FROM unnest(ARRAY['ann', 'bob']) AS name
"""


def test_r30_the_brake_stops_what_would_cut_off_too_many(run: RunHerotill, database_url: str) -> None:
    by_hand(
        database_url,
        ONLINE,
        "UPDATE billing.account SET disabled_at = now() WHERE username IN ('ann', 'bob')",
    )
    result = run("sync", "apply", "--yes", "--max-cut-off", "50%")
    assert result.exit_code == 1
    assert "2 of 3 accounts" in result.stderr
    assert "--max-cut-off 67%" in result.stderr
    assert ask(database_url, "SELECT count(*) FROM radius.managed_account WHERE status = 'disabled'") == [
        (0,)
    ]
    planned = run("sync", "plan")
    assert "2 accounts cut off, 2 live sessions cut" in planned.stderr
    assert "2 live sessions cut" in _apply(run, "67%")
    assert ask(database_url, "SELECT username, action FROM radius.coa_request ORDER BY 1") == [
        ("ann", "disconnect"),
        ("bob", "disconnect"),
    ]


def test_r30_restrictions_come_first_and_relaxations_last(run: RunHerotill, database_url: str) -> None:
    ok(run("account", "disable", "bob", "--yes"))
    by_hand(
        database_url,
        "UPDATE billing.account SET disabled_at = CASE username WHEN 'ann' THEN now() END WHERE username <> 'cid'",
        """UPDATE radius.managed_account SET policy = '{"max_sessions": 9}' WHERE username = 'cid'""",
    )
    steps = [change["step"] for change in _plan(run)]
    assert steps == sorted(steps, key=["restrict", "neutral", "relax"].index)
    assert set(steps) == {"restrict", "neutral", "relax"}


@pytest.mark.parametrize("share", ["lots", "101%", "-1"])
def test_r30_an_impossible_share_is_one_line(run_herotill: RunHerotill, share: str) -> None:
    result = run_herotill("sync", "apply", "--max-cut-off", share)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.strip().count("\n") == 0


def test_r30_a_row_freeradius_would_misread_is_named_and_not_written(
    run: RunHerotill, database_url: str
) -> None:
    by_hand(
        database_url,
        """INSERT INTO billing.radius_attribute (relation, name, attribute, op, value, entered_at, entered_by)
           VALUES ('radreply', 'ann', 'Session-Timeout', ':=', '99999999999', now(), 'test')""",
    )
    planned = run("sync", "plan", "--exit-code")
    assert (planned.exit_code, planned.stdout) == (4, "")
    assert "radreply ann: Session-Timeout" in planned.stderr
    _apply(run)
    assert ask(database_url, "SELECT count(*) FROM radius.radreply") == [(0,)]
