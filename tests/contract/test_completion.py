"""Tab in a real bash: nouns, words and the names in the books; where nothing can be known, nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RunHerotill

# What bash does on Tab: it calls the function with the words typed, and reads COMPREPLY.
TAB = """
eval "$(_HEROTILL_COMPLETE=bash_source herotill)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_herotill_completion herotill
printf '%s\\n' "${COMPREPLY[@]}"
"""
HEROTILL = """#!/bin/sh
exec {python} -c 'from sync_daemon.cli import main; main(prog_name="herotill")' "$@"
"""


class Shell:
    """A bash that has the completion of herotill."""

    def __init__(self, folder: Path, state: Path) -> None:
        program = folder / "herotill"
        program.write_text(HEROTILL.format(python=sys.executable))
        program.chmod(0o755)
        root = Path(__file__).resolve().parents[2]
        self.environment = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(root),
            "HEROTILL_STATE": str(state),
        }

    def tab(self, *words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", TAB, "bash", "herotill", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()


@pytest.fixture
def shell(tmp_path: Path, state: Path) -> Shell:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Shell(folder, state)


def test_bash_completes_commands_words_and_the_names_in_the_books(
    shell: Shell, run_herotill: RunHerotill
) -> None:
    for typed in (
        ("plan", "add", "Day-1GiB"),
        ("plan", "add", "week_5"),
        ("plan", "add", "weekly"),
        ("group", "add", "hostel-a"),
        ("customer", "add", "--name", "Ann", "--user", "ann", "--verified", "--password", "secret-1"),
    ):
        assert run_herotill(*typed).exit_code == 0
    assert shell.tab("vou") == ["voucher"]
    assert shell.tab("account", "convert", "ann", "--to", "m") == ["monthly"]
    assert shell.tab("sell", "day") == ["Day-1GiB"]
    assert shell.tab("plan", "edit", "week_") == ["week_5"]
    assert shell.tab("customer", "list", "--group", "h") == ["hostel-a"]
    assert shell.tab("sell", "weekly", "--to", "a") == ["ann"]
    # A new name is nobody's to know, and a reseller learns no other's names.
    assert shell.tab("plan", "add", "w") == []
    assert shell.tab("--as", "reseller", "kiosk", "customer", "show", "a") == []


def test_a_tab_without_an_installation_offers_nothing_and_says_nothing(tmp_path: Path) -> None:
    assert Shell(tmp_path, tmp_path / "nowhere").tab("sell", "a") == []


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_every_shell(tmp_path: Path, shell_name: str) -> None:
    shell = Shell(tmp_path, tmp_path / "nowhere")
    environment = shell.environment | {"_HEROTILL_COMPLETE": f"{shell_name}_source"}
    made = subprocess.run(["herotill"], env=environment, capture_output=True, text=True, check=True)
    assert "_HEROTILL_COMPLETE" in made.stdout
    assert f"{shell_name}_complete" in made.stdout
