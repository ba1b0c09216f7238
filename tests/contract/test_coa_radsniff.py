"""radsniff, FreeRADIUS's own observer, reads what we put on the wire: a judge of names, values and repetitions."""

import asyncio
import re
import struct
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pyrad.dictionary import Dictionary

from herotill.dictionary import dictionary_path
from sync_daemon.coa.client import ClientSettings, DynamicAuthorizationClient
from sync_daemon.coa.exchange import AuthorizationRequest, Destination
from sync_daemon.coa.pacing import PacingSettings
from sync_daemon.coa.packets import Action, AttributeValue, Timeout, sign_request
from sync_daemon.coa.timing import RetransmissionTiming
from tests.contract.coa_every_make import every_request
from tests.contract.coa_fake_nas import SECRET, FakeNas, Heard, is_silent

DICTIONARY: Any = Dictionary(str(dictionary_path()))  # type: ignore[no-untyped-call]
COOVACHILLI = dictionary_path().with_name(
    "dictionary.coova"
)  # which FreeRADIUS 3.2.1 has not got; we install it
COA_PORT = 3799
NAMES = {Action.DISCONNECT: "Disconnect-Request", Action.COA: "CoA-Request"}
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
_EACH_PACKET = re.compile(r"^(?=\d{4}-\d\d-\d\d )", re.MULTILINE)
REQUESTS = 300  # more than one source port has Identifiers for


def captured(heard: Iterable[Heard]) -> bytes:
    """What was heard as a capture file (libpcap, Ethernet), with the port that radsniff takes for dynamic authorization."""
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for each in heard:
        frame = _frame(each.octets, each.source[1])
        # Odd: radsniff stumbles where its timeout of 5.2 s ends on the very second.
        seconds, microseconds = divmod(int(each.at * 1_000_000) | 1, 1_000_000)
        file += struct.pack("<IIII", seconds, microseconds, len(frame), len(frame)) + frame
    return file


def _frame(payload: bytes, source_port: int) -> bytes:
    udp = struct.pack("!HHHH", source_port, COA_PORT, 8 + len(payload), 0) + payload
    addresses = bytes((192, 0, 2, 1)) + bytes((192, 0, 2, 2))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses
    return bytes(12) + b"\x08\x00" + ip + udp


def radsniff(directory: Path, heard: Iterable[Heard], *options: str) -> list[str]:
    """Let radsniff read it; return what it says of each packet."""
    file = directory / "heard.pcap"
    file.write_bytes(captured(heard))
    (directory / "dictionary").write_text(f"$INCLUDE {COOVACHILLI}\n")
    dictionaries = ("-D", "/usr/share/freeradius", "-d", str(directory))
    command = ("radsniff", "-I", str(file), "-s", SECRET.decode(), "-x", *dictionaries, *options)
    # It ends with status 1 when a file is read through.
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    packets, end, _ = done.stdout.partition("Done reading packets")
    assert end, done.stdout + done.stderr
    return _EACH_PACKET.split(packets)[1:]


def test_r31_every_request_to_every_make_reads_as_it_is_meant(tmp_path: Path) -> None:
    requests = list(every_request())
    heard = [
        Heard(
            sign_request(DICTIONARY, action, attributes, number % 256, NOW, SECRET).octets,
            ("192.0.2.1", 40_000 + number // 256),
            number / 100,
        )
        for number, (_, action, attributes) in enumerate(requests)
    ]
    said = radsniff(tmp_path, heard, "-e", "received")
    assert len(said) == len(requests)
    for (dialect, action, attributes), packet in zip(requests, said, strict=True):
        assert NAMES[action] in packet, dialect.name
        assert "Message-Authenticator = 0x" in packet, dialect.name
        assert 'Event-Timestamp = "Nov 23 2026 12:00:00 UTC"' in packet, dialect.name
        assert "Attr-" not in packet, f"{dialect.name} says what FreeRADIUS cannot name:\n{packet}"
        for name, value in attributes.items():
            assert_says(packet, dialect.name, name, value)


def assert_says(packet: str, dialect: str, name: str, value: AttributeValue) -> None:
    for each in [value] if isinstance(value, str | int) else value:
        said = {f"\t{name} = {each}\n", f'\t{name} = "{each}"\n'}
        assert any(line in packet for line in said), f"{dialect}: {name} = {each} is not in\n{packet}"


def test_r31_retransmissions_are_known_as_such_and_no_identifier_is_used_too_soon(tmp_path: Path) -> None:
    """Given a silent NAS, when 300 requests are sent three times each, then radsniff sees 300 and their repetitions."""
    timing = RetransmissionTiming(0.1, 0.2, 3, 5.0, 0.1, 0.05)
    pacing = PacingSettings(
        initial_window=1000, least_window=1000, largest_window=1000, requests_per_second=5000.0, burst=1000
    )
    with FakeNas(is_silent) as nas:

        async def main() -> list[object]:
            client = DynamicAuthorizationClient(DICTIONARY, ClientSettings(timing=timing, pacing=pacing))
            where = Destination(ip_address(nas.host), nas.port, SECRET)
            asked = [
                AuthorizationRequest(Action.DISCONNECT, {"User-Name": f"u{n}"}, where)
                for n in range(REQUESTS)
            ]
            exchanges = await asyncio.gather(*(client.exchange(each) for each in asked))
            client.close()
            return [exchange.outcome for exchange in exchanges]

        assert asyncio.run(main()) == [Timeout()] * REQUESTS
        heard = nas.wait_for(3 * REQUESTS)

    said = radsniff(tmp_path, heard, "-e", "received,rtx,reused,error")
    assert [packet for packet in said if "** reused **" in packet or "** error **" in packet] == []
    repeated = [packet for packet in said if "** rtx **" in packet]
    assert len(said) - len(repeated) == REQUESTS
    assert len(repeated) == 2 * REQUESTS
