"""The demonstration itself: it must succeed, say what it measured, and leave nothing behind."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_demonstration_succeeds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    report = tmp_path / "demo.json"
    command = (sys.executable, "-m", "demo", "--json", str(report))
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o755)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["measured"]["metered_octets"] == told["measured"]["counted_octets"] > 2**32
    assert told["measured"]["succeeded"] is True
    assert not list(tmp_path.glob("herotill-demo-*"))
