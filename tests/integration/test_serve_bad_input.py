"""What the world does to a running daemon: each is a clear line, the daemon stays, and nobody is cut off because of it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sync_daemon.settings import FILE_NAME, render_settings, write_private
from tests.conftest import RunHerotill
from tests.contract.sync_setup import ask, found_hostel
from tests.integration.test_serve import DEADLINE_SECONDS, Daemon, serving

WORKING = "metering the journal"
ONLINE = """
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                last_report_at)
    SELECT username, username, username, '192.0.2.1', username, now(), now() FROM radius.managed_account
"""
STANDING = """
    SELECT (SELECT jsonb_agg(to_jsonb(a) - 'updated_at' ORDER BY username) FROM radius.managed_account a),
           (SELECT jsonb_agg(to_jsonb(c) - 'id' ORDER BY username, attribute) FROM radius.radcheck c),
           (SELECT jsonb_agg(to_jsonb(e) ORDER BY entitlement_id) FROM radius.entitlement e),
           (SELECT count(*) FROM radius.session WHERE stopped_at IS NULL), (SELECT count(*) FROM radius.coa_request)
"""
FEW_LINES = 20
"""Nine workers, one or two lines each; not one a second."""


@pytest.fixture
def daemon(state: Path, run_herotill: RunHerotill, database_url: str, tmp_path: Path) -> Iterator[Daemon]:
    """All workers at work, for a hostel with five students online."""
    found_hostel(run_herotill, *(f"student-{number}" for number in range(5)))
    ask(database_url, ONLINE)
    _change(state, sync_pass_seconds=1, metrics_port=0)
    with serving(state, tmp_path / "serve.log", {}, None) as running:
        running.await_(lambda: WORKING in running.log_path.read_text())
        yield running
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(DEADLINE_SECONDS) == 0
        assert "Traceback" not in running.log_path.read_text()


def _change(state: Path, **changes: object) -> None:
    values = yaml.safe_load((state / FILE_NAME).read_text())
    write_private(state / FILE_NAME, render_settings(values | changes))


def _warnings(daemon: Daemon) -> list[str]:
    return [
        line
        for line in daemon.log_path.read_text().splitlines()
        if " WARNING " in line or " ERROR " in line or " INFO " not in line
    ]


def test_r34_a_wrong_url_is_a_few_lines_and_the_right_one_is_taken_without_a_restart(
    daemon: Daemon, state: Path, database_url: str
) -> None:
    before = ask(database_url, STANDING)
    _change(state, billing_url="mysql://root@localhost/radius")
    daemon.await_(lambda: "the old ones stay in force: billing_url" in daemon.log_path.read_text())
    assert len(_warnings(daemon)) == 1, _warnings(daemon)

    _change(state, billing_url="postgresql://nobody@127.0.0.1:1/nothing")
    daemon.await_(lambda: daemon.log_path.read_text().count("Connection refused") >= 6)
    assert daemon.process.poll() is None

    _change(state, billing_url=database_url)
    daemon.await_(lambda: daemon.log_path.read_text().count(WORKING) == 2)
    assert len(_warnings(daemon)) <= FEW_LINES, _warnings(daemon)
    assert ask(database_url, STANDING) == before


def test_r34_a_database_that_may_not_be_read_is_told_and_cuts_nobody(
    daemon: Daemon, database_url: str, owner_url: str
) -> None:
    before = ask(database_url, STANDING)
    ask(owner_url, "REVOKE SELECT ON billing.account, billing.projected_account FROM herotill_daemon")
    daemon.await_(lambda: "permission denied" in daemon.log_path.read_text())
    ask(owner_url, "GRANT SELECT ON billing.account, billing.projected_account TO herotill_daemon")
    told = len(_warnings(daemon))
    assert told <= FEW_LINES, _warnings(daemon)
    # and afterwards it goes on: what is edited past the books is mended again
    ask(database_url, "SET herotill.writer = ''; UPDATE radius.managed_account SET status = 'suspended'")
    daemon.await_(lambda: ask(database_url, STANDING) == before)
    assert daemon.process.poll() is None
