"""What a device says within its tunnel is the device's word alone: it decides nothing that the router is to say."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync_daemon.eap_certificate import own_certificate
from sync_daemon.settings import Settings
from tests.integration.conftest import NAS_SECRET
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp
from tests.integration.ttls import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    CALLING_STATION_ID,
    USER_NAME,
    USER_PASSWORD,
    TtlsSupplicant,
)

FIRST, SECOND = "02-00-00-00-00-01", "02-00-00-00-00-02"
NAME, SECRET = (USER_NAME, b"anna"), (USER_PASSWORD, PASSWORD.encode())
# FreeRADIUS's own numbers, which a packet cannot carry and a tunnel can (dictionary.freeradius.internal).
OUR_MARKS = range(1800, 1804)


@pytest.fixture
def isp(settings: Settings) -> Isp:
    isp = Isp(settings)
    isp.enrol("anna")
    isp.offer("gib", {"max_sessions": 1}, quota_octets=GIB)
    isp.sell("gib", "anna")
    return isp


@pytest.fixture
def server(tmp_path: Path, settings: Settings, nas_secret: str, isp: Isp) -> Iterator[Freeradius]:
    certificate = own_certificate(tmp_path / "eap", datetime.now(UTC))
    server = Freeradius(tmp_path / "freeradius", settings, nas_secret, eap=certificate)
    server.start()
    yield server
    server.stop()


def device(server: Freeradius, tmp_path: Path, mac: str = FIRST) -> TtlsSupplicant:
    return TtlsSupplicant(server.auth_port, NAS_SECRET.encode(), tmp_path / "eap/ca.pem", mac)


def test_r6_a_device_cannot_pass_for_another_by_what_it_says_within(
    server: Freeradius, tmp_path: Path
) -> None:
    assert device(server, tmp_path).log_in(NAME, SECRET) == ACCESS_ACCEPT
    pretended = (CALLING_STATION_ID, FIRST.encode())
    assert device(server, tmp_path, SECOND).log_in(NAME, SECRET, pretended) == ACCESS_REJECT
    assert device(server, tmp_path).log_in(NAME, SECRET, (CALLING_STATION_ID, b"other")) == ACCESS_ACCEPT


def test_r5_a_device_cannot_say_that_it_was_decided(server: Freeradius, isp: Isp, tmp_path: Path) -> None:
    """FreeRADIUS 3.2.1 takes no such attribute from a tunnel; this holds it, and whatever another version does."""
    with isp.radius() as cursor:
        cursor.execute("UPDATE radius.managed_account SET status = 'disabled' WHERE username = 'anna'")
    for value in (b"decided", b"reject"):
        marks = [(number, value) for number in OUR_MARKS]
        assert device(server, tmp_path).log_in(NAME, SECRET, *marks) == ACCESS_REJECT


def test_a_router_that_does_not_name_the_device_is_answered_too(server: Freeradius, tmp_path: Path) -> None:
    assert device(server, tmp_path, "").log_in(NAME, SECRET, (CALLING_STATION_ID, b"mine")) == ACCESS_ACCEPT
