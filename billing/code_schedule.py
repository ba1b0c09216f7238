"""What the clock does to codes: unused ones expire, free accounts pause and return, used-up hotspot accounts go."""

from datetime import datetime

from sqlalchemy.orm import Session

from billing import free_accounts, hotspots, voucher_endings
from billing.refill_attempts import forget_failures


def tick(session: Session, now: datetime) -> bool:
    """Do what is due; True when there may be more, and then call again in another transaction."""
    forget_failures(session, now)
    free = free_accounts.tick(session, now)
    expired = voucher_endings.expire_due(session, now)
    retired = hotspots.retire(session, now)
    return (
        max(free.paused, free.resumed) >= free_accounts.MAX_AT_ONCE
        or expired
        or retired >= hotspots.MAX_AT_ONCE
    )
