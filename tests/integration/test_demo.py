"""The demonstration itself: it must succeed, say what it measured, and leave nothing behind."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A temporary directory that PostgreSQL's user may pass, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="herotill-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_demonstration_succeeds_and_leaves_nothing_behind(open_directory: Path) -> None:
    report = open_directory / "demo.json"
    command = (sys.executable, "-m", "demo", "--json", str(report))
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(open_directory),
        "TMPDIR": str(open_directory),
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["measured"]["metered_octets"] == told["measured"]["counted_octets"] > 2**32
    assert told["measured"]["succeeded"] is True
    assert not list(open_directory.glob("herotill-demo-*"))
