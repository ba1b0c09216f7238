"""A NAS in Python: for tests, the demo, and an operator's smoke test.

It logs users in, obeys the limits it was sent, reports usage, answers Disconnect and CoA in a chosen mood, and remembers
its sessions. It is an independent judge of the server: it knows RADIUS and its makes, and nothing of ours.

    async with SimulatedNas(NasSettings(secret=b"testing123", make=MIKROTIK)) as nas:
        outcome = await nas.login("student-1", "secret", device="phone")
        if isinstance(outcome, Accepted):
            await outcome.session.use(input_octets=10_000, output_octets=5_000_000, seconds=60)
            await outcome.session.interim()
            request = await nas.wait_for_disconnect(outcome.session)
"""

from nas_simulator.accounting import NasStatus
from nas_simulator.credentials import Credentials, Method
from nas_simulator.dynamic_authorization import DynamicRequest, Verdict
from nas_simulator.exchange import Answer, Retransmission
from nas_simulator.faults import EVERY_REPLY_LOST_ONCE, NORMALLY, TWICE, Delivery, Loss
from nas_simulator.limits import Cut, Limits, Usage
from nas_simulator.makes import CHILLISPOT, GENERIC, MAKES, MIKROTIK, WISPR, Make, OctetLimit, make_named
from nas_simulator.moods import Ack, AckButStay, Duplicate, Forged, Late, Mood, Nak, Silent, parse_mood
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LogEntry, LoginOutcome, NoAnswer, Rejected
from nas_simulator.session import Accounted, Session, Status
from nas_simulator.settings import DynamicAuthorizationSettings, ManualClock, NasSettings, mac_address

__all__ = [
    "CHILLISPOT",
    "EVERY_REPLY_LOST_ONCE",
    "GENERIC",
    "MAKES",
    "MIKROTIK",
    "NORMALLY",
    "TWICE",
    "WISPR",
    "Accepted",
    "Accounted",
    "Ack",
    "AckButStay",
    "Answer",
    "Credentials",
    "Cut",
    "Delivery",
    "Duplicate",
    "DynamicAuthorizationSettings",
    "DynamicRequest",
    "Forged",
    "Late",
    "Limits",
    "LogEntry",
    "LoginOutcome",
    "Loss",
    "Make",
    "ManualClock",
    "Method",
    "Mood",
    "Nak",
    "NasSettings",
    "NasStatus",
    "NoAnswer",
    "OctetLimit",
    "Rejected",
    "Retransmission",
    "Session",
    "Silent",
    "SimulatedNas",
    "Status",
    "Usage",
    "Verdict",
    "mac_address",
    "make_named",
    "parse_mood",
]
