"""`herotill service`: what it writes is what systemd understands, and it takes away what it brought and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from sync_daemon.service_install import quoted
from sync_daemon.settings import FILE_NAME, render_settings, write_private
from tests.conftest import RunHerotill

UNITS = "etc/systemd/system"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def installed(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_install_writes_the_files_once_and_uninstall_removes_them(
    run_herotill: RunHerotill, root: Path
) -> None:
    at = ("--root", str(root))
    planned = run_herotill("service", "install", *at, "--dry-run", "--user", "herotill")
    assert planned.exit_code == 0, planned.output
    assert "would write" in planned.output
    assert installed(root) == []

    done = run_herotill("service", "install", *at, "--user", "herotill")
    assert done.exit_code == 0
    assert "systemctl enable --now herotill`" in done.output
    assert installed(root) == [
        f"{UNITS}/herotill.service", "etc/sysusers.d/herotill.conf", "etc/tmpfiles.d/herotill.conf",
    ]  # fmt: skip
    again = run_herotill("service", "install", *at, "--user", "herotill")
    assert "wrote" not in again.output

    assert run_herotill("service", "uninstall", *at).exit_code == 0
    assert installed(root) == []
    assert "nothing of ours" in run_herotill("service", "uninstall", *at).output


def test_a_unit_of_somebody_else_is_neither_overwritten_nor_removed(
    run_herotill: RunHerotill, root: Path
) -> None:
    theirs = root / UNITS / "herotill.service"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\n")
    refused = run_herotill("service", "install", "--root", str(root))
    assert refused.exit_code == 1
    assert "is not ours" in refused.output
    run_herotill("service", "uninstall", "--root", str(root))
    assert theirs.read_text() == "[Service]\n"


def test_status_says_what_is_missing_and_what_was_changed(run_herotill: RunHerotill, root: Path) -> None:
    at = ("--root", str(root))
    assert "not installed" in run_herotill("service", "status", *at).output
    run_herotill("service", "install", *at)
    assert run_herotill("service", "status", *at, "--json").exit_code == 0
    unit = root / UNITS / "herotill.service"
    unit.write_text(unit.read_text() + "# mine\n")
    changed = run_herotill("service", "status", *at)
    assert changed.exit_code == 1
    assert "differs" in changed.output


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("user", ["root", "herotill"])
def test_systemd_understands_the_unit(run_herotill: RunHerotill, root: Path, user: str) -> None:
    run_herotill("service", "install", "--root", str(root), "--user", user)
    unit = root / UNITS / "herotill.service"
    # Whether the program exists is not the unit's business here.
    text = unit.read_text()
    assert "@" not in text.replace("@system-service", "")
    unit.write_text(text.replace(text.split("ExecStart=")[1].splitlines()[0], "/bin/true serve"))
    done = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", str(unit)), capture_output=True, text=True, check=False
    )
    assert "herotill.service" not in done.stderr, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("user", ["root", "herotill"])
def test_systemd_finds_little_an_intruder_could_do(
    run_herotill: RunHerotill, state: Path, root: Path, user: str
) -> None:
    values = yaml.safe_load((state / FILE_NAME).read_text())
    write_private(state / FILE_NAME, render_settings({"class_secret": values["class_secret"]}))  # embedded
    run_herotill("service", "install", "--root", str(root), "--user", user)
    units = sorted((root / UNITS).glob("*.service"))
    assert [unit.name for unit in units] == ["herotill-database.service", "herotill.service"]
    done = subprocess.run(
        ("systemd-analyze", "security", "--offline=yes", "--threshold=35", "--no-pager", *map(str, units)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.parametrize(
    ("word", "written"), [("/a/b", "/a/b"), ("/a b", '"/a b"'), ("/50%", "/50%%"), ('/"', '"/\\""')]
)
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    assert quoted(word) == written
