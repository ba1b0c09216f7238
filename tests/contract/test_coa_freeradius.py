"""FreeRADIUS as the NAS: an independent judge of our requests (RFC 5176), in its own log's words."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from sync_daemon.coa.client import ClientSettings, DynamicAuthorizationClient
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange
from sync_daemon.coa.packets import Ack, Action, Nak, Timeout
from sync_daemon.coa.timing import RetransmissionTiming
from tests.contract.coa_fake_nas import wait_until

DICTIONARY: Any = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call]
SECRET = b"nas secret"

CONFIGURATION = """
prefix = /usr
localstatedir = {directory}
raddbdir = {directory}
logdir = {directory}
run_dir = {directory}
libdir = /usr/lib/freeradius
name = coa-judge
security {{
    allow_vulnerable_openssl = yes
}}
proxy_requests = no
thread pool {{
    start_servers = 1
    max_servers = 2
    min_spare_servers = 1
    max_spare_servers = 2
}}
client strict {{
    ipaddr = {host}
    secret = "nas secret"
    require_message_authenticator = yes
}}
modules {{
    always ok {{
        rcode = ok
    }}
    always reject {{
        rcode = reject
    }}
}}
server judge {{
    listen {{
        type = coa
        {family} = {host}
        port = {port}
    }}
    recv-coa {{
        if (!&Event-Timestamp || !&Message-Authenticator) {{
            reject
        }}
        elsif (&User-Name == "gone") {{
            update reply {{
                &Error-Cause := Session-Context-Not-Found
            }}
            reject
        }}
        else {{
            update reply {{
                &Message-Authenticator := 0x00
            }}
            ok
        }}
    }}
    send-coa {{
        ok
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Judge:
    host: str
    port: int
    log: Path

    def exchange(self, action: Action, attributes: Mapping[str, str], secret: bytes = SECRET) -> Exchange:
        request = AuthorizationRequest(
            action, attributes, Destination(ip_address(self.host), self.port, secret)
        )

        async def main() -> Exchange:
            timing = RetransmissionTiming(0.4, 1.0, 2, 2.0)
            client = DynamicAuthorizationClient(DICTIONARY, ClientSettings(timing=timing))
            try:
                return await client.exchange(request)
            finally:
                client.close()

        return asyncio.run(main())


@pytest.fixture(params=["127.0.0.1", "::1"])
def judge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Judge]:
    """A FreeRADIUS that takes dynamic authorization and insists on Message-Authenticator."""
    host: str = request.param
    family = "ipv6addr" if ":" in host else "ipaddr"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    configuration = CONFIGURATION.format(directory=tmp_path, host=host, port=port, family=family)
    (tmp_path / "radiusd.conf").write_text(configuration)
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["freeradius", "-f", "-xx", "-l", "stdout", "-d", str(tmp_path)], stdout=output, stderr=output
        )
        try:
            wait_until(lambda: "Ready to process requests" in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield Judge(host, port, log)
        finally:
            process.terminate()
            process.wait()


def test_freeradius_accepts_our_requests_and_we_its_answers(judge: Judge) -> None:
    session = {"User-Name": "student-1", "Acct-Session-Id": "8100001a", "Framed-IP-Address": "10.5.50.2"}
    assert judge.exchange(Action.DISCONNECT, session).outcome == Ack()
    assert judge.exchange(Action.COA, {**session, "Mikrotik-Rate-Limit": "1M/2M"}).outcome == Ack()
    assert judge.exchange(Action.DISCONNECT, {"User-Name": "gone"}).outcome == Nak(503)
    log = judge.log.read_text()
    for line in ("Received Disconnect-Request", "Received CoA-Request", 'Mikrotik-Rate-Limit = "1M/2M"'):
        assert line in log


def test_freeradius_drops_what_another_secret_signed(judge: Judge) -> None:
    assert judge.exchange(Action.DISCONNECT, {"User-Name": "student-1"}, b"wrong").outcome == Timeout()
    assert "invalid" in judge.log.read_text().lower()
