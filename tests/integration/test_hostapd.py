"""Debian's hostapd and wpa_supplicant: 802.1X on a wire, and its own view of when a session ends (rules R31, R5, R13)."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from billing import accounts
from herotill.dialect import dialects
from herotill.reasons import REPLY_MESSAGES, Reason
from sync_daemon import database
from sync_daemon.eap_certificate import own_certificate
from sync_daemon.settings import Settings
from tests.integration.conftest import INSERT_NAS, NAS_SECRET
from tests.integration.freeradius import Freeradius
from tests.integration.hostapd import (
    DAS_PORT,
    MAC,
    SECRET,
    Device,
    RadiusServer,
    Switch,
    switch,
    why_no_hostapd,
)
from tests.integration.isp import GIB, PASSWORD, Isp, now
from tests.integration.namespaces import end
from tests.integration.radclient import ask
from tests.integration.workers import Workers

WHY_NOT = why_no_hostapd()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")

UNKNOWN = ("Disconnect-NAK", "Session-Context-Not-Found")
UNSUPPORTED = ("Disconnect-NAK", "Unsupported-Attribute")
SET_PORT = (
    "INSERT INTO radius.nas_profile (nas_id, coa_port) SELECT id, %s FROM radius.nas WHERE nasname = %s"
)


@pytest.fixture
def isp(settings: Settings) -> Isp:
    isp = Isp(settings)
    isp.enrol("anna")
    isp.offer("month", {"interim_interval_seconds": 60}, quota_octets=GIB, quota_seconds=3600)
    isp.sell("month", "anna")
    return isp


@pytest.fixture
def router(tmp_path: Path, database_url: str) -> Iterator[Switch]:
    """The namespaces, with hostapd entered as a NAS and not started."""
    with switch(tmp_path / "switch") as made:
        with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
            cursor.execute(INSERT_NAS, (made.address, "switch", "hostapd", SECRET))
            cursor.execute(SET_PORT, (DAS_PORT, made.address))
        yield made


@pytest.fixture
def radius(tmp_path: Path, settings: Settings, nas_secret: str, router: Switch) -> Iterator[RadiusServer]:
    """FreeRADIUS with EAP, at the end of hostapd's cable."""
    certificate = own_certificate(tmp_path / "eap", datetime.now(UTC))
    addresses = ("127.0.0.1", router.server_address)
    server = Freeradius(tmp_path / "freeradius", settings, nas_secret, eap=certificate, addresses=addresses)
    server.start()
    router.wait_until(lambda: is_warm(server), "FreeRADIUS does not reach its database")
    yield RadiusServer(router.server_address, server.auth_port, server.acct_port, tmp_path / "eap/ca.pem")
    server.stop()


def is_warm(server: Freeradius) -> bool:
    """Whether a stranger is told so, not that the database did not answer in time, as at first on a busy machine."""
    pairs = ('User-Name = "nobody"', 'User-Password = "x"', "Message-Authenticator = 0x00")
    reply = ask("auth", server.auth_port, pairs, secret=NAS_SECRET)
    return reply.get("Reply-Message") == REPLY_MESSAGES[Reason.UNKNOWN_USER]


def md5(password: str = PASSWORD, user: str = "anna") -> dict[str, str]:
    return {"eap": "MD5", "identity": f'"{user}"', "password": f'"{password}"'}


def peap(radius: RadiusServer, password: str = PASSWORD) -> dict[str, str]:
    tunnel = {
        "anonymous_identity": '"anonymous"',
        "phase2": '"auth=MSCHAPV2"',
        "ca_cert": f'"{radius.authority}"',
    }
    return {"eap": "PEAP", "identity": '"anna"', "password": f'"{password}"'} | tunnel


def test_r15_eap_md5_on_a_wire_reports_as_often_as_it_is_told_until_the_subscriber_leaves(
    router: Switch, radius: RadiusServer, isp: Isp, workers: Workers
) -> None:
    router.start(radius)
    device = connected(router, **md5())
    wait_for(router, lambda: open_sessions(isp) == 1)
    router.carry_traffic()
    # Acct-Interim-Interval of the Accept; less than 60 hostapd does not take from it.
    router.wait_until(lambda: session_seconds(isp) >= 60, "no interim came", 120)
    assert open_sessions(isp) == 1

    device.log_off()
    wait_for(router, lambda: open_sessions(isp) == 0)
    # The wired driver reads no counters: time is metered, octets are not.
    assert isp.ask("SELECT input_octets, output_octets FROM radius.session") == [(0, 0)]
    assert isp.ask("SELECT callingstationid, acctterminatecause FROM radius.radacct") == [
        (MAC.replace(":", "-").upper(), "User-Request")
    ]


def test_r13_session_timeout_ends_the_session_at_the_port(
    router: Switch, radius: RadiusServer, isp: Isp, workers: Workers
) -> None:
    isp.enrol("bert")
    isp.offer("moment", quota_seconds=5)
    isp.sell("moment", "bert")
    router.start(radius)
    connected(router, **md5(user="bert"))
    wait_for(router, lambda: open_sessions(isp) == 0 and session_seconds(isp) > 0)
    assert isp.ask("SELECT acctterminatecause FROM radius.radacct") == [("Session-Timeout",)]
    assert not is_open(router)


def test_r31_peap_is_metered_to_the_name_within_and_ends_when_we_say_so(
    router: Switch, radius: RadiusServer, isp: Isp, workers: Workers
) -> None:
    router.start(radius)
    connected(router, **peap(radius))
    wait_for(router, lambda: open_sessions(isp) == 1)
    assert isp.ask("SELECT username FROM radius.radacct") == [
        ("anna",)
    ]  # not anonymous: User-Name of the Accept
    assert limits(router)["dot1xAuthSessionUserName"] == "anna"

    with isp.books() as books:
        accounts.disable(books, username="anna", now=now())
    wait_for(router, lambda: open_sessions(isp) == 0)
    wait_for(router, lambda: states(isp) == ["confirmed"])
    attempts = isp.ask("SELECT action, profile, result FROM radius.coa_attempt")
    assert attempts == [("disconnect", "generic", "ack")]
    # Its Stop after a Disconnect gives no Acct-Terminate-Cause.
    assert isp.ask("SELECT acctterminatecause FROM radius.radacct") == [("Unknown",)]
    wait_for(router, lambda: not is_open(router))


@pytest.mark.parametrize("method", ["md5", "peap"])
def test_a_wrong_password_opens_no_port(
    router: Switch, radius: RadiusServer, isp: Isp, workers: Workers, method: str
) -> None:
    router.start(radius)
    device = router.plug_in(**(md5("wrong") if method == "md5" else peap(radius, "wrong")))
    wait_for(router, lambda: device.is_refused)
    assert not is_open(router)
    wait_for(router, lambda: outcomes(isp, "anna") == [(False, "bad-credentials")])
    assert open_sessions(isp) == 0


def test_r31_hostapd_drops_what_is_stale_or_unsigned_and_answers_what_is_fresh(
    router: Switch, radius: RadiusServer, isp: Isp
) -> None:
    router.start(radius)
    nobody = 'User-Name = "nobody"'
    timestamp, signature = fresh()

    assert disconnect(router, nobody, *fresh(seconds_ago=600)) is None
    assert disconnect(router, nobody, timestamp) is None
    assert disconnect(router, nobody, signature) is None
    assert disconnect(router, nobody, *fresh()) == UNKNOWN


def test_r31_each_name_of_a_session_that_the_dialect_has_is_understood(
    router: Switch, radius: RadiusServer, isp: Isp, workers: Workers
) -> None:
    router.start(radius)
    for number, profile in enumerate(dialects()["hostapd"].disconnect, 1):
        device = connected(router, **md5())
        wait_for(router, lambda: open_sessions(isp) == 1)
        names = named(isp, *profile.required, *profile.optional)
        assert disconnect(router, *fresh(), *names, "Framed-IP-Address = 192.0.2.1") == UNSUPPORTED
        assert disconnect(router, *fresh(), *names) == ("Disconnect-ACK", None), profile.name
        wait_for(router, lambda: stopped(isp) == number)  # noqa: B023 - at once
        end(device.process)


def fresh(seconds_ago: int = 0) -> tuple[str, str]:
    """What hostapd asks of every request: when it was made, and a signature."""
    return f"Event-Timestamp = {int(now().timestamp()) - seconds_ago}", "Message-Authenticator = 0x00"


def named(isp: Isp, *attributes: str) -> list[str]:
    """The open session by these names."""
    known = isp.ask(
        "SELECT username, acctsessionid, callingstationid FROM radius.radacct WHERE acctstoptime IS NULL"
    )
    values = dict(zip(("User-Name", "Acct-Session-Id", "Calling-Station-Id"), known[0], strict=True))
    return [f'{name} = "{values[name]}"' for name in attributes]


def disconnect(router: Switch, *pairs: str) -> tuple[str, str | None] | None:
    reply = ask("disconnect", DAS_PORT, pairs, secret=SECRET, host=router.address, timeout_seconds=1)
    return None if reply.code is None else (reply.code, reply.get("Error-Cause"))


def connected(router: Switch, **network: str) -> Device:
    device = router.plug_in(**network)
    wait_for(router, lambda: device.is_connected and is_open(router))
    return device


def limits(router: Switch) -> dict[str, str]:
    """What hostapd knows of the station at its port."""
    lines = router.stations().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def is_open(router: Switch) -> bool:
    return "AUTHORIZED" in limits(router).get("flags", "")


def open_sessions(isp: Isp) -> int:
    return int(isp.ask("SELECT count(*) FROM radius.session WHERE stopped_at IS NULL")[0][0])


def stopped(isp: Isp) -> int:
    return int(isp.ask("SELECT count(*) FROM radius.session WHERE stopped_at IS NOT NULL")[0][0])


def session_seconds(isp: Isp) -> int:
    return int(isp.ask("SELECT coalesce(max(session_seconds), 0) FROM radius.session")[0][0])


def states(isp: Isp) -> list[str]:
    return [row[0] for row in isp.ask("SELECT state FROM radius.coa_request ORDER BY coa_request_id")]


def outcomes(isp: Isp, username: str) -> list[tuple[bool, str]]:
    rows = isp.ask("SELECT accepted, reason FROM radius.login_outcome WHERE username = %s", username)
    return [(accepted, reason) for accepted, reason in rows]


def wait_for(router: Switch, condition: Callable[[], bool]) -> None:
    router.wait_until(condition, "did not happen")
