"""One courier of one sink: takes what is due, delivers it, writes what became of it, and waits for more."""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol, assert_never

import sqlalchemy
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing import deliveries, message_templates
from billing.deliveries import Delivery
from herotill.errors import InvalidValue
from herotill.messages import Message, render_message
from sync_daemon.events.command_sink import CommandSink
from sync_daemon.events.configuration import CommandTarget, FileTarget, HttpTarget, Sink, SmtpTarget
from sync_daemon.events.envelope import Envelope, message_values
from sync_daemon.events.file_sink import FileSink
from sync_daemon.events.http_sink import HttpSink
from sync_daemon.events.outcomes import Delivered, Failed, Outcome, Unaddressed
from sync_daemon.events.retrying import FIRST_PAUSE_SECONDS, pause_seconds
from sync_daemon.events.smtp_sink import SmtpSink

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 60.0
RETRY_SECONDS = 1.0


class Delivers(Protocol):
    """What every kind of sink can do. It returns what became of it; it raises nothing it can foresee."""

    def deliver(self, envelope: Envelope) -> Outcome:
        """Deliver once."""
        ...


@dataclass(frozen=True, slots=True)
class Tongue:
    """How people are spoken to where the customer's own language is not known: language and time zone."""

    language: str
    zone: tzinfo


@dataclass
class Courier:
    """Delivers to one sink from one thread; `news` wakes it, also to look at `stop`."""

    engine: sqlalchemy.Engine
    sink: Sink
    tongue: Tongue
    stop: threading.Event
    first_pause_seconds: float = FIRST_PAUSE_SECONDS
    news: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        """Prepare the sink."""
        self._target = open_sink(self.sink)

    def run(self) -> None:
        """Deliver until `stop`; a database that goes away is waited for."""
        while not self.stop.is_set():
            try:
                self.news.clear()
                while not self.stop.is_set() and self.deliver_next():
                    pass
                self.news.wait(self._seconds_to_wait())
            except DBAPIError as error:
                if not error.connection_invalidated and not isinstance(
                    error, sqlalchemy.exc.OperationalError
                ):
                    raise
                log.warning("events for %s wait until the database can be used", self.sink.name)
                self.stop.wait(RETRY_SECONDS)

    def deliver_next(self) -> bool:
        """Deliver what is due first; false when nothing is. Its row stays locked until what became of it is written."""
        with Session(self.engine) as session, session.begin():
            delivery = deliveries.take(session, self.sink.name, self.now())
            if delivery is None:
                return False
            self._settle(session, delivery, self._attempt(session, delivery))
            return True

    def _attempt(self, session: Session, delivery: Delivery) -> Outcome:
        envelope = _envelope(session, delivery, self.tongue)
        try:
            return self._target.deliver(envelope)
        except Exception as error:  # a sink that fails in its own way must not end the courier
            # Not its text: it may hold what was to be delivered.
            return Failed(f"unexpected {type(error).__name__}")

    def _settle(self, session: Session, delivery: Delivery, outcome: Outcome) -> None:
        now = self.now()
        match outcome:
            case Delivered():
                deliveries.settle(session, delivery, "delivered", now)
            case Unaddressed(reason):
                deliveries.settle(session, delivery, "discarded", now, reason)
            case Failed():
                self._settle_failure(session, delivery, outcome, now)
            case _:
                assert_never(outcome)

    def _settle_failure(self, session: Session, delivery: Delivery, failed: Failed, now: datetime) -> None:
        failures = delivery.attempts + 1
        where = (delivery.event_id, self.sink.name, failed.reason)
        if failed.is_permanent or failures >= self.sink.attempts:
            log.error("event %s is given up for %s: %s; `herotill event retry` tries again", *where)
            deliveries.settle(session, delivery, "dead", now, failed.reason)
            return
        log.warning("event %s did not reach %s: %s", *where)
        pause = pause_seconds(failures, random.random(), self.first_pause_seconds)  # noqa: S311 - no secret
        deliveries.postpone(session, delivery, now + timedelta(seconds=pause), failed.reason)

    def _seconds_to_wait(self) -> float:
        with Session(self.engine) as session:
            due = deliveries.next_due(session, self.sink.name)
        if due is None:
            return LONGEST_WAIT_SECONDS
        # What is overdue is in somebody else's hands; should they die, it is found a second later.
        return min(max((due - self.now()).total_seconds(), RETRY_SECONDS), LONGEST_WAIT_SECONDS)


def open_sink(sink: Sink) -> Delivers:
    """Return what delivers to this sink."""
    match sink.target:
        case FileTarget():
            return FileSink(sink.target)
        case CommandTarget():
            return CommandSink(sink.target, sink.timeout_seconds)
        case SmtpTarget():
            return SmtpSink(sink.target, sink.timeout_seconds)
        case HttpTarget():
            return HttpSink(sink.target, sink.timeout_seconds)
        case _:
            assert_never(sink.target)


def _envelope(session: Session, delivery: Delivery, tongue: Tongue) -> Envelope:
    try:
        return Envelope(delivery, _message(session, delivery, tongue))
    except (ValueError, TypeError) as error:
        # An InvalidValue names what the template asks for; another error might repeat what the event says.
        problem = str(error) if isinstance(error, InvalidValue) else "the template does not fit the event"
        return Envelope(delivery, None, f"{problem}; `herotill notice template set` corrects it")


def _message(session: Session, delivery: Delivery, tongue: Tongue) -> Message | None:
    """Return what a customer is told; nothing of an event that a later one of the same moment has overtaken."""
    if delivery.payload.get("superseded_by") is not None:
        return None
    own = None if delivery.customer is None else delivery.customer.language
    named = delivery.payload.get("language")
    languages = (named if isinstance(named, str) else None, own, tongue.language)
    template = message_templates.find(session, delivery.kind, languages)
    return None if template is None else render_message(template, message_values(delivery), tongue.zone)
