"""The prepared packets, judged by pyrad through the simulated NAS's reader."""

import time
from collections import Counter
from typing import Any

import pytest
from pyrad.packet import AuthPacket

from benchmarks.packets import (
    ACCESS_ACCEPT,
    ACCESS_REQUEST,
    ACCOUNTING_RESPONSE,
    INTERIM,
    PASSWORD,
    SECRET,
    STOP,
    Subscriber,
    Usage,
    access_request,
    accounting_request,
    nas_restart,
    report,
    session_attributes,
)
from benchmarks.traffic import logins, sessions
from benchmarks.verifying import fault, faults
from nas_simulator.wire import accounting_request_fault, attributes, decode, hidden_password, reply_to


def test_a_login_carries_what_a_mikrotik_hotspot_sends() -> None:
    packet = access_request(7, Subscriber(42), b"session-1")

    request = decode(packet)

    assert (request.code, request.identifier) == (ACCESS_REQUEST, 7)
    assert request.message_authenticator_first
    assert request.value("User-Name") == "u0000042"
    assert request.value("Calling-Station-Id") == "02:00:00:00:00:2A"
    assert request.value("Acct-Session-Id") == "session-1"
    assert request.value("NAS-Port-Type") == "Wireless-802.11"


def test_the_password_is_hidden_as_pyrad_hides_it() -> None:
    packet = access_request(0, Subscriber(1), b"s")

    assert hidden_password(PASSWORD, SECRET, packet[4:20]) in packet


def test_the_message_authenticator_of_a_login_is_the_one_pyrad_expects() -> None:
    make: Any = AuthPacket
    parsed = make(secret=SECRET, dict=attributes(), packet=access_request(3, Subscriber(5), b"s"))

    assert parsed.verify_message_authenticator()


def test_reports_are_signed_and_count_beyond_four_gigabytes() -> None:
    session = session_attributes(Subscriber(9), b"s")
    packet = accounting_request(
        1, report(INTERIM, session, 1_764_000_000, Usage(300, 5 << 32, (2 << 32) + 17))
    )

    request = decode(packet)

    assert accounting_request_fault(request, SECRET) is None
    assert request.value("Acct-Status-Type") == "Interim-Update"
    assert (request.integer("Acct-Input-Gigawords"), request.integer("Acct-Input-Octets")) == (5, 0)
    assert (request.integer("Acct-Output-Gigawords"), request.integer("Acct-Output-Octets")) == (2, 17)
    assert request.integer("Acct-Session-Time") == 300


def test_a_stop_says_why_and_a_restarted_nas_names_nobody() -> None:
    stop = decode(
        accounting_request(1, report(STOP, session_attributes(Subscriber(9), b"s"), 1, Usage(1, 2, 3)))
    )
    restart = decode(nas_restart(2, int(time.time())))

    assert stop.value("Acct-Terminate-Cause") == "User-Request"
    assert restart.value("Acct-Status-Type") == "Accounting-On"
    assert restart.value("User-Name") is None
    assert accounting_request_fault(restart, SECRET) is None


def test_logins_of_a_run_are_all_different_and_go_round_the_accounts() -> None:
    packets = logins(300, accounts=100, first=50)

    assert len(set(packets)) == 300
    assert decode(packets[0]).value("User-Name") == "u0000050"
    assert decode(packets[99]).value("User-Name") == "u0000049"


def test_every_session_starts_reports_and_stops_in_this_order() -> None:
    steps: dict[object, list[object]] = {}
    for packet in sessions(500, accounts=50, interims=3):
        request = decode(packet)
        steps.setdefault(request.value("Acct-Session-Id"), []).append(request.value("Acct-Status-Type"))

    kinds = Counter(tuple(seen) for seen in steps.values())

    assert kinds == {("Start", "Interim-Update", "Interim-Update", "Interim-Update", "Stop"): 100}


def test_sessions_of_two_runs_are_different_ones() -> None:
    assert not set(sessions(50, 10)) & set(sessions(50, 10))


def test_a_right_answer_has_no_fault() -> None:
    login = access_request(7, Subscriber(42), b"s")
    accept = reply_to(decode(login), ACCESS_ACCEPT, SECRET, [("Session-Timeout", 60)])

    assert fault(login, accept, ACCESS_ACCEPT) is None


@pytest.mark.parametrize(
    ("code", "secret", "signed", "complaint"),
    [
        (3, SECRET, True, "code is 3"),
        (2, b"another secret", True, "Response Authenticator"),
        (2, SECRET, False, "Message-Authenticator"),
    ],
)
def test_a_wrong_answer_is_told_of(code: int, secret: bytes, signed: bool, complaint: str) -> None:
    login = access_request(7, Subscriber(42), b"s")
    reply = reply_to(decode(login), code, secret, [("Session-Timeout", 60)], signed)

    assert complaint in str(fault(login, reply, ACCESS_ACCEPT))


def test_a_cut_or_altered_answer_is_told_of() -> None:
    packet = nas_restart(1, 1)
    answer = reply_to(decode(packet), ACCOUNTING_RESPONSE, SECRET, (), signed=False)
    altered = answer[:1] + b"\x09" + answer[2:]

    assert fault(packet, answer, ACCOUNTING_RESPONSE) is None
    assert faults([packet], [(0, answer[:19]), (0, altered)], ACCOUNTING_RESPONSE) == {
        "its length is wrong": 1,
        "its Response Authenticator is wrong": 1,
    }
