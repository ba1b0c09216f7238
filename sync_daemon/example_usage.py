"""The routers of the example: who logged in and how much they used, told to the meter as routers tell it.

The meter, the schedule and packet time's own statements do the work; only the times are of the past. Nothing here is used
outside of `herotill init --example`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case

from billing.example import GIB, Example
from herotill.allocation import allocation_due, allocation_from_row
from herotill.journal import ACCOUNTING, LOGIN, Record
from herotill.nas import NasDirectory
from herotill.reasons import Reason
from sync_daemon.meter.applying import RecordReader, apply_chunk, understand
from sync_daemon.meter.reading import Chunk
from sync_daemon.schedule import expire_grants

NODE = "example"
NAS_ADDRESSES = {"north": "192.0.2.11", "south": "192.0.2.12", "market": "192.0.2.13"}
OFFICE_ADDRESS = "192.0.2.10"  # TEST-NET-1 (RFC 5737)
REPORT_EVERY = timedelta(hours=1)
CUT_TAKES = timedelta(milliseconds=45)
ENDLESS_OCTETS = 2**50
TICKETS_A_DAY = 2

# What each account that may log in has left; NULL in a quota is endless.
SELECT_LEFT = """
    SELECT account.username, account.kind,
           coalesce(sum(GREATEST(coalesce(quota_octets, %(endless)s) - used_octets, 0))
                    FILTER (WHERE given.entitlement_id IS NOT NULL), 0)::bigint AS left_octets,
           max(granted_at) AS granted_at, max(coalesce(expires_at, '9999-01-01')) AS expires_at
    FROM radius.managed_account AS account
    LEFT JOIN radius.entitlement AS given ON given.username = account.username AND ended_at IS NULL
    WHERE account.status = 'active' AND account.kind <> 'hotspot'
    GROUP BY account.username, account.kind ORDER BY account.username
"""
SELECT_ALLOCATIONS = """
    SELECT account.username, to_jsonb(allocation) AS allocation
    FROM radius.managed_account AS account JOIN radius.group_allocation AS allocation USING (group_name)
    WHERE account.status = 'active' AND account.kind = 'prepaid' ORDER BY account.username
"""
SELECT_TICKETS = """
    SELECT given.username, given.entitlement_id, given.quota_octets
    FROM radius.entitlement AS given JOIN billing.voucher ON given.external_key = 'voucher:' || voucher_id
    JOIN billing.voucher_batch USING (batch_id)
    WHERE type = 'ticket' AND state = 'printed' AND first_used_at IS NULL ORDER BY number LIMIT %(limit)s
"""
# The routers of the example did what they were asked at once, in the past.
CONFIRM_CUTS = """
    UPDATE radius.coa_request
    SET state = 'confirmed', created_at = caused_at, next_attempt_at = caused_at, attempts = 1,
        acked_at = caused_at + interval '30 ms', finished_at = caused_at + interval '45 ms',
        outcome = 'The router ended the session.'
    WHERE finished_at IS NULL AND caused_at IS NOT NULL
"""
SELECT_ENDS = """
    SELECT DISTINCT expires_at FROM radius.entitlement
    WHERE ended_at IS NULL AND expires_at = ANY (%(moments)s::timestamptz[]) ORDER BY expires_at
"""
FORGET_POSITION = "DELETE FROM radius.journal_position WHERE node = %(node)s"


@dataclass(frozen=True, slots=True)
class Visit:
    """A session to be: from when to when, on which device, and how much of both directions it wants each hour."""

    username: str
    device: str
    begins_at: datetime
    ends_at: datetime
    hourly: tuple[tuple[int, int], ...]
    left_octets: int


def empty_accounts(connection: Connection) -> list[str]:
    """Name the prepaid accounts that have nothing left."""
    return [name for name, kind, left, *_ in _left(connection) if kind == "prepaid" and left == 0]


def day_at_the_routers(connection: Connection, example: Example, day: date, now: datetime) -> None:
    """Let people use what they have on this day, as far as it has passed `now`; let what ends end."""
    morning = example.at(day, 0, 1)
    if morning < now:
        _allocate(connection, morning)
        visits = [*_visits(connection, example, day), *_ticket_visits(connection, example, day, now)]
        _report(connection, [visit for visit in visits if visit.begins_at < now], day, now)
    while expire_grants(connection, min(example.at(day, 23, 59), now)):
        pass
    with connection, connection.cursor() as cursor:
        cursor.execute(CONFIRM_CUTS)
        cursor.execute(FORGET_POSITION, {"node": NODE})


def _left(connection: Connection) -> list[tuple[str, str, int, datetime, datetime]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_LEFT, {"endless": ENDLESS_OCTETS})
        return list(cursor.fetchall())


def _allocate(connection: Connection, now: datetime) -> None:
    """Give what is due at the first login of a period, as packet time does."""
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_ALLOCATIONS)
        for username, row in cursor.fetchall():
            due = allocation_due(allocation_from_row(row), username, frozenset(), now)
            if due is not None:
                cursor.execute(
                    "SELECT radius.grant_allocation(%s, %s, %s, %s)", (username, due.key, now, due.until)
                )


def _visits(connection: Connection, example: Example, day: date) -> list[Visit]:
    visits = []
    for username, kind, left, granted_at, expires_at in _left(connection):
        dice = Random(f"{example.today - day}{username}")  # noqa: S311 - nothing secret
        if left == 0 or dice.random() > 0.85:
            continue
        begins_at = example.at(day, dice.randint(7, 19), dice.randint(0, 59))
        if kind == "monthly":
            begins_at = example.at(day, 0)  # a home's router is online all day
        begins_at = max(begins_at, granted_at + timedelta(minutes=5))  # who bought today comes afterwards
        hourly = _hourly(kind, day, dice)
        ends_at = begins_at + (len(hourly) - 1) * REPORT_EVERY + timedelta(minutes=dice.randint(2, 50))
        if begins_at < expires_at:
            ends_at = min(ends_at, expires_at)
            visits.append(Visit(username, _device(username), begins_at, ends_at, hourly, left))
    return visits


def _hourly(kind: str, day: date, dice: Random) -> tuple[tuple[int, int], ...]:
    """How much a session uses in each of its hours, down and up; more at weekends."""
    hours = 24 if kind == "monthly" else dice.randint(1, 5)
    weekend = 1.5 if day.weekday() >= 5 else 1.0
    total = (3.2 if kind == "monthly" else 0.55) * weekend * GIB * dice.lognormvariate(-0.2, 0.6)
    octets = [int(total / hours * dice.uniform(0.6, 1.4)) for _ in range(hours)]
    return tuple((each - each // 7, each // 7) for each in octets)


def _ticket_visits(connection: Connection, example: Example, day: date, now: datetime) -> list[Visit]:
    """A ticket's hour begins with its first use, which also sells it."""
    visits = []
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_TICKETS, {"limit": TICKETS_A_DAY})
        for number, (code, entitlement_id, quota) in enumerate(cursor.fetchall()):
            dice = Random(f"{example.today - day}ticket{number}")  # noqa: S311 - nothing secret
            begins_at = example.at(day, dice.randint(9, 20), dice.randint(0, 59))
            if begins_at >= now:
                continue
            cursor.execute("SELECT radius.start_first_use(%s, %s, %s)", (code, entitlement_id, begins_at))
            octets = int(quota * dice.uniform(0.2, 0.9))
            ends_at = begins_at + timedelta(minutes=dice.randint(10, 55))
            hourly = ((octets * 9 // 10, octets // 10),)
            visits.append(
                Visit(code, f"B8-27-EB-00-{day.day:02}-{number:02}", begins_at, ends_at, hourly, quota)
            )
    return visits


def _report(connection: Connection, visits: Sequence[Visit], day: date, now: datetime) -> None:
    """Let the meter read what the routers say: the ends of sessions last, for nobody cuts a session whose end is known."""
    said = [record for visit in visits for record in _records(visit, now)]
    for part in (False, True):
        if part:
            _expire(connection, [visit.ends_at for visit in visits if visit.ends_at < now])
        records = sorted(
            (record for record, is_end in said if is_end is part),
            key=lambda each: each.received_at_us,
        )
        chunk = Chunk(f"{day}-{part}", 0, len(records), tuple(records))
        apply_chunk(connection, NODE, chunk, understand(records, RecordReader(NasDirectory([]), b"")))


def _expire(connection: Connection, moments: Sequence[datetime]) -> None:
    """Let what ends while somebody is online end at its time, so that the session is cut."""
    with connection, connection.cursor() as cursor:
        cursor.execute(SELECT_ENDS, {"moments": list(moments)})
        ends = [row[0] for row in cursor.fetchall()]
    for moment in ends:
        expire_grants(connection, moment)


def _records(visit: Visit, now: datetime) -> list[tuple[Record, bool]]:
    """A login, a Start, reports every hour, and a Stop, unless it is not over yet; and which of them is the end."""
    said = {"user": visit.username, "ok": True, "reason": str(Reason.ACCEPTED), "login": _session_id(visit)}
    login = said | {"calling": visit.device, "called": ""}
    records = [
        (_record(LOGIN, visit, visit.begins_at, login), False),
        (_accounting(visit, "Start", visit.begins_at, (0, 0)), False),
    ]
    down = up = 0
    for number, (more_down, more_up) in enumerate(visit.hourly, start=1):
        down, up = down + more_down, up + more_up
        at = min(visit.begins_at + number * REPORT_EVERY, visit.ends_at)
        if at >= now:
            break
        if down + up >= visit.left_octets:
            # The router obeys the limit it was given: not an octet more.
            up = min(up, visit.left_octets // 8)
            used = (visit.left_octets - up, up)
            records.append((_accounting(visit, "Interim-Update", at, used), False))
            records.append((_accounting(visit, "Stop", at + CUT_TAKES, used, "Admin-Reset"), True))
            break
        if at == visit.ends_at:
            # After what ends at this moment has been cut; for others it makes no difference.
            records.append((_accounting(visit, "Stop", at, (down, up), "User-Request"), True))
            break
        records.append((_accounting(visit, "Interim-Update", at, (down, up)), False))
    return records


def _accounting(visit: Visit, status: str, at: datetime, used: tuple[int, int], cause: str = "") -> Record:
    down, up = used
    pairs = {
        "Acct-Status-Type": status,
        "User-Name": visit.username,
        "Acct-Session-Id": _session_id(visit),
        "Calling-Station-Id": visit.device,
        "Framed-IP-Address": f"10.64.{sum(visit.username.encode()) % 250}.{10 + visit.begins_at.day}",
        "Acct-Session-Time": str(int((at - visit.begins_at).total_seconds())),
        "Acct-Input-Octets": str(up % 2**32),
        "Acct-Input-Gigawords": str(up // 2**32),
        "Acct-Output-Octets": str(down % 2**32),
        "Acct-Output-Gigawords": str(down // 2**32),
    }
    if status == "Stop":
        pairs["Acct-Terminate-Cause"] = cause
    return _record(ACCOUNTING, visit, at, [list(pair) for pair in pairs.items()])


def _record(kind: str, visit: Visit, at: datetime, body: Any) -> Record:
    address = NAS_ADDRESSES.get(visit.username.split("-")[0], OFFICE_ADDRESS)
    return Record(0, kind, int(at.timestamp() * 1_000_000), address, body)


def _session_id(visit: Visit) -> str:
    return f"{visit.begins_at:%m%d%H%M}-{visit.username}"


def _device(username: str) -> str:
    number = sum(place * letter for place, letter in enumerate(username.encode(), start=1))
    return f"B8-27-EB-{number >> 16 & 255:02X}-{number >> 8 & 255:02X}-{number & 255:02X}"
