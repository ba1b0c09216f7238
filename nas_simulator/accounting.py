"""What accounting packets say about a session (RFC 2866, RFC 2869)."""

from datetime import datetime
from enum import StrEnum

from nas_simulator.makes import Make
from nas_simulator.session import Session, Status
from nas_simulator.wire import Pairs, Value

_LOW_32_BITS = 0xFFFFFFFF
_PACKET_OCTETS = 1000


class NasStatus(StrEnum):
    """Acct-Status-Type of what a NAS says about itself."""

    ON = "Accounting-On"
    OFF = "Accounting-Off"


def session_pairs(session: Session, status: Status, make: Make, now: datetime) -> Pairs:
    """Return a session's accounting attributes: who, and from the first interim on how much."""
    identity = session.identity
    pairs: list[tuple[str, Value]] = [
        ("Acct-Status-Type", str(status)),
        ("Acct-Session-Id", identity.acct_session_id),
        ("User-Name", identity.user_name),
        ("Calling-Station-Id", identity.calling_station_id),
        ("Framed-IP-Address", identity.framed_ip_address),
        ("NAS-Port", identity.nas_port),
        ("NAS-Port-Id", identity.nas_port_id),
        ("NAS-Port-Type", make.nas_port_type),
        ("Service-Type", make.service_type),
        ("Acct-Authentic", "RADIUS"),
        ("Event-Timestamp", int(now.timestamp())),
    ]
    if make.sends_class:
        pairs += [("Class", value) for value in identity.class_values]
    if status is not Status.START:
        pairs += usage_pairs(session, make)
    if status is Status.STOP:
        pairs.append(("Acct-Terminate-Cause", session.terminate_cause or "User-Request"))
    return pairs


def usage_pairs(session: Session, make: Make) -> list[tuple[str, Value]]:
    """Return the counters: 64 bits as Octets and Gigawords, or their lower half where the make knows no other."""
    used = session.used
    counters = {"Input": used.input_octets, "Output": used.output_octets}
    if not make.input_is_upload:
        counters = {"Input": used.output_octets, "Output": used.input_octets}
    pairs: list[tuple[str, Value]] = [("Acct-Session-Time", used.seconds)]
    for side, octets in counters.items():
        pairs.append((f"Acct-{side}-Octets", octets & _LOW_32_BITS))
        pairs.append((f"Acct-{side}-Packets", -(-octets // _PACKET_OCTETS) & _LOW_32_BITS))
        if make.sends_gigawords:
            pairs.append((f"Acct-{side}-Gigawords", octets >> 32))
    return pairs
