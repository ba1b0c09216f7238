"""A run of `herotill sync apply` killed anywhere: the next one finishes the job, and nobody was let in early (rule R30)."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from sync_daemon.reconcile import mending
from sync_daemon.reconcile.comparing import open_databases
from sync_daemon.reconcile.mending import Mending
from sync_daemon.reconcile.relations import Scope
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill
from tests.contract.sync_setup import ask, by_hand, ok

ACCOUNTS = 3_000
BOOKS = f"""
    INSERT INTO billing.account (username, secret, kind, created_at, disabled_at)
    SELECT 'u' || lpad(n::text, 7, '0'), 'secret', 'prepaid', now(), CASE WHEN n % 3 = 0 THEN now() END
    FROM generate_series(1, {ACCOUNTS}) n
"""
# What RADIUS has is the opposite: who is to be out is in, and some who are to be in are missing.
RADIUS = """
    INSERT INTO radius.managed_account (username, kind, status, policy)
    SELECT username, 'prepaid', CASE WHEN disabled_at IS NULL THEN 'disabled' ELSE 'active' END, '{}' FROM billing.account
    WHERE account_id % 3 <> 1
"""
COUNTS = """
    SELECT count(*) FILTER (WHERE managed.status = 'active' AND disabled_at IS NOT NULL),
           count(*) FILTER (WHERE managed.status = 'active' AND disabled_at IS NULL)
    FROM billing.account JOIN radius.managed_account managed USING (username)
"""


def _apply(state: Path) -> "subprocess.Popen[bytes]":
    command = (
        sys.executable,
        "-m",
        "sync_daemon",
        "--state",
        str(state),
        "sync",
        "apply",
        "--yes",
        "--max-cut-off",
        "100%",
    )
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("drift_rows", [1, 700, 2500, 5000])
def test_r30_killed_anywhere_the_next_run_finishes(
    run_herotill: RunHerotill, state: Path, database_url: str, drift_rows: int
) -> None:
    by_hand(database_url, BOOKS, RADIUS)
    process = _apply(state)
    try:
        deadline = time.monotonic() + 60
        while (
            ask(database_url, "SELECT count(*) FROM radius.drift") < [(drift_rows,)]
            and process.poll() is None
        ):
            assert time.monotonic() < deadline
            to_be_cut, let_in = ask(database_url, COUNTS)[0]
            assert not (to_be_cut and let_in), "somebody was let in while somebody was not out yet"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    to_be_cut, let_in = ask(database_url, COUNTS)[0]
    assert not (to_be_cut and let_in)
    ok(run_herotill("sync", "apply", "--yes", "--max-cut-off", "100%"))
    assert ok(run_herotill("sync", "plan", "--exit-code")) == ""
    assert ask(database_url, COUNTS) == [(0, ACCOUNTS - ACCOUNTS // 3)]


def test_r30_who_stands_still_with_accounts_locked_loses_the_locks(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given somebody who mends and stands still in the middle of it, as in a machine that is paused
    by_hand(database_url, BOOKS, RADIUS)
    monkeypatch.setattr(
        mending, "LOCKED_NO_LONGER_THAN", "SET LOCAL idle_in_transaction_session_timeout = '300ms'"
    )
    databases = open_databases(settings)
    try:
        monkeypatch.setattr(mending, "compare_names", lambda *_: time.sleep(2))
        still = Mending(databases, "test", datetime.now(UTC))
        # when it wakes, then what it had locked is anybody's, and it notices
        with pytest.raises(psycopg2.OperationalError):
            still.names(Scope.ACCOUNT, ["u0000002"])
    finally:
        databases.close()
    assert ask(
        database_url, "SELECT username FROM billing.account WHERE username = 'u0000002' FOR UPDATE NOWAIT"
    )
