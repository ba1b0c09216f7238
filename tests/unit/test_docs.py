"""Prose that cannot rot: what the documentation names must exist, as commands, options, paths, tests, tables and settings.

Commands are read from code spans and from blocks marked sh or ini, and looked up in the click commands themselves.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import click
import pytest

from demo.__main__ import main as demo
from herotill.dialect import dialects
from nas_simulator.cli import cli as herotill_nas
from sync_daemon.cli import main as herotill
from sync_daemon.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "freeradius_config/README.md"])
PROGRAMS: dict[str, click.Command] = {
    "herotill": herotill,
    "herotill-nas": herotill_nas,
    "scripts/demo": demo,
}
TOP = frozenset(path.name for path in ROOT.iterdir() if not path.name.startswith(".") or path.name == ".ci")
# Where a make's page has not its name.
SHARED_PAGES = {
    "mikrotik-ppp": "mikrotik",
    "chillispot": "coovachilli",
    "cisco-isg": "cisco",
    "aos-cx": "aruba",
}
DIALECT_PAGES = {name: SHARED_PAGES.get(name, name) for name in dialects()}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:^|\$\(|=/\S*/)(herotill-nas|herotill|scripts/demo)(?: ([^|)#;]*)|$)")
_OPTION = re.compile(r"--[a-z][a-z-]+")


@dataclass(frozen=True)
class Mention:
    """Something a page says; its text names it when a test fails."""

    page: Path
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text}"


def code_of(page: Path) -> Iterator[str]:
    """Yield the code spans of a page and the lines of its sh and ini blocks."""
    text = page.read_text(encoding="utf-8")
    for language, block in _FENCE.findall(text):
        if language in ("sh", "ini"):
            yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())
    yield from _SPAN.findall(_FENCE.sub("", text))


def mentions(wanted: re.Pattern[str]) -> list[Mention]:
    """Return every piece of code in the documentation that matches as a whole."""
    return [Mention(page, code) for page in PAGES for code in code_of(page) if wanted.fullmatch(code)]


def commands() -> list[Mention]:
    """Return every command line of ours, from its program's name on."""
    found = ((page, match) for page in PAGES for code in code_of(page) for match in _COMMAND.finditer(code))
    return [Mention(page, f"{match[1]} {match[2] or ''}".strip()) for page, match in found]


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Return a command's options by each of their names."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    named = {name: option for option in options for name in (*option.opts, *option.secondary_opts)}
    return named | {"--help": click.Option(["--help"], is_flag=True)}


def walk(command: click.Command) -> Iterator[click.Command]:
    """Yield a command and all below it."""
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below)


def complaint(line: str) -> str | None:
    """Say what is wrong with a command line, None when nothing is. A value in capitals stands for the reader's own."""
    program, *words = shlex.split(line)
    command = PROGRAMS[program]
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            option = options_of(command).get(word.split("=")[0])
            if option is None:
                return f"{command.name} has no option {word}"
            if not option.is_flag:
                value = words.pop(0) if words else ""
                del words[: option.nargs - 1]
                if isinstance(option.type, click.Choice) and value not in (
                    *option.type.choices,
                    value.upper(),
                ):
                    return f"{word} does not take {value}"
        elif isinstance(command, click.Group):
            below = command.get_command(click.Context(command), word)
            if below is None:
                return f"{command.name} has no command {word}"
            command = below
        elif not any(isinstance(parameter, click.Argument) for parameter in command.params):
            return f"{command.name} takes no argument {word}"
    return None


@pytest.mark.parametrize("mention", commands(), ids=str)
def test_every_command_line_names_commands_and_options_that_exist(mention: Mention) -> None:
    assert complaint(mention.text) is None


@pytest.mark.parametrize(
    "line",
    [
        "herotill frobnicate",
        "herotill plan add x --no-such-option 1",
        "herotill nas add x --address 192.0.2.1 --type toaster",
        "herotill sessions everybody",
        "herotill-nas dance",
    ],
)
def test_a_command_line_that_cannot_be_is_noticed(line: str) -> None:
    assert complaint(line) is not None


def test_commands_are_found_at_all() -> None:
    named = {mention.text.split()[0] for mention in commands()}

    assert named == set(PROGRAMS)
    assert len(commands()) > 40


def test_every_option_named_alone_belongs_to_one_of_our_commands() -> None:
    ours = {
        name for program in PROGRAMS.values() for command in walk(program) for name in options_of(command)
    }

    strangers = [str(mention) for mention in mentions(_OPTION) if mention.text not in ours]

    assert strangers == []


def test_every_noun_is_in_the_changelog() -> None:
    told = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert [noun for noun in herotill.list_commands(click.Context(herotill)) if noun not in told] == []


def test_every_path_exists() -> None:
    paths = mentions(re.compile(r"[\w.][\w./-]*"))

    missing = [
        str(mention)
        for mention in paths
        if mention.text.split("/")[0] in TOP
        and ("/" in mention.text or "." in mention.text)
        and not (ROOT / mention.text).exists()
    ]

    assert missing == []


def test_every_path_below_raddb_is_in_our_configuration() -> None:
    below = mentions(re.compile(r"(?:mods|sites)-(?:available|config)/[\w./-]+"))

    assert below
    assert [str(each) for each in below if not (ROOT / "freeradius_config" / each.text).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    local = [link.split("#")[0] for link in links if not link.startswith(("https://", "#"))]

    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = [
            link
            for link in _LINK.findall(page.read_text(encoding="utf-8"))
            if not link.startswith(("http", "#"))
        ]
        found = [(page.parent / link.split("#")[0]).resolve() for link in links]
        todo += [path / "README.md" if path.is_dir() else path for path in found]

    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - reached == set()


def test_every_test_exists() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = mentions(re.compile(r"test_\w+"))

    assert named
    assert [str(mention) for mention in named if f"def {mention.text}(" not in source] == []


def test_every_table_view_and_function_of_the_schema_exists() -> None:
    schema = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "sql").glob("*.sql"))
    named = mentions(re.compile(r"(?:radius|billing)\.[a-z_]+"))

    assert named
    assert [str(each) for each in named if re.search(rf"{re.escape(each.text)}\b", schema) is None] == []


def test_every_setting_is_described_and_no_other() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = text.split("## Settings")[1].split("\n## ")[0]

    described = re.findall(r"^\| `(\w+)`", section, re.MULTILINE)

    assert sorted(described) == sorted({field.name for field in fields(Settings)} - {"state_directory"})


def test_every_rule_is_listed_once_and_the_files_named_hold_tests_that_carry_its_number() -> None:
    text = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| R(\d+) \|[^|]*\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE)

    assert [int(number) for number, _, _ in rows] == list(range(1, 37))
    for number, state, files in rows:
        for name in _SPAN.findall(files):
            carried = re.findall(r"def (test_(?:r\d+_)+)", (ROOT / name).read_text(encoding="utf-8"))
            assert any(f"_r{number}_" in prefix for prefix in carried), f"R{number}: {name}"
        assert "not yet" not in state or not files.strip()


@pytest.mark.parametrize(("dialect", "page"), DIALECT_PAGES.items())
def test_every_attribute_a_dialect_says_is_on_its_page(dialect: str, page: str) -> None:
    pages = [ROOT / f"docs/nas/{name}.md" for name in {page, "generic"}]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    said = {
        attribute
        for saying in dialects()[dialect].sayings
        for attribute in (saying.attribute, saying.gigawords)
        if attribute is not None
    }

    assert [attribute for attribute in sorted(said) if attribute not in text] == []


@pytest.mark.parametrize(("dialect", "page"), DIALECT_PAGES.items())
def test_every_dialect_has_its_page_with_type_sources_and_quirks(dialect: str, page: str) -> None:
    text = (ROOT / f"docs/nas/{page}.md").read_text(encoding="utf-8")
    squeezed = " ".join(text.split())
    told = (*dialects()[dialect].sources, *dialects()[dialect].notes) if dialect != "generic" else ()

    assert f"--type {dialects()[dialect].nas_types[0]}" in text
    assert [each for each in told if " ".join(each.split()) not in squeezed] == []


def test_every_dialect_is_in_the_table_of_routers() -> None:
    table = (ROOT / "docs/nas/README.md").read_text(encoding="utf-8")

    assert [page for page in set(DIALECT_PAGES.values()) if f"({page}.md)" not in table] == []


def test_the_changelog_speaks_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
