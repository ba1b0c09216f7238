"""What is said of a router, from what was seen of it (rule R33)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sync_daemon.doctor.findings import Finding, Health
from sync_daemon.nas_commands import ACCEL_PPP, CISCO, COOVACHILLI, MIKROTIK
from sync_daemon.nas_evidence import Answered, EnteredNas, Evidence
from sync_daemon.nas_testing import Subject, is_in_order, judge_nas

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GIB = 1024**3
NAS = EnteredNas("tower", "10.0.0.1", "mikrotik", "hidden-secret", 3799, None, "unknown", None)
NOTHING = Evidence(0, 0, None, 0, 0, None, 0, 0, 0, 0, 0)
SOUND = Evidence(
    sessions=10, live_sessions=2, last_report_at=NOW, long_sessions=8, long_without_interim=0, interim_seconds=300,
    with_gigawords=10, with_class=10, with_address=10, input_octets=GIB, output_octets=9 * GIB, logins=12, accepted=10,
    last_login_at=NOW,
    answers=(
        Answered("disconnect", "10.0.0.1:3799", "mikrotik", "ack", None, 3, NOW),
        Answered("coa", "10.0.0.1:3799", "user", "nak", 503, 1, NOW),
    ),
)  # fmt: skip
UNSIGNED = replace(SOUND, unsigned=5, last_unsigned_at=NOW)


def judged(seen: Evidence, nas_type: str = "mikrotik", signed: bool | None = True) -> dict[str, Finding]:
    subject = Subject(replace(NAS, nas_type=nas_type), "192.0.2.9", signed)
    return {finding.topic: finding for finding in judge_nas(subject, seen, {})}


def test_r33_a_sound_router_has_nothing_amiss_and_says_port_and_attributes() -> None:
    findings = judged(SOUND)
    assert {finding.health for finding in findings.values()} == {Health.GOOD}
    assert findings["Disconnect"].sentence == (
        "acknowledged at 10.0.0.1:3799, the session named by User-Name, Acct-Session-Id, Framed-IP-Address"
    )
    assert "503" in findings["CoA"].sentence
    assert "every 300 s" in findings["interims"].sentence


def test_r33_what_was_never_seen_is_unknown_and_not_missing() -> None:
    findings = judged(NOTHING)
    assert {finding.health for finding in findings.values()} == {Health.UNKNOWN}
    assert is_in_order(tuple(findings.values()))
    assert "/radius add address=192.0.2.9" in findings["logins"].mend


def test_r33_where_it_is_not_required_the_routers_that_do_not_sign_are_told_from_those_that_do() -> None:
    unsigned = judged(UNSIGNED, signed=False)["Message-Authenticator"]
    assert unsigned.health is Health.WRONG
    assert "5 of the last 12" in unsigned.sentence
    assert "docs/nas, MikroTik" in unsigned.mend
    signed = judged(SOUND, signed=False)["Message-Authenticator"]
    assert signed.health is Health.GOOD
    assert "--require-message-authenticator" in signed.sentence
    assert judged(NOTHING, signed=False)["Message-Authenticator"].health is Health.UNKNOWN


def test_r33_whoever_did_not_sign_is_believed_after_a_day_of_signed_logins() -> None:
    findings = {}
    for hours in (0, 1, 23, 24, 240):
        seen = replace(UNSIGNED, signed_since=int(hours > 0), last_unsigned_at=NOW - timedelta(hours=hours))
        findings[hours] = judged(seen, signed=False)["Message-Authenticator"]
    assert [finding.health.value for finding in findings.values()] == 3 * ["wrong"] + 2 * ["advice"]
    assert "in none of the last 1" in findings[1].sentence
    assert "a day later" in findings[1].mend
    assert "in none" not in findings[0].sentence


def test_r33_the_command_that_switches_signing_on_is_printed_where_the_make_has_one() -> None:
    assert "blast-protection=1" in judged(UNSIGNED, "accel-ppp", signed=False)["Message-Authenticator"].mend


def test_r33_what_is_required_is_judged_by_who_is_answered_whatever_came_before() -> None:
    assert judged(UNSIGNED, signed=True)["Message-Authenticator"].health is Health.GOOD


@pytest.mark.parametrize(
    ("nas_type", "line"),
    [
        ("mikrotik", "interim-update=10m"),
        ("coovachilli", "definteriminterval=600"),
        ("cisco", "aaa accounting update periodic 10"),
    ],
)
def test_r33_missing_interims_are_wrong_and_the_makes_command_is_printed(nas_type: str, line: str) -> None:
    finding = judged(replace(SOUND, long_without_interim=8, interim_seconds=None), nas_type)["interims"]
    assert finding.health is Health.WRONG
    assert line in finding.mend


@pytest.mark.parametrize(
    ("nas_type", "line"),
    [
        ("mikrotik", "/radius incoming set accept=yes port=3799"),
        ("coovachilli", "coaport=3799"),
        ("cisco", "client 192.0.2.9 server-key SECRET"),
    ],
)
def test_r33_silence_to_a_disconnect_is_wrong_and_says_how_to_switch_it_on(nas_type: str, line: str) -> None:
    silent = Answered("disconnect", "10.0.0.1:3799", "user", "timeout", None, 5, NOW)
    finding = judged(replace(SOUND, answers=(silent,)), nas_type)["Disconnect"]
    assert finding.health is Health.WRONG
    assert line in finding.mend
    assert "hidden-secret" not in finding.mend + repr(NAS)


def test_r33_the_last_answer_counts_and_one_of_just_now_more_than_any_before() -> None:
    before = Answered("disconnect", "10.0.0.1:3799", "user", "ack", None, 90, NOW)
    silent = replace(before, result="timeout", count=1, last_at=NOW + timedelta(hours=1))
    assert judged(replace(SOUND, answers=(before, silent)))["Disconnect"].health is Health.WRONG
    assert (
        judged(replace(SOUND, answers=(silent, replace(before, last_at=NOW + timedelta(hours=2)))))[
            "Disconnect"
        ].health
        is Health.GOOD
    )
    now_silent = {
        finding.topic: finding for finding in judge_nas(Subject(NAS), SOUND, {"disconnect": silent})
    }
    assert now_silent["Disconnect"].health is Health.WRONG


def test_r33_a_refusal_says_why() -> None:
    refused = Answered("coa", "10.0.0.1:3799", "user", "nak", 401, 1, NOW)
    assert "unsupported attribute" in judged(replace(SOUND, answers=(refused,)))["CoA"].sentence


def test_r33_gigawords_and_class_that_never_come_are_said() -> None:
    findings = judged(replace(SOUND, with_gigawords=0, with_class=1))
    assert findings["Gigawords"].health is Health.ADVICE
    assert "though its make does" in findings["Gigawords"].sentence
    assert findings["Class"].health is Health.ADVICE


def test_r33_directions_that_cannot_be_right_are_said() -> None:
    swapped = judged(replace(SOUND, input_octets=9 * GIB, output_octets=GIB))["Input"]
    assert swapped.health is Health.ADVICE
    assert "--type" in swapped.mend
    assert judged(replace(SOUND, input_octets=9, output_octets=1))["Input"].health is Health.UNKNOWN
    assert "download" in judged(SOUND, "coovachilli")["Input"].sentence


@pytest.mark.parametrize(
    ("signed", "logins", "health"),
    [(True, 5, Health.GOOD), (True, 0, Health.WRONG), (False, 5, Health.GOOD), (None, 5, Health.UNKNOWN)],
)
def test_r33_message_authenticator_is_told_by_who_is_answered(
    signed: bool | None, logins: int, health: Health
) -> None:
    assert judged(replace(SOUND, logins=logins), signed=signed)["Message-Authenticator"].health is health


@pytest.mark.parametrize(
    ("page", "commands"),
    [("mikrotik", MIKROTIK), ("coovachilli", COOVACHILLI), ("cisco", CISCO), ("accel-ppp", ACCEL_PPP)],
)
def test_every_printed_command_stands_on_its_makes_page(page: str, commands: dict[str, str]) -> None:
    text = (Path(__file__).resolve().parents[2] / f"docs/nas/{page}.md").read_text()
    ports = {"cisco": "1700"}
    for line in "\n".join(commands.values()).splitlines():
        assert line.replace("{server}", "SERVER").replace("{port}", ports.get(page, "3799")) in text
