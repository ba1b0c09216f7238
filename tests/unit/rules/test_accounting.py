"""What a NAS may say of a session, and what cannot be metered: told apart without ever raising."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.accounting import Malformed, NasRestart, Report, Status, parse_accounting
from herotill.metering import Counter
from tests.unit.rules.build import NAS, NOW, PHONE, at

PACKET = {
    "Acct-Status-Type": "Interim-Update",
    "User-Name": "student-1",
    "Acct-Session-Id": "0001",
    "Calling-Station-Id": PHONE,
    "Acct-Session-Time": "60",
    "Acct-Input-Octets": "4294967295",
    "Acct-Input-Gigawords": "5",
    "Acct-Output-Octets": "7",
}


def parse(without: str = "", **said: str) -> Report | NasRestart | Malformed:
    pairs = PACKET | {name.replace("_", "-"): value for name, value in said.items()}
    return parse_accounting([pair for pair in pairs.items() if pair[0] != without], NAS, NOW)


def report(without: str = "", **said: str) -> Report:
    parsed = parse(without, **said)
    assert isinstance(parsed, Report), parsed
    return parsed


def test_an_interim_is_read_to_the_octet() -> None:
    read = report()
    assert (read.status, read.username, read.acct_session_id) == (Status.INTERIM, "student-1", "0001")
    assert read.input.octets == 6 * 2**32 - 1
    assert (read.output, read.seconds) == (Counter(7), 60)
    assert read.reading(NOW, NOW).seconds == 60


def test_a_nas_that_calls_the_download_input_is_turned_round() -> None:
    read = parse_accounting(list(PACKET.items()), NAS, NOW, input_is_upload=False)
    assert isinstance(read, Report)
    assert (read.input, read.output) == (Counter(7), Counter(4294967295, 5))


@pytest.mark.parametrize(
    ("delay", "event_at"),
    [
        ("0", NOW),
        ("30", at(-30)),
        ("604800", at(-604_800)),
        ("604801", at(-604_800)),
        ("4294967295", at(-604_800)),
    ],
)
def test_what_was_delayed_happened_earlier_but_not_before_last_week(delay: str, event_at: datetime) -> None:
    assert report(Acct_Delay_Time=delay).event_at == event_at


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Acct_Status_Type", "Failed"),
        ("User_Name", ""),
        ("User_Name", "a\0b"),
        ("User_Name", "a\udc80b"),
        ("Acct_Session_Id", ""),
        ("Acct_Session_Time", "-1"),
        ("Acct_Session_Time", "4294967296"),
        ("Acct_Session_Time", "9" * 5000),
        ("Acct_Session_Time", "٣"),
        ("Acct_Input_Octets", "1e3"),
        ("Acct_Input_Gigawords", " 1"),
        ("Acct_Delay_Time", ""),
        ("Called_Station_Id", "a\0b"),
    ],
)
def test_what_makes_no_sense_is_malformed_and_says_why(name: str, value: str) -> None:
    parsed = parse(**{name: value})
    assert isinstance(parsed, Malformed)
    assert name.replace("_", "-") in parsed.reason


@pytest.mark.parametrize("name", ["Acct-Status-Type", "User-Name", "Acct-Session-Id"])
def test_what_is_needed_and_missing_is_named(name: str) -> None:
    parsed = parse(without=name)
    assert isinstance(parsed, Malformed)
    assert name in parsed.reason


@pytest.mark.parametrize("status", ["Accounting-On", "Accounting-Off"])
def test_a_restart_needs_no_session(status: str) -> None:
    parsed = parse_accounting([("Acct-Status-Type", status), ("Acct-Delay-Time", "5")], "2001:db8::1", NOW)
    assert parsed == NasRestart(Status(status), "2001:db8::1", at(-5))


def test_the_old_name_of_an_interim_is_understood() -> None:
    assert report(Acct_Status_Type="Alive").status is Status.INTERIM


def test_of_several_values_the_first_counts_and_of_several_classes_ours() -> None:
    ours, others = "0x" + b"HT1.a.b.c".hex(), "0x01020304"
    pairs = [*PACKET.items(), ("User-Name", "other"), ("Class", others), ("Class", ours), ("Class", others)]
    read = parse_accounting(pairs, NAS, NOW)
    assert isinstance(read, Report)
    assert (read.username, read.class_value) == ("student-1", ours)


def test_an_address_that_is_none_is_left_out_and_the_rest_is_kept() -> None:
    read = report(Framed_IP_Address="300.1.1.1", Framed_IPv6_Prefix="2001:db8::/64", NAS_Port="5")
    assert read.details == {"framed_ipv6_prefix": "2001:db8::/64", "nas_port_id": "5"}


def test_the_name_of_a_session_is_what_four_attributes_say_and_nothing_else() -> None:
    same = report(Acct_Status_Type="Start", Framed_IP_Address="10.0.0.1")
    assert same.session_key == report().session_key
    others = [
        report(User_Name="student-2"),
        report(Acct_Session_Id="2"),
        report(without="Calling-Station-Id"),
    ]
    assert len({report().session_key, *(other.session_key for other in others)}) == 4


@pytest.mark.parametrize(
    ("status", "seconds"), [("Start", 0), ("Interim-Update", 90), ("Stop", 90), ("Accounting-On", None)]
)
def test_where_there_is_no_session_time_the_clock_tells_it(status: str, seconds: int | None) -> None:
    parsed = parse(without="Acct-Session-Time", Acct_Status_Type=status)
    if seconds is None:
        assert isinstance(parsed, NasRestart)
    else:
        assert isinstance(parsed, Report)
        assert parsed.reading(NOW - timedelta(seconds=90.5), NOW).seconds == seconds
        assert parsed.reading(NOW, NOW - timedelta(seconds=5)).seconds == 0


names = st.sampled_from([*PACKET, "Class", "Acct-Delay-Time", "Framed-IP-Address", "NAS-Port", "X"])
junk = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)
pairs_of_any_kind = st.lists(st.tuples(names, junk | st.sampled_from([*PACKET.values()])) | junk, max_size=8)


@given(junk | pairs_of_any_kind, junk | st.just(NAS), st.datetimes(timezones=st.just(NOW.tzinfo)))
def test_r15_no_packet_whatsoever_raises(pairs: Any, nas_address: Any, received_at: datetime) -> None:
    parsed = parse_accounting(pairs, nas_address, received_at)
    assert isinstance(parsed, Report | NasRestart | Malformed)
    if isinstance(parsed, Report):
        assert isinstance(parsed.nas_address, str)
