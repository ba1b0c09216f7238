"""Rule R6 on a real database: a device that logs in again leaves no old session behind, and the new one is never meant."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from herotill.journal import ACCOUNTING, encode
from rlm_herotill.journal import JournalWriter
from rlm_herotill.settings import Fdatasync
from sync_daemon.settings import Settings
from tests.contract.test_live_sessions import Isp

HERE, THERE = "192.0.2.1", "192.0.2.2"
PHONE, LAPTOP = "02:00:00:00:00:01", "02-00-00-00-00-02"
LIVE = "SELECT acct_session_id FROM radius.session WHERE stopped_at IS NULL ORDER BY 1"
ASKED = "SELECT action, reason, state, session_attributes FROM radius.coa_request ORDER BY coa_request_id"
ADD_NAS = (
    "INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES (%s, 'other', %s, 'secret secret')"
)


class Network(Isp):
    """Two routers, and reports of sessions at either."""

    def report(self, *said: tuple[str, str, str, str], after_seconds: float = 0) -> None:
        """Report in one batch: router, session, device, status."""
        journal = JournalWriter(self.settings.journal_directory, Fdatasync.NEVER)
        at = datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=after_seconds)
        for router, session, device, status in said:
            pairs = {"User-Name": "anna", "Acct-Session-Id": session, "Acct-Status-Type": status}
            pairs |= {"Calling-Station-Id": device, "Framed-IP-Address": "10.0.0.7"}
            record = [list(pair) for pair in pairs.items() if pair[1]]
            journal.append(encode(ACCOUNTING, int(at.timestamp() * 1_000_000), router, record))
        journal.close()
        while self.meter.apply_new():
            pass

    def live(self) -> list[str]:
        return [session for (session,) in self.ask(LIVE)]

    def asked(self) -> list[tuple[Any, ...]]:
        return self.ask(ASKED)


@pytest.fixture
def network(settings: Settings) -> Iterator[Network]:
    made = Network(settings)
    made.do(ADD_NAS, THERE, "coovachilli")
    made.give("purchase:1", max_sessions=1)
    yield made
    made.close()


def test_r6_the_old_session_at_another_router_is_asked_to_end(network: Network) -> None:
    network.report((HERE, "a", PHONE, "Start"))
    assert network.asked() == []
    network.report((THERE, "b", PHONE.upper().replace(":", "-"), "Start"), after_seconds=60)
    ((action, reason, state, named),) = network.asked()
    assert (action, reason, state) == ("disconnect", "replaced", "pending")
    assert (named["Acct-Session-Id"], named["Calling-Station-Id"]) == ("a", PHONE)
    (due,) = network.ask("SELECT next_attempt_at > created_at + interval '1 second' FROM radius.coa_request")
    assert due == (True,), "the router is given time to say Stop by itself"
    network.report((HERE, "a", PHONE, "Interim-Update"), (THERE, "b", PHONE, "Interim-Update"))
    assert len(network.asked()) == 1, "it is asked for once"


def test_r6_a_router_that_ended_the_old_session_itself_is_asked_nothing(network: Network) -> None:
    network.report((HERE, "a", PHONE, "Start"))
    network.report((HERE, "a", PHONE, "Stop"), (HERE, "b", PHONE, "Start"), after_seconds=60)
    network.report((HERE, "c", PHONE, "Start"), (HERE, "b", PHONE, "Stop"), after_seconds=120)
    assert network.asked() == []
    assert network.live() == ["c"]


def test_r6_at_the_same_router_only_the_old_sessions_id_names_it(network: Network) -> None:
    network.report((HERE, "a", PHONE, "Start"))
    network.report((HERE, "b", PHONE, "Start"), after_seconds=60)
    ((_, _, _, named),) = network.asked()
    assert named == {"User-Name": "anna", "Acct-Session-Id": "a"}


def test_r6_a_router_that_calls_both_sessions_the_same_is_not_asked_and_the_old_one_is_closed(
    network: Network,
) -> None:
    """It was rebooted and counts its sessions from the beginning again: a Disconnect-Request would end the new one."""
    network.report((HERE, "1", PHONE, "Start"))
    network.report((HERE, "1", PHONE, "Start"), after_seconds=600)
    assert network.asked() == []
    closed = network.ask("SELECT terminate_cause FROM radius.session ORDER BY started_at")
    assert closed == [("Replaced-Session",), (None,)]
    archived = network.ask("SELECT acctterminatecause FROM radius.radacct ORDER BY acctstarttime")
    assert archived[0] == ("Replaced-Session",)
    assert archived[1] in {("",), (None,)}


def test_r6_a_session_closed_as_replaced_that_reports_on_is_open_again(network: Network) -> None:
    network.do("UPDATE radius.nas SET type = 'ocserv'")  # takes no requests at all
    network.report((HERE, "a", PHONE, "Start"))
    network.report((THERE, "b", PHONE, "Start"), after_seconds=60)
    assert network.live() == ["b"]
    network.report((HERE, "a", PHONE, "Interim-Update"), after_seconds=120)
    assert network.live() == ["a", "b"]
    network.report((HERE, "a", PHONE, "Stop"), after_seconds=180)
    assert network.live() == ["b"]


def test_r6_another_device_replaces_nobody(network: Network) -> None:
    network.report((HERE, "a", PHONE, "Start"))
    network.report((HERE, "b", LAPTOP, "Start"), (HERE, "c", "", "Start"), after_seconds=60)
    assert network.asked() == []
    assert network.live() == ["a", "b", "c"]


def test_r6_where_devices_are_not_limited_nobody_is_replaced(network: Network) -> None:
    network.do("UPDATE radius.entitlement SET policy = '{}'")
    network.report((HERE, "a", PHONE, "Start"), (HERE, "b", PHONE, "Start"))
    assert network.asked() == []
    assert network.live() == ["a", "b"]
