"""How a session is named to each make of NAS (rule R31)."""

from ipaddress import ip_address

import pytest

from herotill.dialect import dialects
from herotill.dictionary import dictionary
from sync_daemon.coa.profiles import NamedSession, nas_attributes, profiles_for, ways_to_name

KNOWN = {
    "User-Name": "student-1",
    "Acct-Session-Id": "81",
    "Framed-IP-Address": "10.5.50.2",
    "Calling-Station-Id": "AA-BB-CC-DD-EE-FF",
    "NAS-IP-Address": "10.0.0.1",
    "NAS-Identifier": "hotspot-1",
    "Service-Type": "Login-User",
}

NAS_NAMES = ("NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier")


def name_session(nas_type: str, known: dict[str, str]) -> NamedSession | None:
    return next(iter(ways_to_name(nas_type, known)), None)


@pytest.mark.parametrize(
    ("nas_type", "names"),
    [
        ("mikrotik", ["User-Name", "Acct-Session-Id", "Framed-IP-Address"]),
        ("MikroTik", ["User-Name", "Acct-Session-Id", "Framed-IP-Address"]),
        ("ruckus", ["User-Name", "Acct-Session-Id", "Calling-Station-Id", "Service-Type"]),
        ("other", ["User-Name", "Acct-Session-Id", "Calling-Station-Id"]),
        ("fortinet", ["User-Name", "Acct-Session-Id", "Calling-Station-Id"]),
    ],
)
def test_r31_each_make_gets_its_attributes(nas_type: str, names: list[str]) -> None:
    named = name_session(nas_type, KNOWN)
    assert named is not None
    assert list(named.attributes) == names


def test_what_is_not_known_or_empty_is_left_out() -> None:
    named = name_session("other", {**KNOWN, "Calling-Station-Id": ""})
    assert named is not None
    assert list(named.attributes) == ["User-Name", "Acct-Session-Id"]


def test_a_missing_required_attribute_leads_to_the_next_profile() -> None:
    named = name_session("mikrotik", {"User-Name": "u", "Acct-Session-Id": "81"})
    assert named is not None
    assert named.profile == "user-session"
    assert name_session("mikrotik", {"NAS-Identifier": "hotspot-1"}) is None


def test_r31_which_nas_is_meant_is_said_only_to_who_insists() -> None:
    """Fortinet refuses NAS-IP-Address, and a NAS behind translation knows another address of itself."""
    for name, dialect in dialects().items():
        for profile in dialect.disconnect + dialect.coa:
            said = {*NAS_NAMES} & {*profile.required, *profile.optional}
            assert len(said) == (1 if name == "aos-cx" else 0), f"{name}: {profile.name}"


def test_r31_a_switch_that_insists_is_named_as_it_reports_and_then_as_we_know_it() -> None:
    known = {"User-Name": "u", "Acct-Session-Id": "81", **nas_attributes(ip_address("192.0.2.9"), "switch-1")}
    assert [dict(way.attributes) for way in ways_to_name("aos-cx", known)] == [
        {"User-Name": "u", "Acct-Session-Id": "81", "NAS-Identifier": "switch-1"},
        {"User-Name": "u", "Acct-Session-Id": "81", "NAS-IP-Address": "192.0.2.9"},
    ]
    known = {"User-Name": "u", "Acct-Session-Id": "81", **nas_attributes(ip_address("2001:db8::9"))}
    assert [dict(way.attributes) for way in ways_to_name("aos-cx", known)] == [
        {"User-Name": "u", "Acct-Session-Id": "81", "NAS-IPv6-Address": "2001:db8::9"}
    ]


def test_profiles_have_names_of_their_own_and_known_attributes() -> None:
    for profiles in [ways for dialect in dialects().values() for ways in (dialect.disconnect, dialect.coa)]:
        assert len({profile.name for profile in profiles}) == len(profiles)
        for profile in profiles:
            assert profile.required
            for name in (*profile.required, *profile.optional):
                assert name in dictionary()
    assert profiles_for("mikrotik") is profiles_for("MikroTik")


def test_r31_the_ways_to_name_a_session_differ_and_narrow_ones_come_first() -> None:
    ways = [list(way.attributes) for way in ways_to_name("other", {**KNOWN, "Calling-Station-Id": ""})]
    assert ways == [["User-Name", "Acct-Session-Id"], ["Acct-Session-Id"], ["User-Name"]]


def test_r31_a_user_with_other_sessions_is_never_named_by_name_alone() -> None:
    """Else a request for a session that is gone would end the one that came after it."""
    for nas_type in ("other", "mikrotik", "ruckus"):
        for way in ways_to_name(nas_type, KNOWN, is_only_session=False):
            assert list(way.attributes) != ["User-Name"]
