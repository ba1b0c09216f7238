"""Reports of use: octets and time by span, who is and was online, and what was cut and why (rule R29).

Usage is kept by the hour (radius.usage_interval); no session is ever summed for it. An hour counts in the span it begins in.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from billing.report_periods import Span
from billing.reports import OWN, SPAN, Question


class UsageBy(StrEnum):
    """What usage is told apart by."""

    ALL = "all"
    PLAN = "plan"
    GROUP = "group"
    USER = "user"


_LABELS = {
    UsageBy.ALL: "''",
    UsageBy.PLAN: "coalesce(entitlement.plan_name, '(no grant)')",
    UsageBy.GROUP: "coalesce(customer_group.name, '(no group)')",
    UsageBy.USER: "used.username",
}
_USAGE = {
    by: text(f"""
        SELECT {SPAN.format("interval_start")} AS span, {label} AS label, sum(output_octets) AS download_octets,
               sum(input_octets) AS upload_octets, sum(seconds) AS seconds, count(DISTINCT used.username) AS users
        FROM radius.usage_interval AS used
        LEFT JOIN radius.entitlement USING (entitlement_id)
        LEFT JOIN billing.account_span AS account
               ON account.username = used.username AND interval_start >= began_at AND interval_start < account.ended_at
        LEFT JOIN billing.customer USING (customer_id)
        LEFT JOIN billing.customer_group USING (group_id)
        WHERE interval_start >= :since AND interval_start < :until AND {OWN}
          AND (CAST(:username AS text) IS NULL OR used.username = :username)
          AND (CAST(:plan_name AS text) IS NULL OR entitlement.plan_name = :plan_name)
        GROUP BY span, label ORDER BY span, download_octets DESC, label
    """)  # noqa: S608 - made of constants
    for by, label in _LABELS.items()
}

_SESSIONS = f"""
    FROM radius.session
    LEFT JOIN billing.account_span AS account
           ON account.username = session.username AND started_at >= began_at AND started_at < account.ended_at
    LEFT JOIN billing.customer USING (customer_id)
    LEFT JOIN billing.customer_group USING (group_id)
    WHERE {OWN} AND (CAST(:username AS text) IS NULL OR session.username = :username)
"""
_ONLINE = text(f"""
    SELECT session.username, customer.name AS customer, customer_group.name AS group_name,
           calling_station_id AS device, host(framed_ip_address) AS address, host(nas_address) AS nas,
           started_at, last_report_at, session_seconds, output_octets, input_octets
    {_SESSIONS} AND stopped_at IS NULL
    ORDER BY started_at, acct_unique_id LIMIT :limit OFFSET :offset
""")
# A session is one more from its start and one less from its stop; what lies before the first moment counts for all.
_COMING_AND_GOING = text(f"""
    WITH seen AS (SELECT started_at, stopped_at {_SESSIONS}
                  AND started_at < :until AND coalesce(stopped_at, 'infinity') >= :since)
    SELECT {SPAN.format("moment")} AS span, sum(change) AS change
    FROM (SELECT started_at AS moment, 1 AS change FROM seen
          UNION ALL SELECT stopped_at, -1 FROM seen WHERE stopped_at < :until) AS changes
    GROUP BY span
""")  # noqa: S608 - made of constants

# A request that restores or raises cuts nobody.
_FROM_CUTS = f"""
    FROM radius.coa_request AS request
    LEFT JOIN billing.account_span AS account
           ON account.username = request.username
              AND request.created_at >= began_at AND request.created_at < account.ended_at
    LEFT JOIN billing.customer USING (customer_id)
    LEFT JOIN billing.customer_group USING (group_id)
    WHERE request.created_at >= :since AND request.created_at < :until AND purpose IN ('end', 'restrict') AND {OWN}
      AND (CAST(:username AS text) IS NULL OR request.username = :username)
"""
_CUTS = text(f"""
    SELECT request.created_at, request.username, customer_group.name AS group_name, host(nas_address) AS nas, action,
           reason, state, finished_at, outcome
    {_FROM_CUTS} ORDER BY request.created_at DESC, coa_request_id DESC LIMIT :limit OFFSET :offset
""")
_CUT_COUNTS = text(f"""
    SELECT {SPAN.format("request.created_at")} AS span, reason, count(*) AS cuts,
           count(*) FILTER (WHERE state IN ('confirmed', 'gone')) AS done
    {_FROM_CUTS} GROUP BY span, reason ORDER BY span, cuts DESC, reason
""")


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used in a span. Download is what the routers sent, upload what they received."""

    span: Span
    label: str
    download_octets: int
    upload_octets: int
    seconds: int
    users: int


@dataclass(frozen=True, slots=True)
class Online:
    """A session that is running, as its last report says."""

    username: str
    customer: str | None
    group: str | None
    device: str
    address: str | None
    nas: str
    started_at: datetime
    last_report_at: datetime
    seconds: int
    download_octets: int
    upload_octets: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A session that was ordered to end or to be restricted; why, and what the router made of it."""

    cut_at: datetime
    username: str
    group: str | None
    nas: str
    action: str
    reason: str
    state: str
    finished_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class CutCount:
    """How many sessions were cut for one reason in a span, and of how many it is certain that they are gone."""

    span: Span
    reason: str
    cuts: int
    done: int


def usage(session: Session, question: Question, by: UsageBy = UsageBy.ALL) -> list[Usage]:
    """Return what was used, by span, the most first; a span without a row is one without use."""
    return [_usage(row, question) for row in session.execute(_USAGE[by], question.values())]


def online(session: Session, question: Question, *, limit: int = 100, offset: int = 0) -> list[Online]:
    """Return who is online, whoever came first first; the question's time does not matter."""
    rows = session.execute(_ONLINE, question.values() | {"limit": limit, "offset": offset})
    return [_online(row) for row in rows]


def online_at(session: Session, question: Question, moments: list[datetime]) -> list[int]:
    """Return how many sessions were running at each of these moments, which are in order and within the question's time."""
    rows = session.execute(_COMING_AND_GOING, question.values() | {"bounds": moments})
    changes = {row.span: int(row.change) for row in rows}
    running, counts = 0, []
    for number in range(len(moments)):
        running += changes.get(number, 0)
        counts.append(running)
    return counts


def cuts(session: Session, question: Question, *, limit: int = 100, offset: int = 0) -> list[Cut]:
    """Return what was cut, the latest first."""
    rows = session.execute(_CUTS, question.values() | {"limit": limit, "offset": offset})
    return [_cut(row) for row in rows]


def cut_counts(session: Session, question: Question) -> list[CutCount]:
    """Return how much was cut in each span, by reason."""
    rows = session.execute(_CUT_COUNTS, question.values())
    return [CutCount(question.spans[row.span - 1], row.reason, row.cuts, row.done) for row in rows]


def _usage(row: Row[Any], question: Question) -> Usage:
    return Usage(
        span=question.spans[row.span - 1],
        label=row.label,
        download_octets=int(row.download_octets),
        upload_octets=int(row.upload_octets),
        seconds=int(row.seconds),
        users=row.users,
    )


def _online(row: Row[Any]) -> Online:
    return Online(
        username=row.username,
        customer=row.customer,
        group=row.group_name,
        device=row.device,
        address=row.address,
        nas=row.nas,
        started_at=row.started_at,
        last_report_at=row.last_report_at,
        seconds=row.session_seconds,
        download_octets=row.output_octets,
        upload_octets=row.input_octets,
    )


def _cut(row: Row[Any]) -> Cut:
    return Cut(
        cut_at=row.created_at,
        username=row.username,
        group=row.group_name,
        nas=row.nas,
        action=row.action,
        reason=row.reason,
        state=row.state,
        finished_at=row.finished_at,
        outcome=row.outcome,
    )
