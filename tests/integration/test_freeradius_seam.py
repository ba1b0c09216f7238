"""The seam itself, seen by radclient: who is answered, what is kept, that starting and stopping are clean."""

import socket
import struct
from pathlib import Path

import pytest

from sync_daemon import database
from sync_daemon.settings import Settings
from tests.contract.coa_fake_nas import wait_until
from tests.integration.freeradius import Freeradius
from tests.integration.radclient import ask
from tests.integration.workers import Workers

SIGNED = "Message-Authenticator = 0x00"
BAD_UTF8_NAME = 'User-Name = "b\\377b"'


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_unknown_user_is_rejected_by_a_signed_reply(
    radius_server: Freeradius, nas_secret: str, host: str
) -> None:
    pairs = ['User-Name = "nobody"', 'User-Password = "x"', SIGNED]
    reply = ask("auth", radius_server.auth_port, pairs, secret=nas_secret, host=host)
    assert reply.code == "Access-Reject"
    assert reply.attributes[0][0] == "Message-Authenticator"


def _ask_unsigned(port: int) -> bytes:
    """Send an Access-Request by hand: radclient signs every one of them from 3.2.6 on."""
    user_name, chap_password = b"\x01\x08nobody", b"\x03\x13" + bytes(17)
    attributes = user_name + chap_password
    packet = struct.pack("!BBH16s", 1, 7, 20 + len(attributes), bytes(16)) + attributes
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.settimeout(1.0)
        nas.sendto(packet, ("127.0.0.1", port))
        return nas.recv(4096)


def test_an_unsigned_access_request_is_not_answered(radius_server: Freeradius) -> None:
    with pytest.raises(TimeoutError):
        _ask_unsigned(radius_server.auth_port)


def test_r33_an_unsigned_access_request_is_answered_where_the_operator_allows_it_and_noted(
    tmp_path: Path, settings: Settings, nas_secret: str, workers: Workers, database_url: str
) -> None:
    server = Freeradius(tmp_path / "freeradius", settings, nas_secret, require_message_authenticator=False)
    server.start()
    try:
        assert _ask_unsigned(server.auth_port)[0] == 3  # Access-Reject
        signed = ask(
            "auth",
            server.auth_port,
            ['User-Name = "somebody"', 'User-Password = "x"', SIGNED],
            secret=nas_secret,
        )
        assert signed.code == "Access-Reject"
        wait_until(lambda: _noted(database_url) == [("nobody", True), ("somebody", False)])
    finally:
        server.stop()


def _noted(url: str) -> list[tuple[str, bool]]:
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT username, unsigned FROM radius.login_outcome ORDER BY username")
        return cursor.fetchall()


def test_a_stranger_is_not_answered_and_does_no_harm(radius_server: Freeradius, nas_secret: str) -> None:
    pairs = ['User-Name = "nobody"', 'User-Password = "x"', SIGNED]
    stranger = [*pairs, "Packet-Src-IP-Address = 127.0.0.9"]
    assert ask("auth", radius_server.auth_port, stranger, secret=nas_secret, timeout_seconds=0.5).code is None
    assert ask("auth", radius_server.auth_port, pairs, secret=nas_secret).code == "Access-Reject"


def test_r33_a_new_nas_works_without_a_restart(
    radius_server: Freeradius, nas_secret: str, database_url: str
) -> None:
    pairs = ['User-Name = "nobody"', 'User-Password = "x"', SIGNED, "Packet-Src-IP-Address = 127.0.0.77"]
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO radius.nas (nasname, shortname, secret) VALUES ('127.0.0.64/26', 'net', %s)",
            (nas_secret,),
        )
        cursor.execute("SELECT pg_notify('herotill_nas', '')")
    reply = ask("auth", radius_server.auth_port, pairs, secret=nas_secret, retries=20, timeout_seconds=0.3)
    assert reply.code == "Access-Reject"


def test_a_user_name_that_is_not_utf8_is_rejected(radius_server: Freeradius, nas_secret: str) -> None:
    pairs = [BAD_UTF8_NAME, 'User-Password = "x"', SIGNED]
    reply = ask("auth", radius_server.auth_port, pairs, secret=nas_secret)
    assert reply.code == "Access-Reject"
    assert reply.attributes[0][0] == "Message-Authenticator"
    assert "UTF-8" in (reply.get("Reply-Message") or "")


def test_accounting_that_is_not_utf8_is_answered_and_kept(radius_server: Freeradius, nas_secret: str) -> None:
    bad = [BAD_UTF8_NAME, "Acct-Status-Type = Start", 'Acct-Session-Id = "77aa"']
    good = ['User-Name = "bob"', "Acct-Status-Type = Start", 'Acct-Session-Id = "78aa"']
    for pairs in (good, bad, good):
        assert ask("acct", radius_server.acct_port, pairs, secret=nas_secret).code == "Accounting-Response"
    kept = (radius_server.settings.journal_directory / "quarantine/bad-utf8").read_text()
    assert '"77aa"' in kept
    assert '"78aa"' not in kept
    assert "Packet-Src-IP-Address = 127.0.0.1" in kept


def test_it_starts_again_after_a_stop_and_after_a_crash(radius_server: Freeradius, nas_secret: str) -> None:
    pairs = ['User-Name = "nobody"', 'User-Password = "x"', SIGNED]
    radius_server.stop()
    radius_server.start()
    radius_server.kill()
    radius_server.start()
    assert ask("auth", radius_server.auth_port, pairs, secret=nas_secret).code == "Access-Reject"
