"""What is shown beside a customer: the devices ever seen, and what the accounts have left (rules R5, R6).

Devices are kept when their sessions begin (radius.device), so that showing them looks through no history.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.models import Customer
from herotill.devices import is_randomised

# A name that another account had before: what was seen in the life of this one counts.
_DEVICES = text("""
    SELECT mac::text AS mac, username, first_session_at, last_session_at
    FROM billing.account JOIN radius.device USING (username)
    WHERE customer_id = :customer_id AND last_session_at >= created_at
      AND (closed_at IS NULL OR first_session_at < closed_at)
    ORDER BY last_session_at DESC, mac
""")
_LIVING_GRANTS = text("""
    SELECT username, plan_name, expires_at,
           quota_octets - LEAST(used_octets, quota_octets) AS remaining_octets,
           quota_seconds - LEAST(used_seconds, quota_seconds) AS remaining_seconds
    FROM billing.account JOIN radius.entitlement USING (username)
    WHERE customer_id = :customer_id AND status <> 'closed' AND ended_at IS NULL
      AND (expires_at IS NULL OR expires_at > :now)
    ORDER BY username, priority, expires_at NULLS LAST, entitlement_id
""")


@dataclass(frozen=True, slots=True)
class Device:
    """A device an account was used on; the beginning of its first and its last session."""

    mac: str
    username: str
    first_session_at: datetime
    last_session_at: datetime

    @property
    def is_randomised(self) -> bool:
        """Whether the device made its address up, so that it may come with another one."""
        return is_randomised(self.mac)


@dataclass(frozen=True, slots=True)
class LivingGrant:
    """What one grant has left; None is unlimited, or no fixed end."""

    username: str
    plan_name: str
    expires_at: datetime | None
    remaining_octets: int | None
    remaining_seconds: int | None


def devices_of(session: Session, customer: Customer) -> list[Device]:
    """Return every device of a customer's accounts, the one used last first."""
    rows = session.execute(_DEVICES, {"customer_id": customer.customer_id}).mappings()
    return [Device(**row) for row in rows]


def living_grants(session: Session, customer: Customer, now: datetime) -> list[LivingGrant]:
    """Return what a customer's accounts have left, in the order it burns."""
    rows = session.execute(_LIVING_GRANTS, {"customer_id": customer.customer_id, "now": now}).mappings()
    return [LivingGrant(**row) for row in rows]
