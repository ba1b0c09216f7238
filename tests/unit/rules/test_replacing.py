"""Rule R6: which old sessions are over when a device logs in again, and how they are named without meaning others."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herotill.decision import LoginRequest, Reject, decide
from herotill.dialect import dialects
from herotill.policy import ServicePolicy
from herotill.reasons import Reason
from herotill.replacing import device_of, devices_on, left_behind, naming_only
from herotill.sessions import Session
from tests.unit.rules.build import LAPTOP, NOW, PHONE, account, at, begun, session

BEHIND_ONE_ADDRESS = "203.0.113.9"


def names(sessions: Sequence[Session]) -> list[str]:
    return [one.acct_unique_id for one in sessions]


def online(name: str, device: str = PHONE, began: float = 0, **changes: Any) -> Session:
    return session(name, device, started_at=at(began), **({"acct_session_id": name} | changes))


OLD, NEW, OTHER = online("old", began=-60), online("new"), online("other", LAPTOP, -90)


def test_r6_the_old_session_of_a_device_is_over_and_no_others() -> None:
    assert left_behind([NEW, OTHER, OLD], [PHONE.lower().replace("-", ":")], 2) == [OLD]
    assert left_behind([NEW, OTHER], [device_of(NEW)], 2) == []


def test_r6_a_device_is_the_same_in_every_notation() -> None:
    elsewhere = online("elsewhere", "0200.0000.0001", -60)
    assert left_behind([NEW, elsewhere], [device_of(NEW)], 5) == [elsewhere]
    request = LoginRequest("student-1", "login", "02:00:00:00:00:01")
    one = account(grants=(begun(policy=ServicePolicy(max_sessions=1)),), sessions=(elsewhere,))
    assert not isinstance(decide(request, one, NOW), Reject)


def test_r6_devices_are_counted_and_not_the_sessions_they_left_behind() -> None:
    two = account(grants=(begun(policy=ServicePolicy(max_sessions=2)),), sessions=(OLD, NEW))
    assert not isinstance(decide(LoginRequest("student-1", "login", LAPTOP), two, NOW), Reject)
    three = account(grants=two.grants, sessions=(OLD, NEW, OTHER))
    tablet = LoginRequest("student-1", "login", "02-00-00-00-00-03")
    assert decide(tablet, three, NOW) == Reject(Reason.TOO_MANY_SESSIONS)


def test_r6_without_a_limit_two_connections_of_one_device_are_meant() -> None:
    assert left_behind([OLD, NEW], [device_of(NEW)], None) == []


def test_r6_what_a_router_reports_of_one_login_is_not_another_login() -> None:
    """Cisco ISG reports a subscriber and its services under Acct-Session-Ids of their own, with one Class."""
    parent, service = online("parent", login_id="l1"), online("service", began=1, login_id="l1")
    again = online("again", began=9, login_id="l2")
    assert left_behind([parent, service], [device_of(parent)], 1) == []
    assert left_behind([parent, service, again], [device_of(parent)], 1) == [parent, service]


def test_r6_several_devices_may_be_behind_one_address_so_only_what_is_too_many_is_over() -> None:
    behind = [online(name, BEHIND_ONE_ADDRESS, n) for n, name in enumerate("abc")]
    for limit, over in [(1, ["a", "b"]), (2, ["a"]), (3, [])]:
        assert names(left_behind(behind, [BEHIND_ONE_ADDRESS], limit)) == over


DEVICES = st.sampled_from([PHONE, LAPTOP, "0200.0000.0001", BEHIND_ONE_ADDRESS, ""])


@given(st.lists(DEVICES, max_size=6), st.integers(1, 3))
def test_r6_after_replacing_a_device_is_on_once_and_the_newest_stays(devices: list[str], limit: int) -> None:
    live = [online(str(n), device, n) for n, device in enumerate(devices)]
    over = left_behind(live, {device_of(one) for one in live if one.calling_station_id}, limit)
    kept = [one for one in live if one not in over]
    on = [device_of(one) for one in kept if device_of(one).count(":") == 5]
    assert len(on) == len(set(on))
    assert devices_on(kept) <= devices_on(live)
    if live:
        assert live[-1] in kept


# -- naming the old session


@pytest.mark.parametrize("make", sorted(dialects()))
def test_r6_beside_its_successor_a_session_is_named_by_its_own_id_or_not_at_all(make: str) -> None:
    profiles = dialects()[make].disconnect
    details = {"framed_ip_address": "10.0.0.7", "nas_port_id": "wlan1"}
    old, new = online("old", began=-9, details=details), online("new", details=details)
    named = naming_only(old, [old, new], profiles)
    if not any("Acct-Session-Id" in profile.required for profile in profiles):
        assert named == {}
        return
    assert named["Acct-Session-Id"] == "old"
    assert set(named) <= {"Acct-Session-Id", "User-Name"}, "what both have in common may end the new one"


def test_r6_a_router_that_calls_both_by_one_name_is_not_asked() -> None:
    generic = dialects()["generic"].disconnect
    same = online("1", acct_session_id="0001", began=-9), online("2", acct_session_id="0001")
    assert naming_only(same[0], same, generic) == {}


def test_r6_alone_at_its_router_a_session_is_named_by_all_that_is_known() -> None:
    generic = dialects()["generic"].disconnect
    roamed = online("new", nas_address="192.0.2.2")
    assert "Calling-Station-Id" in naming_only(OLD, [OLD, roamed], generic)
    assert naming_only(OLD, [OLD, roamed], ()) == {}
