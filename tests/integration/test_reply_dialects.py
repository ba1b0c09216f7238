"""Replies of other makes through a real FreeRADIUS: attributes that come more than once, tags, vendors."""

from pathlib import Path

from herotill.dialect import dialects
from sync_daemon import database
from sync_daemon.settings import Settings
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp
from tests.integration.radclient import ask

POLICY = {
    "download_bits_per_second": 10_000_000,
    "upload_bits_per_second": 2_000_000,
    "address_pool": "pool-1",
    "address_list": "gold",
    "idle_timeout_seconds": 300,
}
SAID = {
    "cisco": {
        'Cisco-AVPair = "ip:addr-pool=pool-1"',
        'Cisco-AVPair = "lcp:interface-config#1=rate-limit input 2000000 375000 750000 conform-action transmit',
        'Cisco-AVPair = "lcp:interface-config#1=rate-limit output 10000000 1875000 3750000 conform-action transmit',
    },
    "cisco-isg": {'Cisco-Account-Info = "QU;2000000;375000;750000;D;10000000;1875000;3750000"'},
    "juniper": {
        'ERX-Service-Activate:1 = "herotill-rate(2000000,10000000)"',
        'ERX-Ingress-Policy-Name = "gold"',
    },
    "nokia": {
        'Alc-Subscriber-QoS-Override = "i:q:1:pir=2000"',
        'Alc-Subscriber-QoS-Override = "e:q:1:pir=10000"',
    },
    "huawei": {"Huawei-Input-Average-Rate = 2000000", "Huawei-Output-Average-Rate = 10000000"},
    "accel-ppp": {'Filter-Id = "10000/2000"'},
    "aruba": {'Aruba-User-Role = "gold"'},
    "cambium": {
        "Cambium-Traffic-Quota-Limit-Total = 1073741829",
        "Cambium-Traffic-Quota-Limit-Total-Gigwords = 2",
        "WISPr-Bandwidth-Max-Up = 2000000",
    },
    "coovachilli": {
        "ChilliSpot-Max-Total-Octets = 1073741829",
        "ChilliSpot-Bandwidth-Max-Down = 10000",
    },
    "hostapd": {"Acct-Interim-Interval = "},
}


def test_r2_every_make_is_told_in_its_own_words_by_a_real_server(
    tmp_path: Path, settings: Settings, database_url: str, nas_secret: str
) -> None:
    addresses = {make: f"127.0.1.{number}" for number, make in enumerate(sorted(SAID), start=1)}
    with database.transaction(database_url, "test") as connection, connection.cursor() as cursor:
        for make, address in addresses.items():
            cursor.execute(
                "INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES (%s, %s, %s, %s)",
                (address, make, dialects()[make].nas_types[0], nas_secret),
            )
    isp = Isp(settings)
    isp.enrol("anna")
    isp.offer("big", POLICY, quota_octets=9 * GIB + 5)
    isp.sell("big", "anna")
    server = Freeradius(tmp_path / "freeradius", settings, nas_secret)
    server.start()
    try:
        for make, address in addresses.items():
            told = ask(
                "auth",
                server.auth_port,
                [
                    f"Packet-Src-IP-Address = {address}",
                    'User-Name = "anna"',
                    f'User-Password = "{PASSWORD}"',
                    "Message-Authenticator = 0x00",
                ],
                secret=nas_secret,
            )
            assert told.code == "Access-Accept", make
            lines = {f"{name} = {value}" for name, value in told.attributes}
            missing = {line for line in SAID[make] if not any(said.startswith(line) for said in lines)}
            assert missing == set(), (make, sorted(lines))
    finally:
        server.stop()
