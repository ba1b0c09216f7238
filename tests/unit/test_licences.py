"""docs/licences.md names everything we ask pip for, with a licence."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> "subprocess.CompletedProcess[str]":
    command = (sys.executable, str(root / "scripts/licences"), "--check")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_package_we_ask_for_is_listed() -> None:
    found = check(ROOT)
    assert found.returncode == 0, found.stderr


def test_a_package_that_is_not_listed_is_found(tmp_path: Path) -> None:
    for name in ("scripts", "docs"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "scripts/licences", tmp_path / "scripts")
    page = (ROOT / "docs/licences.md").read_text()
    (tmp_path / "docs/licences.md").write_text(re.sub(r"(?m)^\| rich .*\n", "", page))
    found = check(tmp_path)
    assert found.returncode == 1
    assert "does not name rich" in found.stderr


def test_every_listed_package_has_a_version_and_a_licence() -> None:
    rows = re.findall(
        r"^\| ([a-z0-9-]+) \| (.*) \| (.*) \|$", (ROOT / "docs/licences.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 30
    assert [row for row in rows if not row[1] or not row[2] or row[2] == "see its package"] == []
