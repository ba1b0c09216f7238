"""Steps of throttle ladders, and passages from one grant to the next, told to live sessions as they happen (rule R16).

Used in the transaction that moves what is used, so that no step is told twice and none is missed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from herotill.grants import Grant, burn_order, grant_ends_at
from herotill.live_change import LiveChange, Purpose, changed_service, is_slower
from herotill.reply import Reply
from herotill.service import full_service, percent_now, reply_now, without_limits
from herotill.sessions import Session

STEPPED = "ladder"
"""The reason of such requests (radius.coa_request)."""
UNDER_WAY = timedelta(seconds=3)
"""A session that began so soon after a step may have been accepted before it."""

SET_STEPS = """
    INSERT INTO radius.ladder_step (username, percent, since)
    SELECT username, percent, %(since)s FROM unnest(%(usernames)s::text[], %(percents)s::integer[]) AS v (username, percent)
    ON CONFLICT (username) DO UPDATE SET percent = excluded.percent, since = excluded.since
"""
SELECT_STEPS = (
    "SELECT username, percent, since FROM radius.ladder_step WHERE username = ANY (%s) AND percent > 0"
)


@dataclass(frozen=True, slots=True)
class Service:
    """What an account's sessions may have, and the step of the ladder that says so; 0 is none."""

    percent: int
    reply: Reply | None
    is_living: bool


def may_step(grants: Iterable[Grant]) -> bool:
    """Whether using these grants may change the service: a ladder, or grants of different policies one after the other."""
    first = None
    for grant in grants:
        if grant.policy.ladder:
            return True
        if grant.ended_at is None:
            if first is not None and grant.policy is not first:
                return True
            first = grant.policy
    return False


def service_of(grants: Iterable[Grant], now: datetime) -> Service:
    """Return the service of an account now."""
    known = list(grants)
    return Service(percent_now(known, now), reply_now(known, now), bool(burn_order(known, now)))


def service_before_expiry(grants: Iterable[Grant], now: datetime) -> Service:
    """Return the service in the last instant before the first of the clocks that have run out by `now`."""
    known = list(grants)
    ends = [grant_ends_at(grant, now) for grant in known if grant.ended_at is None]
    due = [end for end in ends if end is not None and end <= now]
    return service_of(known, min(due) - timedelta(microseconds=1) if due else now)


def steps_since(cursor: Cursor, usernames: Iterable[str]) -> dict[str, tuple[int, datetime]]:
    """Return the step each of these accounts is at, above 0, and since when."""
    wanted = list(usernames)
    if not wanted:
        return {}
    cursor.execute(SELECT_STEPS, (wanted,))
    return {username: (percent, since) for username, percent, since in cursor.fetchall()}


def set_steps(cursor: Cursor, percents: Mapping[str, int], now: datetime) -> None:
    """Remember at which step these accounts are from now on."""
    if percents:
        values = {"usernames": list(percents), "percents": list(percents.values()), "since": now}
        cursor.execute(SET_STEPS, values)


def changes_of_step(
    before: Service, after: Service, live_sessions: Iterable[Session], now: datetime
) -> list[LiveChange]:
    """Return what each live session is told when the service changed; nothing at an end, which is told by itself."""
    if before.reply is None or after.reply is None or not after.is_living:
        return []
    was, becomes = without_limits(before.reply), without_limits(after.reply)
    if not changed_service(was, becomes):
        return []
    purpose = Purpose.RESTRICT if is_slower(was, becomes) else Purpose.RESTORE
    moment = int(now.timestamp() * 1_000_000)
    return [
        LiveChange(
            session, f"step:{session.acct_unique_id}:{after.percent}:{moment}", STEPPED, purpose, was, becomes
        )
        for session in live_sessions
    ]


def changes_for_begun(
    grants: Iterable[Grant], step: tuple[int, datetime], begun: Iterable[Session], now: datetime
) -> list[LiveChange]:
    """Return what sessions are told that began when the step had just been reached: their login may not have known of it."""
    known = list(grants)
    reply = reply_now(known, now)
    alive = burn_order(known, now)
    percent, since = step
    late = [session for session in begun if session.started_at < since + UNDER_WAY]
    if reply is None or not alive or not late:
        return []
    was, becomes = full_service(alive[0].policy), without_limits(reply)
    moment = int(since.timestamp() * 1_000_000)
    return [
        LiveChange(
            session,
            f"step:{session.acct_unique_id}:{percent}:{moment}",
            STEPPED,
            Purpose.RESTRICT,
            was,
            becomes,
        )
        for session in late
    ]
