"""FreeRADIUS as the NAS: an independent judge of our requests (RFC 5176), in its own log's words."""

import asyncio
import re
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from sync_daemon.coa.client import ClientSettings, DynamicAuthorizationClient
from sync_daemon.coa.exchange import AuthorizationRequest, Destination, Exchange
from sync_daemon.coa.packets import Ack, Action, AttributeValue, Nak, Timeout, read_answer, sign_request
from sync_daemon.coa.timing import RetransmissionTiming
from tests.contract.coa_every_make import every_request
from tests.contract.coa_fake_nas import wait_until

DICTIONARY: Any = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call]
SECRET = b"nas secret"
Attributes = Mapping[str, AttributeValue]
REPEATED = "Sending duplicate reply|Ignoring duplicate packet"

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

    def exchange(self, action: Action, attributes: Attributes, secret: bytes = SECRET) -> Exchange:
        return self.exchange_all([(action, attributes)], secret)[0]

    def exchange_all(
        self, asked: Iterable[tuple[Action, Attributes]], secret: bytes = SECRET
    ) -> list[Exchange]:
        where = Destination(ip_address(self.host), self.port, secret)
        requests = [AuthorizationRequest(action, attributes, where) for action, attributes in asked]

        async def main() -> list[Exchange]:
            timing = RetransmissionTiming(0.4, 1.0, 2, 2.0)
            client = DynamicAuthorizationClient(DICTIONARY, ClientSettings(timing=timing))
            try:
                return await asyncio.gather(*(client.exchange(request) for request in requests))
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
    # What 3.2.1 has not got of CoovaChilli's; `herotill freeradius install` brings it to the real one.
    coovachilli = dictionary_path().with_name("dictionary.coova")
    standard = "$INCLUDE /usr/share/freeradius/dictionary\n"
    (tmp_path / "dictionary").write_text(f"{standard}$INCLUDE {coovachilli}\n")
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


def test_r31_freeradius_takes_every_request_to_every_make(judge: Judge) -> None:
    """Each is signed and dated rightly, and FreeRADIUS has a name for every attribute.

    Ruckus wants Service-Type in a Disconnect-Request, which RFC 5176 §3.6 forbids and FreeRADIUS refuses.
    """
    requests = [
        (dialect, action, attributes)
        for dialect, action, attributes in every_request()
        if action is Action.COA or "Service-Type" not in attributes
    ]
    exchanges = judge.exchange_all((action, attributes) for _, action, attributes in requests)
    refused = [
        (dialect.name, action, exchange.outcome)
        for (dialect, action, _), exchange in zip(requests, exchanges, strict=True)
        if exchange.outcome != Ack()
    ]
    assert refused == []
    log = judge.log.read_text()
    assert "Attr-" not in log
    names = {name for _, _, attributes in requests for name in attributes}
    assert {name for name in names if f"  {name} = " not in log} == set()


def test_r31_a_retransmission_is_known_for_one(judge: Judge) -> None:
    """It is not done twice: it is answered again, or ignored where the first is not quite done with."""
    packet = sign_request(
        DICTIONARY, Action.DISCONNECT, {"User-Name": "student-1"}, 7, datetime.now(UTC), SECRET
    )
    family = socket.AF_INET6 if ":" in judge.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        line.settimeout(10)
        line.sendto(packet.octets, (judge.host, judge.port))
        assert read_answer(line.recv(4096), packet) == Ack()
        line.sendto(packet.octets, (judge.host, judge.port))
        wait_until(lambda: re.search(REPEATED, judge.log.read_text()) is not None)
    assert judge.log.read_text().count("Received Disconnect-Request Id 7") == 1
