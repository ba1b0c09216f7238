"""How a simulated NAS is set up."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from herotill.errors import InvalidValue
from nas_simulator.exchange import Retransmission
from nas_simulator.faults import Loss
from nas_simulator.makes import GENERIC, Make
from nas_simulator.outcomes import LogEntry

Clock = Callable[[], datetime]
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")


def utc_now() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is told to advance."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self) -> datetime:
        """Return the time it stands at."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class DynamicAuthorizationSettings:
    """Where and how strictly Disconnect- and CoA-Requests are received. Port 0 is any free one."""

    port: int = 0
    enabled: bool = True
    require_message_authenticator: bool = False
    require_event_timestamp: bool = False
    window_seconds: int = 300


@dataclass(frozen=True, slots=True)
class NasSettings:
    """One NAS and its RADIUS server.

    `other_servers` are asked, in turn, when the one that answered last does not (RFC 2865 §2.4).
    `source_address` lets one machine play several NASes (127.0.0.2, 127.0.0.3, ...); it is also where dynamic
    authorization listens. `clock` is what the NAS believes the time is. `pace` is how many session seconds pass in a
    real one: 0, and time passes only in `Session.use`; 1, and sessions live in real time, send their interims and time
    out by themselves. `signs_access_requests` False leaves Message-Authenticator out, as routers did before
    CVE-2024-3596. `listener` is told of every request the NAS sent, as it is answered or given up.
    """

    secret: bytes = field(repr=False)
    server: str = "127.0.0.1"
    other_servers: tuple[str, ...] = ()
    authentication_port: int = 1812
    accounting_port: int = 1813
    make: Make = GENERIC
    name: str = "simulated-nas"
    called_station_id: str = "02-00-00-00-00-00:hotspot"
    source_address: str | None = None
    retransmission: Retransmission = field(default_factory=Retransmission)
    dynamic_authorization: DynamicAuthorizationSettings = field(default_factory=DynamicAuthorizationSettings)
    loss: Loss | None = None
    clock: Clock = utc_now
    pace: float = 0.0
    signs_access_requests: bool = True
    require_message_authenticator: bool = False
    new_identifier_per_accounting_attempt: bool = False
    listener: Callable[[LogEntry], None] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be. Raises InvalidValue."""
        for name in ("authentication_port", "accounting_port"):
            if not 1 <= getattr(self, name) <= 65535:
                raise InvalidValue(name, getattr(self, name), "it is from 1 to 65535")
        if not self.secret:
            raise InvalidValue("secret", "", "it has at least one character")
        if self.pace < 0:
            raise InvalidValue("pace", self.pace, "it is at least 0")


def mac_address(device: str) -> str:
    """Return the Calling-Station-Id of a device: its MAC as given, or one made from its name, the same every time."""
    if _MAC.fullmatch(device):
        return device.upper().replace(":", "-")
    digest = hashlib.sha256(device.encode()).digest()
    # 02: locally administered, unicast.
    return "-".join(f"{octet:02X}" for octet in b"\x02" + digest[:5])
