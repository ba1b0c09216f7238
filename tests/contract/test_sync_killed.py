"""A run of `herotill sync apply` killed anywhere: the next one finishes the job, and nobody was let in early (rule R30)."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
