"""`herotill nas test` on a real PostgreSQL, and with a router that answers on a real socket."""

import hashlib
import json
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.conftest import RunHerotill
from tests.contract.coa_fake_nas import FakeNas, Mood, acks, is_silent, naks, request_is_valid

SECRET = b"a shared secret"

SESSIONS = """
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
        last_report_at, session_seconds, input_octets, output_octets, sends_gigawords, interim_interval_seconds, login_id)
    SELECT n, n, 'u', '127.0.0.1', n, now() - interval '1 hour', now(), 3600, 1000000000, 9000000000,
        true, %(interim)s, 'login' FROM generate_series(1, 4) AS n
"""
LOGINS = """
    INSERT INTO radius.login_outcome (username, occurred_at, accepted, reason, nas_address, node)
    SELECT 'u', now(), true, 'ok', '127.0.0.1', 'test' FROM generate_series(1, 3)
"""


def execute(url: str, statement: str, **values: object) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
    connection.close()


def add_nas(run_herotill: RunHerotill, tmp_path: Path, port: int, address: str = "127.0.0.1") -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    added = run_herotill(
        "nas", "add", "tower", "--address", address, "--type", "mikrotik", "--secret-file", str(secret),
        "--coa-port", str(port),
    )  # fmt: skip
    assert added.exit_code == 0, added.output


def findings_of(run_herotill: RunHerotill, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    result = run_herotill("nas", "test", "tower", "--json", *options)
    return result.exit_code, {finding["topic"]: finding for finding in json.loads(result.output)}


def test_r33_a_router_nobody_has_heard_of_yet_is_unknown_and_told_how_to_begin(
    run_herotill: RunHerotill, tmp_path: Path
) -> None:
    add_nas(run_herotill, tmp_path, 3799)
    shown = run_herotill("nas", "test", "tower", "--server", "192.0.2.9")
    assert shown.exit_code == 0, shown.output
    assert "/radius add address=192.0.2.9" in shown.output
    assert SECRET.decode() not in shown.output


def test_r33_what_it_sent_is_told_from_its_sessions_and_logins(
    run_herotill: RunHerotill, tmp_path: Path, database_url: str
) -> None:
    add_nas(run_herotill, tmp_path, 3799)
    execute(database_url, SESSIONS, interim=300)
    execute(database_url, LOGINS)
    status, findings = findings_of(run_herotill)
    assert status == 0
    for topic in ("logins", "accounting", "interims", "Gigawords", "Class", "Input"):
        assert findings[topic]["health"] == "good", findings[topic]


def test_r33_sessions_without_interims_are_wrong_and_exit_status_1(
    run_herotill: RunHerotill, tmp_path: Path, database_url: str
) -> None:
    add_nas(run_herotill, tmp_path, 3799)
    execute(database_url, SESSIONS, interim=None)
    status, findings = findings_of(run_herotill)
    assert status == 1
    assert findings["interims"]["health"] == "wrong"
    assert "interim-update" in findings["interims"]["mend"]


@pytest.mark.parametrize(
    ("mood", "health", "word"),
    [
        (naks(503), "good", "no such session"),
        (acks, "good", "acknowledged"),
        (naks(405), "wrong", "unsupported service"),
    ],
)
def test_r33_asked_now_it_is_told_whether_it_takes_disconnect_and_coa(
    run_herotill: RunHerotill, tmp_path: Path, mood: Mood, health: str, word: str
) -> None:
    with FakeNas(lambda request: signed(mood, request)) as router:
        add_nas(run_herotill, tmp_path, router.port)
        _, findings = findings_of(run_herotill, "--ask")
        assert all(request_is_valid(heard.octets, SECRET) for heard in router.heard)
    for topic in ("Disconnect", "CoA"):
        assert findings[topic]["health"] == health, findings[topic]
        assert word in findings[topic]["sentence"]
        assert f"127.0.0.1:{router.port}" in findings[topic]["sentence"]


def signed(mood: Mood, request: bytes) -> list[bytes]:
    """Answer with this router's secret."""
    return [
        reply[:4] + hashlib.md5(reply[:4] + request[4:20] + reply[20:] + SECRET).digest() + reply[20:]
        for reply in mood(request)
    ]


def test_r33_a_silent_router_is_told_how_to_listen(run_herotill: RunHerotill, tmp_path: Path) -> None:
    with FakeNas(is_silent) as router:
        add_nas(run_herotill, tmp_path, router.port)
        status, findings = findings_of(run_herotill, "--ask")
    assert status == 1
    assert f"/radius incoming set accept=yes port={router.port}" in findings["Disconnect"]["mend"]


def test_a_network_cannot_be_asked_and_a_stranger_is_refused(
    run_herotill: RunHerotill, tmp_path: Path
) -> None:
    add_nas(run_herotill, tmp_path, 3799, "10.9.0.0/16")
    refused = run_herotill("nas", "test", "tower", "--ask")
    assert (refused.exit_code, "only one address" in refused.output) == (1, True)
    assert run_herotill("nas", "test", "tower").exit_code == 0
    assert run_herotill("nas", "test", "nobody").exit_code == 1
