"""A reader that has read enough (`herotill customer list | head`) is no error: every command ends without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RunHerotill

QUIET = (0, 1)
"""Exit statuses: of who had written everything, and of who could not."""


def _typed_into_a_closed_pipe(state: Path, *arguments: str) -> tuple[int, str]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sync_daemon", "--state", str(state), *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "typed",
    [
        "--help",
        "customer list",
        "customer list --json",
        "customer list --csv",
        "account show ann",
        "plan list",
        "explain ann",
        "ledger list --csv",
        "status",
        "doctor",
        "customer add --name Ben",
    ],
)
def test_a_reader_that_went_away_is_no_error(state: Path, run_herotill: RunHerotill, typed: str) -> None:
    added = run_herotill("customer", "add", "--name", "Ann", "--user", "ann", "--generate-password")
    assert added.exit_code == 0, added.output
    status, said = _typed_into_a_closed_pipe(state, *typed.split())
    assert said == ""
    assert status in QUIET
