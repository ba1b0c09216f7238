"""What an Access-Accept says, seen by radclient: the first attribute, Class, limits split into Gigawords, dialects."""

import asyncio

import pytest

from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, until
from tests.integration.radclient import Reply, ask
from tests.integration.workers import Workers


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


def log_in(server: Freeradius, secret: str, username: str, host: str = "127.0.0.1") -> Reply:
    pairs = [f'User-Name = "{username}"', f'User-Password = "{PASSWORD}"', "Message-Authenticator = 0x00"]
    return ask("auth", server.auth_port, pairs, secret=secret, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_accept_is_signed_first_and_says_every_limit(
    radius_server: Freeradius, isp: Isp, nas_secret: str, host: str
) -> None:
    isp.enrol("anna")
    policy = {
        "download_bits_per_second": 10_000_000,
        "upload_bits_per_second": 2_000_000,
        "address_list": "gold",
    }
    isp.offer("big", policy, quota_octets=9 * GIB + 5, seconds_after_purchase=3600)
    isp.sell("big", "anna")

    reply = log_in(radius_server, nas_secret, "anna", host)

    assert reply.code == "Access-Accept"
    assert reply.attributes[0][0] == "Message-Authenticator"
    assert reply.get("Mikrotik-Total-Limit") == str(GIB + 5)
    assert reply.get("Mikrotik-Total-Limit-Gigawords") == "2"
    assert reply.get("Mikrotik-Rate-Limit") == "2000000/10000000"
    assert reply.get("Mikrotik-Address-List") == "gold"
    assert 3590 <= int(reply.get("Session-Timeout") or 0) <= 3600
    assert 540 <= int(reply.get("Acct-Interim-Interval") or 0) <= 660
    assert bytes.fromhex((reply.get("Class") or "0x")[2:]).startswith(b"HT1.")


def test_rows_an_operator_wrote_are_sent_too_but_never_one_freeradius_would_misread(
    radius_server: Freeradius, isp: Isp, nas_secret: str
) -> None:
    isp.enrol("anna")
    isp.offer("day", quota_octets=GIB)
    isp.sell("day", "anna")
    with isp.radius() as cursor:
        for attribute, operator, value in (
            ("Reply-Message", "=", r"a \ backslash and \n no newline"),
            ("Framed-IP-Address", ":=", "300.1.1.1"),
            ("Idle-Timeout", ":=", "99999999999"),
            ("No-Such-Attribute", ":=", "1"),
        ):
            cursor.execute(
                "INSERT INTO radius.radreply (username, attribute, op, value) VALUES ('anna', %s, %s, %s)",
                (attribute, operator, value),
            )

    reply = log_in(radius_server, nas_secret, "anna")

    assert reply.code == "Access-Accept"
    assert "backslash" in (reply.get("Reply-Message") or "")
    assert reply.get("Framed-IP-Address") is None
    assert reply.get("Idle-Timeout") is None
    radius_server.await_log("No-Such-Attribute")


def test_every_outcome_is_in_radpostauth_with_its_reason_beside_it_and_no_password(
    radius_server: Freeradius, isp: Isp, nas_secret: str, settings: Settings
) -> None:
    isp.enrol("anna")
    log_in(radius_server, nas_secret, "anna")
    log_in(radius_server, nas_secret, "nobody")
    meter = Workers(settings, "meter")
    meter.start()
    try:
        asyncio.run(until(lambda: isp.ask("SELECT count(*) FROM radius.radpostauth") == [(2,)]))
    finally:
        meter.stop()
    assert isp.ask("SELECT username, reply, pass FROM radius.radpostauth ORDER BY id") == [
        ("anna", "Access-Reject", None),
        ("nobody", "Access-Reject", None),
    ]
    assert isp.ask("SELECT username, accepted, reason FROM radius.login_outcome ORDER BY occurred_at") == [
        ("anna", False, "no-credit"),
        ("nobody", False, "unknown-user"),
    ]
