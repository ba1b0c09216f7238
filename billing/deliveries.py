"""Deliveries: every event on its way to every sink that wants it, at least once.

A row is locked while it is delivered (`take`): no two daemons deliver it at the same time, and whoever dies lets go of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from billing.models import Customer, Event, EventDelivery
from billing.paging import FIRST_PAGE, Page, SortKeys, paged
from herotill.errors import InvalidValue

DISPATCHED_AT_ONCE = 500
LONGEST_ERROR_CHARACTERS = 300
NEW = "new"  # not laid out for the sinks yet
UNWANTED = "unwanted"  # there was no sink for it
STATES = (NEW, UNWANTED, "pending", "delivered", "dead", "discarded")

_TAKE_EVENTS = text("""
    UPDATE billing.event SET dispatched_at = :now
    WHERE event_id IN (SELECT event_id FROM billing.event WHERE dispatched_at IS NULL
                       ORDER BY event_id LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING event_id, kind
""")
_LAY_OUT = text("""
    INSERT INTO billing.event_delivery (event_id, sink, next_attempt_at)
    SELECT event_id, sink, :now
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:sinks AS text[])) AS wanted (event_id, sink)
    ON CONFLICT DO NOTHING
""")
_TAKE = text("""
    SELECT delivery.event_id, delivery.attempts, event.event_key, event.kind, event.occurred_at, event.payload,
           customer.account_number, customer.name, customer.phone, customer.email, customer.language
    FROM billing.event_delivery delivery
    JOIN billing.event USING (event_id)
    LEFT JOIN billing.customer ON customer.customer_id = event.customer_id
    WHERE delivery.sink = :sink AND delivery.state = 'pending' AND delivery.next_attempt_at <= :now
    ORDER BY delivery.next_attempt_at, delivery.event_id LIMIT 1
    FOR UPDATE OF delivery SKIP LOCKED
""")
_NOTIFY = text("SELECT pg_notify('herotill_event', '')")


@dataclass(frozen=True, slots=True)
class Recipient:
    """The customer an event is about, as the books have it when it is delivered."""

    account_number: str
    name: str
    phone: str | None
    email: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one sink, to be tried for the (`attempts` + 1)th time. The payload may hold codes: it is not shown."""

    event_id: int
    sink: str
    attempts: int
    event_key: str
    kind: str
    occurred_at: datetime
    payload: dict[str, Any] = field(repr=False)
    customer: Recipient | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the list of deliveries; an event nobody wanted has one without a sink."""

    event_id: int
    kind: str
    event_key: str
    occurred_at: datetime
    account_number: str | None
    sink: str | None
    state: str
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries: of these events or of all, to this sink or to all, in one of these states."""

    states: tuple[str, ...]
    event_ids: tuple[int, ...] = ()
    sink: str | None = None


def dispatch(session: Session, sinks: Mapping[str, Sequence[str]], now: datetime) -> int:
    """Lay new events out for the sinks that want their kind (patterns as of file names); return how many events.

    An event goes to the sinks there are now: one that is added later is not flooded with the past. Call again while it
    returns DISPATCHED_AT_ONCE.
    """
    taken = session.execute(_TAKE_EVENTS, {"now": now, "limit": DISPATCHED_AT_ONCE}).all()
    wanted = [
        (event.event_id, sink)
        for event in taken
        for sink, patterns in sinks.items()
        if any(fnmatchcase(event.kind, pattern) for pattern in patterns)
    ]
    if wanted:
        event_ids, names = zip(*wanted, strict=True)
        session.execute(_LAY_OUT, {"event_ids": list(event_ids), "sinks": list(names), "now": now})
    return len(taken)


def take(session: Session, sink: str, now: datetime) -> Delivery | None:
    """Lock the delivery to this sink that is due first and nobody else has; hold the transaction until it is settled."""
    row = session.execute(_TAKE, {"sink": sink, "now": now}).one_or_none()
    if row is None:
        return None
    customer = None
    if row.account_number is not None:
        customer = Recipient(row.account_number, row.name, row.phone, row.email, row.language)
    return Delivery(
        row.event_id, sink, row.attempts, row.event_key, row.kind, row.occurred_at, row.payload, customer
    )


def settle(session: Session, delivery: Delivery, state: str, now: datetime, note: str | None = None) -> None:
    """Write that a delivery is over: delivered, dead (given up), or discarded (nobody there to be told)."""
    values = {"state": state, "finished_at": now, "last_error": _line(note)}
    _write(session, delivery, values)


def postpone(session: Session, delivery: Delivery, next_attempt_at: datetime, error: str) -> None:
    """Write that an attempt failed and when the next one is due."""
    _write(session, delivery, {"next_attempt_at": next_attempt_at, "last_error": _line(error)})


def next_due(session: Session, sink: str) -> datetime | None:
    """Return when the next delivery to this sink is due, also one that somebody else has in hand."""
    query = select(func.min(EventDelivery.next_attempt_at))
    return session.scalar(query.where(EventDelivery.sink == sink, EventDelivery.state == "pending"))


SORT_KEYS: SortKeys = {
    "event": Event.event_id,
    "kind": Event.kind,
    "sink": EventDelivery.sink,
    "attempts": EventDelivery.attempts,
    "next_attempt_at": EventDelivery.next_attempt_at,
}


def listing(
    session: Session, *, state: str = "", sink: str = "", kind: str = "", page: Page = FIRST_PAGE
) -> list[Line]:
    """Return deliveries, newest event first; `kind` is a pattern like `notice.*`."""
    query = (
        select(Event, EventDelivery, Customer.account_number)
        .outerjoin(EventDelivery, EventDelivery.event_id == Event.event_id)
        .outerjoin(Customer, Customer.customer_id == Event.customer_id)
    )
    if state:
        query = query.where(*_state_conditions(state))
    if sink:
        query = query.where(EventDelivery.sink == sink)
    if kind:
        query = query.where(Event.kind.like(kind.replace("_", r"\_").replace("*", "%")))
    rows = session.execute(paged(query, page, SORT_KEYS, Event.event_id.desc(), EventDelivery.sink)).all()
    return [_as_line(event, delivery, number) for event, delivery, number in rows]


def get(session: Session, event_id: int) -> tuple[Event, list[Line]]:
    """Return an event and its deliveries; one line without a sink where there are none. Raises InvalidValue."""
    event = session.get(Event, event_id)
    if event is None:
        raise InvalidValue("event", event_id, "there is no such event; `herotill event list` shows them")
    customer = None if event.customer_id is None else session.get(Customer, event.customer_id)
    number = None if customer is None else customer.account_number
    query = select(EventDelivery).where(EventDelivery.event_id == event_id).order_by(EventDelivery.sink)
    lines = [_as_line(event, found, number) for found in session.scalars(query)]
    return event, lines or [_as_line(event, None, number)]


def count(session: Session, wanted: Wanted) -> int:
    """Return how many deliveries that are."""
    return session.scalar(select(func.count()).select_from(EventDelivery).where(*_conditions(wanted))) or 0


def retry(session: Session, wanted: Wanted, now: datetime) -> int:
    """Have deliveries tried again, at once and with all their attempts; return how many."""
    fresh = {"state": "pending", "attempts": 0, "next_attempt_at": now, "finished_at": None}
    return _change(session, wanted, fresh)


def discard(session: Session, wanted: Wanted, now: datetime) -> int:
    """Give deliveries up; return how many. What is being delivered at this moment may yet arrive."""
    return _change(session, wanted, {"state": "discarded", "finished_at": now})


def _change(session: Session, wanted: Wanted, values: dict[str, Any]) -> int:
    changed = update(EventDelivery).where(*_conditions(wanted)).values(values)
    found = session.scalars(
        changed.returning(EventDelivery.event_id), execution_options={"synchronize_session": False}
    )
    number = len(found.all())
    session.execute(_NOTIFY)
    return number


def _conditions(wanted: Wanted) -> list[Any]:
    conditions: list[Any] = [EventDelivery.state.in_(wanted.states)]
    if wanted.event_ids:
        conditions.append(EventDelivery.event_id.in_(wanted.event_ids))
    if wanted.sink is not None:
        conditions.append(EventDelivery.sink == wanted.sink)
    return conditions


def _write(session: Session, delivery: Delivery, values: dict[str, Any]) -> None:
    session.execute(
        update(EventDelivery)
        .where(EventDelivery.event_id == delivery.event_id, EventDelivery.sink == delivery.sink)
        .values(attempts=delivery.attempts + 1, **values)
    )


def _state_conditions(state: str) -> list[Any]:
    if state == NEW:
        return [Event.dispatched_at.is_(None)]
    if state == UNWANTED:
        return [Event.dispatched_at.is_not(None), EventDelivery.event_id.is_(None)]
    return [EventDelivery.state == state]


def _as_line(event: Event, delivery: EventDelivery | None, account_number: str | None) -> Line:
    known = (event.event_id, event.kind, event.event_key, event.occurred_at, account_number)
    if delivery is None:
        return Line(*known, None, NEW if event.dispatched_at is None else UNWANTED, 0, None, None)
    next_attempt_at = delivery.next_attempt_at if delivery.state == "pending" else None
    return Line(
        *known, delivery.sink, delivery.state, delivery.attempts, next_attempt_at, delivery.last_error
    )


def _line(note: str | None) -> str | None:
    """One printable line, whatever a server said."""
    if note is None:
        return None
    cleaned = "".join(letter if letter.isprintable() else " " for letter in note)
    return " ".join(cleaned.split())[:LONGEST_ERROR_CHARACTERS]
