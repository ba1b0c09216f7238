"""Which sessions a device that logs in again has left behind, and how one of them is named and no other (rule R6). Pure."""

from collections.abc import Iterable, Sequence

from herotill.devices import normal_mac
from herotill.dialect_model import IdentificationProfile
from herotill.sessions import Session, identifying_attributes

_SESSION_ID = "Acct-Session-Id"


def device_of(session: Session) -> str:
    """Return what tells the session's device from others: its MAC address in one notation, else what the router says."""
    return normal_mac(session.calling_station_id) or session.calling_station_id


def devices_on(sessions: Iterable[Session]) -> int:
    """Return how many devices are on: sessions of one MAC address are one device's.

    An IP address or a telephone number is not: behind it several devices may be on, so each of its sessions counts.
    """
    return len({normal_mac(one.calling_station_id) or one.acct_unique_id for one in sessions})


def left_behind(live: Sequence[Session], devices: Iterable[str], max_devices: int | None) -> list[Session]:
    """Return what is over of an account's live sessions, now that these devices have begun others; `devices` by device_of.

    Of a MAC address the newest session stays, and what its router reports of the same login. Of another name the oldest are
    over as far as the account has too many. Where the plan does not limit devices nothing is: two connections of one
    device may be meant.
    """
    if max_devices is None:
        return []
    over: list[Session] = []
    for device in sorted(set(devices)):
        *older, newest = sorted((one for one in live if device_of(one) == device), key=_by_age)
        own = [one for one in older if one.login_id is None or one.login_id != newest.login_id]
        if normal_mac(device) is None:
            own = own[: max(0, devices_on(live) - max_devices)]
        over += own
    return over


def _by_age(session: Session) -> tuple[object, ...]:
    return session.started_at, session.last_report_at, session.acct_unique_id


def naming_only(
    old: Session, live: Iterable[Session], profiles: Sequence[IdentificationProfile]
) -> dict[str, str]:
    """Return attributes that name this session to its router and none that is to stay; nothing where none can.

    The device may have its old address again, and a router that goes by that or by the user's name would end the new
    session: beside another one at the same router only Acct-Session-Id tells which is meant.
    """
    others = [one for one in live if one.nas_address == old.nas_address and one is not old]
    known = identifying_attributes(old)
    if not others:
        return known if profiles else {}
    if any(one.acct_session_id == old.acct_session_id for one in others):
        return {}
    exact = [profile.required for profile in profiles if _SESSION_ID in profile.required]
    fewest = min(exact, key=len, default=())
    return {name: value for name, value in known.items() if name in fewest}
