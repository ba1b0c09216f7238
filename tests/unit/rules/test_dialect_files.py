"""Dialect files: what is shipped says only what FreeRADIUS can send; an operator's own are checked to the letter."""

import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from textwrap import dedent

import pytest

from herotill.dialect import dialect_for, dialects, load_dialects, render, use_dialects
from herotill.dialect_model import CountsFrom, Dialect
from herotill.dialect_reading import check_file
from herotill.dialect_sayings import RATES_PLACEHOLDERS, TIMED_FIELDS
from herotill.dictionary import AttributeDefinition, AttributeType, dictionary, parse_dictionary
from herotill.errors import InvalidValue
from herotill.reply import Reply
from herotill.sessions import identifying_attributes
from tests.unit.rules.build import session

FREERADIUS = Path("/usr/share/freeradius")
# CoovaChilli's, which the installation adds to FreeRADIUS's dictionary.
ADDED = {
    "ChilliSpot-Max-Total-Gigawords",
    "ChilliSpot-Max-Input-Gigawords",
    "ChilliSpot-Max-Output-Gigawords",
}
WANTED = (
    *(
        "mikrotik",
        "mikrotik-ppp",
        "coovachilli",
        "chillispot",
        "wispr",
        "cisco",
        "cisco-isg",
        "juniper",
        "huawei",
    ),
    *(
        "nokia",
        "unifi",
        "aruba",
        "aos-cx",
        "ruckus",
        "cambium",
        "accel-ppp",
        "hostapd",
        "ocserv",
        "strongswan",
        "generic",
    ),
)
SPEED = """
    name = "speed"
    title = "Speed"
    nas_types = ["speed"]
    sources = ["me"]
    [[say]]
    field = "rates"
    attribute = "Filter-Id"
    text = "{download}:{upload}"
    unit = 1000
"""


@pytest.fixture(scope="module")
def freeradius() -> dict[str, AttributeDefinition]:
    assert FREERADIUS.is_dir(), "FreeRADIUS's dictionaries are part of the test environment"
    return dict(parse_dictionary("\n".join(lines_of(FREERADIUS / "dictionary"))))


def lines_of(path: Path) -> list[str]:
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        lines += lines_of(path.parent / words[1]) if words[:1] == ["$INCLUDE"] else [line]
    return lines


def said_by(dialect: Dialect) -> set[str]:
    sayings = [name for saying in dialect.sayings for name in (saying.attribute, saying.gigawords) if name]
    profiles = [
        name
        for profile in dialect.disconnect + dialect.coa
        for name in (*profile.required, *profile.optional)
    ]
    return {name.partition(":")[0] for name in (*sayings, *profiles)}


def test_every_make_has_its_dialect() -> None:
    assert set(dialects()) == set(WANTED)


@pytest.mark.parametrize("name", WANTED)
def test_every_attribute_is_freeradius_s_and_its_type_can_say_the_field(
    name: str, freeradius: dict[str, AttributeDefinition]
) -> None:
    dialect = dialects()[name]
    known = {attribute: dictionary()[attribute] for attribute in said_by(dialect) & ADDED}
    assert said_by(dialect) - set(freeradius) - ADDED == set()
    for saying in dialect.sayings:
        definition = (freeradius | known)[saying.attribute.partition(":")[0]]
        is_text = saying.text is not None or saying.field in ("address_pool", "address_list", "redirect_url")
        assert definition.type is (AttributeType.STRING if is_text else AttributeType.INTEGER)
        assert (
            saying.gigawords is None or (freeradius | known)[saying.gigawords].type is AttributeType.INTEGER
        )


@pytest.mark.parametrize("name", WANTED)
def test_every_dialect_names_its_sources_and_notes_what_is_not_known(name: str) -> None:
    dialect = dialects()[name]
    assert dialect.sources
    assert dialect.title
    assert name in ("generic",) or dialect.notes


def test_sessions_are_named_by_what_is_known_of_them() -> None:
    every = {
        "framed_ip_address": "10.0.0.1",
        "framed_ipv6_prefix": "2001:db8::/64",
        "nas_port_id": "ether1",
        "called_station_id": "x",
        "service_type": "Login-User",
    }
    known = set(identifying_attributes(session(details=every)))
    known |= {"NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier"}  # of its NAS (sync_daemon.coa.profiles)
    named = {
        attribute
        for dialect in dialects().values()
        for profile in dialect.disconnect + dialect.coa
        for attribute in (*profile.required, *profile.optional)
    }
    assert named <= known


def test_the_interim_interval_and_the_timeout_are_plain_numbers_everywhere() -> None:
    """They differ from login to login, and packet time renders them alone."""
    for dialect in dialects().values():
        timed = [saying for saying in dialect.sayings if saying.field in TIMED_FIELDS]
        assert all(saying.text is None and saying.gigawords is None for saying in timed)


def test_what_takes_no_coa_changes_nothing_live() -> None:
    silent = [dialect for dialect in dialects().values() if not dialect.coa]
    assert {dialect.name for dialect in silent} == {"hostapd", "ocserv", "unifi", "chillispot"}
    assert [saying for dialect in silent for saying in dialect.sayings if saying.live] == []


# ---------------------------------------------------------------- an operator's own


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write_file


def test_an_operator_s_dialect_is_spoken_by_its_nas_types(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    write("speed.toml", SPEED)
    speed = load_dialects(tmp_path)["speed"]
    assert render(speed, Reply(download_bits_per_second=8_000_000)) == [("Filter-Id", "8000:0")]
    assert speed.disconnect == ()


def test_a_file_may_extend_the_one_it_takes_the_place_of(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    write(
        "mikrotik.toml",
        """
        name = "mikrotik"
        extends = "mikrotik"
        unsaid = ["address_list"]
        coa_port = 1700
        [[say]]
        field = "session_timeout_seconds"
        attribute = "Session-Timeout"
        live = true
        counts_from = "session"
        """,
    )
    own, shipped = load_dialects(tmp_path)["mikrotik"], dialects()["mikrotik"]
    assert own.coa_port == 1700
    assert (own.nas_types, own.disconnect, own.sources) == (
        shipped.nas_types,
        shipped.disconnect,
        shipped.sources,
    )
    said = {saying.field: saying for saying in own.sayings}
    assert said["session_timeout_seconds"].live
    assert said["session_timeout_seconds"].counts_from is CountsFrom.SESSION
    assert {"address_list"} == {saying.field for saying in shipped.sayings} - set(said)
    # What extends it, extends the operator's.
    assert load_dialects(tmp_path)["mikrotik-ppp"].coa_port == 1700


def test_a_nas_type_an_operator_claims_is_no_longer_the_shipped_dialect_s(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    write("speed.toml", SPEED.replace('["speed"]', '["cisco", "speed"]'))
    found = load_dialects(tmp_path)
    assert found["speed"].nas_types == ("cisco", "speed")
    assert found["cisco"].nas_types == ("cisco-ios",)


def test_no_directory_and_an_empty_one_hold_nothing(tmp_path: Path) -> None:
    assert set(load_dialects(tmp_path)) == set(load_dialects(tmp_path / "none")) == set(dialects())


def test_a_process_speaks_what_it_was_told_to_until_it_is_told_otherwise(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    write("speed.toml", SPEED)
    try:
        use_dialects(tmp_path)
        assert dialect_for("SPEED").name == "speed"
        write("speed.toml", SPEED.replace("Filter-Id", "No-Such"))
        with pytest.raises(InvalidValue):
            use_dialects(tmp_path)
        assert dialect_for("speed").name == "speed"  # a bad file changes nothing
    finally:
        use_dialects(None)
    assert dialect_for("speed").name == "generic"


@pytest.mark.parametrize(
    ("wrong", "by", "complaint"),
    [
        ('name = "speed"', "", "speed.toml: name is missing; every dialect has a name"),
        ('title = "Speed"', "", "speed.toml: title is missing; it is required"),
        (
            'sources = ["me"]',
            'source = "me"',
            "speed.toml: source: 'me' is not allowed; the keys are name, title",
        ),
        (
            '["speed"]',
            '["Speed"]',
            "speed.toml: nas_types: ['Speed'] is not allowed; it is a list of texts in small",
        ),
        ('sources = ["me"]', "sources = 5", "speed.toml: sources: 5 is not allowed; it is a list of texts"),
        (
            'sources = ["me"]',
            'sources = ["me"]\ncoa_port = 0',
            "coa_port: 0 is not allowed; it is a port from 1",
        ),
        (
            'sources = ["me"]',
            'sources = ["me"]\nextends = "no"',
            "extends: 'no' is not allowed; it is another",
        ),
        ('sources = ["me"]', 'sources = ["me"]\nextends = "speed"', "extends: 'speed' is not allowed"),
        (
            'sources = ["me"]',
            'sources = ["me"]\nextends = "generic"\nunsaid = ["rates"]',
            "unsaid: 'rates' is not allowed; it is a field that the extended dialect says",
        ),
        (
            'field = "rates"',
            'field = "speed"',
            "speed.toml: say 1: field: 'speed' is not allowed; it is rates or one",
        ),
        ('field = "rates"', "", "say 1: field is missing; it is required"),
        ("unit = 1000", "unit = 0", "say 1: unit: 0 is not allowed; it is a whole number from 1"),
        ("unit = 1000", "unit = true", "say 1: unit: True is not allowed"),
        (
            "unit = 1000",
            'colour = "red"',
            "say 1: colour: 'red' is not allowed; the keys are field, attribute",
        ),
        (
            "unit = 1000",
            'counts_from = "noon"',
            "counts_from: 'noon' is not allowed; it is session or change",
        ),
        ("unit = 1000", 'unlimited = "no"', "say 1: unlimited: 'no' is not allowed; it is a number"),
        (
            "unit = 1000",
            'gigawords = "Acct-Input-Gigawords"',
            "gigawords: 'Acct-Input-Gigawords' is not allowed",
        ),
        (
            '"Filter-Id"',
            '"No-Such"',
            "say 1: attribute: 'No-Such' is not allowed; it is an attribute of herotill/dict",
        ),
        ('"Filter-Id"', '"Filter-Id:1"', "attribute: 'Filter-Id:1' is not allowed"),
        ('"Filter-Id"', '"Session-Timeout"', "it is of type integer; string is needed"),
        (
            "{download}",
            "{down}",
            "say 1: text: '{down}:{upload}' is not allowed; in braces stands one of burst_seconds",
        ),
        ("{download}", "{download!r}", "in braces stands one of"),
        ("{download}", "{download", "its braces must match"),
        ('text = "{download}:{upload}"', "", "say 1: text is missing; rates are said as a text"),
        ("[[say]]", "[say]", "speed.toml: say: "),
        ("[[say]]", "[[say]", "speed.toml: "),
    ],
)
def test_a_mistake_is_one_sentence_naming_file_key_and_what_is_allowed(
    write: Callable[[str, str], Path], wrong: str, by: str, complaint: str
) -> None:
    assert wrong in SPEED
    path = write("speed.toml", SPEED.replace(wrong, by, 1))
    with pytest.raises(InvalidValue) as told:
        check_file(path)
    assert complaint in str(told.value)
    assert str(told.value).startswith("speed.toml: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("profile", "complaint"),
    [
        ('name = "x"', "disconnect 1: required is missing; it is required"),
        ('required = ["User-Name"]', "disconnect 1: name is missing; it is required"),
        ('name = "x"\nrequired = ["Nobody"]', "disconnect 1: 'Nobody' is not allowed; it is an attribute of"),
        (
            'name = "x"\nrequired = "User-Name"',
            "disconnect 1: required: 'User-Name' is not allowed; it is a list",
        ),
        (
            'name = "x"\nrequired = ["User-Name"]\n[[disconnect]]\nname = "x"\nrequired = ["User-Name"]',
            "disconnect: name: 'x' is not allowed; each way to name a session has a name of its own",
        ),
    ],
)
def test_a_mistake_in_naming_sessions_is_told(
    write: Callable[[str, str], Path], profile: str, complaint: str
) -> None:
    path = write("speed.toml", dedent(SPEED) + "[[disconnect]]\n" + profile)
    with pytest.raises(InvalidValue) as told:
        check_file(path)
    assert complaint in str(told.value)


def test_two_files_of_one_name_or_type_and_a_circle_are_refused(
    tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    write("a.toml", SPEED)
    write("b.toml", SPEED)
    with pytest.raises(InvalidValue, match=r"b\.toml: name: 'speed' is not allowed; a\.toml has that name"):
        load_dialects(tmp_path)
    write("b.toml", SPEED.replace('name = "speed"', 'name = "fast"'))
    with pytest.raises(InvalidValue, match=r"b\.toml: nas_types|a\.toml: nas_types"):
        load_dialects(tmp_path)
    write("a.toml", SPEED.replace('title = "Speed"', 'title = "Speed"\nextends = "fast"'))
    write("b.toml", SPEED.replace('name = "speed"', 'name = "fast"\nextends = "speed"'))
    with pytest.raises(InvalidValue, match=r"extends: '(fast|speed)' is not allowed"):
        load_dialects(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidValue, match=r"bad\.toml"):
        load_dialects(tmp_path)


def test_every_shipped_file_is_named_as_its_dialect() -> None:
    for entry in files("herotill").joinpath("dialects").iterdir():
        if entry.name.endswith(".toml"):
            assert tomllib.loads(entry.read_text(encoding="utf-8"))["name"] == entry.name.removesuffix(
                ".toml"
            )


def test_every_placeholder_has_a_value(write: Callable[[str, str], Path]) -> None:
    text = " ".join(f"{{{name}}}" for name in sorted(RATES_PLACEHOLDERS))
    speed = check_file(write("speed.toml", SPEED.replace("{download}:{upload}", text)))
    assert "{" not in dict(render(speed, Reply(download_bits_per_second=1)))["Filter-Id"]
