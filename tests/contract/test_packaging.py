"""What `pip install` brings: the wheel holds everything the commands need, and works where there is no checkout."""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Where a wheel has them (pyproject.toml, force-include), and where the checkout has them.
DATA = {
    "sync_daemon/sql": "sql",
    "sync_daemon/freeradius_config": "freeradius_config",
    "sync_daemon/systemd": "systemd",
}
PACKAGES = ("herotill", "rlm_herotill", "billing", "sync_daemon", "nas_simulator")
# Shipped beside the code that reads them.
NOT_PYTHON = ("herotill/dialects", "herotill/dictionaries", "billing/sheet_template.toml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory))
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds what is in the wheel and nothing of the checkout."""
    directory = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with a short path, which the user PostgreSQL runs as may pass."""
    with tempfile.TemporaryDirectory(prefix="herotill-wheel-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


def files_below(directory: Path) -> set[str]:
    return {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def herotill(
    installed: Path, *arguments: str, state: Path, **variables: str
) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(installed), "HEROTILL_STATE": str(state)} | variables
    program = "import sys; from sync_daemon.cli import main; sys.argv[0] = 'herotill'; main()"
    command = (sys.executable, "-c", program, *arguments)
    return subprocess.run(command, cwd=state, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("inside", DATA)
def test_the_wheel_holds_the_data_as_the_checkout_has_it(installed: Path, inside: str) -> None:
    wanted = files_below(ROOT / DATA[inside])
    assert wanted
    assert files_below(installed / inside) == wanted


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_module_and_what_lies_beside_it(installed: Path, package: str) -> None:
    assert files_below(ROOT / package) - files_below(installed / package) == set()


def test_the_wheel_holds_dialects_dictionaries_and_the_template_of_cards(installed: Path) -> None:
    assert all((installed / name).exists() for name in NOT_PYTHON)
    assert list((installed / "herotill/dictionaries").glob("dictionary.*"))
    assert list((installed / "herotill/dialects").glob("*.toml"))


def test_the_wheel_is_made_the_same_twice(wheel: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (again,) = tmp_path.glob("*.whl")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_what_is_in_the_wheel_says_its_version_and_completes_its_commands(
    installed: Path, tmp_path: Path
) -> None:
    assert herotill(installed, "--version", state=tmp_path).stdout.startswith("herotill, version ")
    completed = herotill(
        installed,
        state=tmp_path,
        _HEROTILL_COMPLETE="bash_complete",
        COMP_WORDS="herotill data",
        COMP_CWORD="1",
    )
    assert completed.stdout == "plain,database\n", completed.stderr


def test_what_is_in_the_wheel_makes_a_database_and_renders_its_services(installed: Path, state: Path) -> None:
    made = herotill(installed, "init", state=state)
    try:
        assert made.returncode == 0, made.stderr
        units = herotill(installed, "service", "install", "--show", state=state)
        assert "ExecStart=" in units.stdout, units.stderr
        added = herotill(
            installed, "nas", "add", "a", "--address", "192.0.2.1", "--generate-secret", state=state
        )
        assert added.returncode == 0, added.stderr
    finally:
        stopped = herotill(installed, "database", "stop", state=state)
    assert stopped.stdout == "stopped\n", stopped.stderr
