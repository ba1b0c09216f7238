"""Regions: one billing database, a RADIUS database for each region; a group's accounts live in one of them (rules R15, R17).

Regions enter themselves when their daemon starts (sync_daemon/returning/regions.py). With one database there are none.
"""

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing import groups
from billing.models import Region
from billing.projection import project_group
from herotill.errors import InvalidValue, Refused

_ONLINE = text("""
    SELECT count(*) FROM radius.session JOIN billing.account USING (username) JOIN billing.customer USING (customer_id)
    WHERE group_id = :group_id AND stopped_at IS NULL
""")


def listing(session: Session) -> list[Region]:
    """Return the regions, the first one first: who belongs to no group that names one belongs to it."""
    return list(session.scalars(select(Region).order_by(Region.region_id)))


def move_group(session: Session, *, group: str, region: str) -> None:
    """Let a group's accounts live in this region: they leave the old one with what they have, and its sessions end.

    Raises Refused while anybody of it is online: what a session uses there meanwhile would be nobody's.
    """
    known = {each.name: each.region_id for each in listing(session)}
    if region not in known:
        allowed = (
            f"the regions are {', '.join(known)}" if known else "there is one database, and so no regions"
        )
        raise InvalidValue("region", region, allowed)
    moved = groups.get(session, group)
    if (moved.region_id or min(known.values())) == known[region]:
        return
    online = session.scalar(_ONLINE, {"group_id": moved.group_id}) or 0
    if online:
        raise Refused(
            f"{online} sessions of {group} are online; a group moves when none is: `herotill report online`",
            "R15",
        )
    moved.region_id = known[region]
    project_group(session, group)
