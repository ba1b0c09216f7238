"""Debian's ocserv with openconnect as its client: real octets, counted by a router nobody here wrote (rules R13, R15)."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sync_daemon import database
from sync_daemon.settings import Settings
from tests.integration.conftest import INSERT_NAS
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp
from tests.integration.ocserv import RadiusServer, Tunnel, Vpn, vpn, why_no_ocserv
from tests.integration.workers import Workers

SECRET = "radcli-ends-a-secret-at-a-space"
# ocserv looks at its timers now and then, and ends a session up to half a minute late.
LOOKS_SECONDS = 90.0

WHY_NOT = why_no_ocserv()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


@pytest.fixture
def router(tmp_path: Path, database_url: str) -> Iterator[Vpn]:
    """The namespaces, with ocserv entered as a NAS and not started."""
    with vpn(tmp_path / "vpn") as made:
        with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
            cursor.execute(INSERT_NAS, (made.router_address, "vpn", "ocserv", SECRET))
        yield made


@pytest.fixture
def radius(tmp_path: Path, settings: Settings, nas_secret: str, router: Vpn) -> Iterator[RadiusServer]:
    """FreeRADIUS at the end of ocserv's cable. radcli 1.2 does not sign Access-Requests, so it must not insist on it."""
    addresses = ("127.0.0.1", router.radius_address)
    server = Freeradius(
        tmp_path / "freeradius",
        settings,
        nas_secret,
        require_message_authenticator=False,
        addresses=addresses,
    )
    server.start()
    yield RadiusServer(router.radius_address, server.auth_port, server.acct_port, SECRET)
    server.stop()


def test_r15_octets_are_metered_exactly_and_in_the_direction_they_went(
    router: Vpn, radius: RadiusServer, isp: Isp, workers: Workers
) -> None:
    isp.enrol("anna")
    isp.offer("month", quota_octets=GIB)
    isp.sell("month", "anna")
    router.start(radius, interim_seconds=2)

    assert router.connect("anna", "wrong") is None
    tunnel = connected(router, "anna")
    wait_for(lambda: open_sessions(isp) == 1)
    first_upload, first_download = router.talk(300, upload_octets=1000, download_octets=300)
    assert f"RX: {first_upload} " in router.occtl("show", "user", "anna")
    wait_for(lambda: octets(isp) == [(first_upload, first_download)])  # by an interim: the session goes on
    assert open_sessions(isp) == 1

    upload, download = router.talk(200, upload_octets=100, download_octets=1200)
    router.disconnect(tunnel)
    wait_for(lambda: open_sessions(isp) == 0)
    assert octets(isp) == [(first_upload + upload, first_download + download)]
    told = isp.explain("anna")
    assert (told.input_octets, told.output_octets) == octets(isp)[0]
    causes = isp.ask("SELECT acctterminatecause, framedipaddress IS NOT NULL FROM radius.radacct")
    assert causes == [("User-Request", True)]


def test_r13_time_that_is_used_up_ends_the_session(
    router: Vpn, radius: RadiusServer, isp: Isp, workers: Workers
) -> None:
    isp.enrol("anna")
    isp.offer("moment", quota_seconds=20)
    isp.sell("moment", "anna")
    router.start(radius, options=",groupconfig=true")

    tunnel = connected(router, "anna")
    upload, download = router.talk(10, upload_octets=100, download_octets=100)
    wait_for(lambda: open_sessions(isp) == 0 and not tunnel.is_up)
    assert isp.ask("SELECT acctterminatecause FROM radius.radacct") == [("Session-Timeout",)]
    assert octets(isp) == [(upload, download)]
    assert router.connect("anna", PASSWORD) is None


def test_r31_it_listens_for_no_request_to_end_a_session(router: Vpn, radius: RadiusServer) -> None:
    router.start(radius)
    listeners = router.router.run("cat", "/proc/net/udp", "/proc/net/udp6").splitlines()
    assert [line for line in listeners if ":" in line] == []


def connected(router: Vpn, username: str) -> Tunnel:
    tunnel = router.connect(username, PASSWORD)
    assert tunnel is not None, router.log
    return tunnel


def open_sessions(isp: Isp) -> int:
    return int(isp.ask("SELECT count(*) FROM radius.session WHERE stopped_at IS NULL")[0][0])


def octets(isp: Isp) -> list[tuple[int, int]]:
    """Upload and download of the sessions there were."""
    rows = isp.ask("SELECT input_octets, output_octets FROM radius.session")
    return [(int(upload), int(download)) for upload, download in rows]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LOOKS_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {LOOKS_SECONDS:.0f} s"
        time.sleep(0.1)
