"""docs/tour.md is what it says: every command of it, typed in order on a fresh installation, answers what stands below it.

HEROTILL_TOUR=write writes the answers into the page instead.
"""

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sync_daemon.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/tour.md"
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)

# What time and chance decide, and only that.
PLACEHOLDERS = [
    (re.compile(r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:\+\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "<day>"),
]

Type = Callable[[str], str]


@pytest.fixture
def type_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Type]:
    """Type a line in a directory with the tour's files, on an installation of its own, and return what is answered."""
    # Not tmp_path: the path of PostgreSQL's socket must be short.
    state = Path(tempfile.mkdtemp(prefix="herotill-tour-"))
    shutil.copy(ROOT / "docs/tour/students.csv", tmp_path)
    (tmp_path / "password.txt").write_text("four-words-and-a-7\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def type_line(line: str) -> str:
        program, *words = shlex.split(line)
        if program == "cat":
            return (tmp_path / words[0]).read_text(encoding="utf-8-sig")
        assert program == "herotill", line
        result = CliRunner().invoke(
            main, ["--state", str(state), *words], env={"USER": "jane", "LOGNAME": "jane"}
        )
        assert result.exit_code in (0, 1), f"{line}: {result.output}"
        return result.output.replace(str(state), "/var/lib/herotill")

    yield type_line
    CliRunner().invoke(main, ["--state", str(state), "database", "stop"])
    shutil.rmtree(state)


def _typed(block: str) -> list[tuple[str, list[str]]]:
    """Split a block into commands and what is answered to each."""
    said: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            said.append((line[2:], []))
        else:
            said[-1][1].append(line)
    return said


def _lines(answer: str) -> list[str]:
    """Return an answer as the page shows it: no blanks at the ends of lines, no empty lines around it."""
    lines = [line.rstrip() for line in answer.splitlines()]
    return "\n".join(lines).strip("\n").splitlines()


def _without_chance(lines: list[str]) -> list[str]:
    for pattern, placeholder in PLACEHOLDERS:
        lines = [pattern.sub(placeholder, line) for line in lines]
    return lines


def test_the_tour_is_what_it_says(type_line: Type) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    assert len(blocks) > 5
    written = []
    for block in blocks:
        shown = []
        for command, expected in _typed(block):
            answered = _lines(type_line(command))
            shown += [f"$ {command}", *answered]
            if os.environ.get("HEROTILL_TOUR") != "write":
                assert _without_chance(answered) == _without_chance(expected), command
        written.append("\n".join(shown) + "\n")
    if os.environ.get("HEROTILL_TOUR") == "write":
        answers = iter(written)
        PAGE.write_text(BLOCK.sub(lambda _: next(answers), page), encoding="utf-8")
