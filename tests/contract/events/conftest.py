"""The books and a courier for one sink."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from billing.deliveries import dispatch
from billing.events import emit
from sync_daemon.events.configuration import Sink, read_sinks
from sync_daemon.events.courier import Courier, Tongue
from tests.contract.billing.conftest import ask, books, engine

__all__ = ["ask", "books", "engine"]

LATER = timedelta(hours=2)
Emit = Callable[..., None]
NewCourier = Callable[..., Courier]


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def emit_event(engine: sqlalchemy.Engine, now: datetime) -> Emit:
    """emit_event("sale", "sale:1", {...}, customer_id=1): one event, in a transaction of its own."""

    def run(
        kind: str, key: str, payload: Mapping[str, Any] | None = None, customer_id: int | None = None
    ) -> None:
        with Session(engine) as session, session.begin():
            assert emit(session, kind, key, payload or {}, now, customer_id)

    return run


@pytest.fixture
def new_courier(engine: sqlalchemy.Engine) -> NewCourier:
    """new_courier(type="file", path=…): a courier whose clock can be set; what is new is laid out for its sink."""

    def make(now: datetime | None = None, name: str = "sink", **fields: Any) -> Courier:
        (sink,) = read_sinks("event_sinks", {name: fields})
        lay_out(engine, sink)
        courier = Courier(engine, sink, Tongue("en", ZoneInfo("Africa/Nairobi")), threading.Event())
        if now is not None:
            courier.now = lambda: now
        return courier

    return make


def lay_out(engine: sqlalchemy.Engine, *sinks: Sink) -> None:
    """Dispatch what is new to these sinks."""
    with Session(engine) as session, session.begin():
        dispatch(session, {sink.name: sink.kinds for sink in sinks}, datetime.now(UTC))
