"""The commands that put a router right, by make and by what is amiss. The same lines stand in docs/nas."""

MIKROTIK = {
    "logins": "/radius add address={server} secret=SECRET service=hotspot,ppp timeout=2s\n"
    "/ip hotspot profile set [find] use-radius=yes radius-accounting=yes radius-interim-update=received\n"
    "/ppp aaa set use-radius=yes accounting=yes interim-update=10m",
    "interims": "/ip hotspot profile set [find] use-radius=yes radius-accounting=yes radius-interim-update=received\n"
    "/ppp aaa set use-radius=yes accounting=yes interim-update=10m",
    "dynamic authorization": "/radius incoming set accept=yes port={port}",
}
COOVACHILLI = {
    "logins": "radiusserver1={server}\nradiusserver2={server}\nradiussecret=SECRET",
    "interims": "definteriminterval=600",
    "dynamic authorization": "coaport={port}",
}
CISCO = {
    "logins": "aaa new-model\naaa authentication ppp default group radius\n"
    "aaa authorization network default group radius\n"
    "radius-server host {server} auth-port 1812 acct-port 1813 key SECRET",
    "interims": "aaa accounting update periodic 10\naaa accounting network default start-stop group radius",
    "session named": "radius-server attribute 44 include-in-access-req",
    "dynamic authorization": "aaa server radius dynamic-author\n client {server} server-key SECRET\n port {port}\n"
    " auth-type any",
}
ACCEL_PPP = {"signature": "blast-protection=1"}
_OF_DIALECT = {
    "mikrotik": MIKROTIK, "mikrotik-ppp": MIKROTIK, "coovachilli": COOVACHILLI, "chillispot": COOVACHILLI,
    "cisco": CISCO, "cisco-isg": CISCO, "accel-ppp": ACCEL_PPP,
}  # fmt: skip


def commands_for(dialect: str, topic: str, server: str, port: int) -> str:
    """Return the lines to be typed, or empty where none are known for this make."""
    return (
        _OF_DIALECT.get(dialect, {}).get(topic, "").replace("{server}", server).replace("{port}", str(port))
    )
