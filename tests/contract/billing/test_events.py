"""Events: written with what they tell, once per key."""

import select
import time
from datetime import date, datetime

import psycopg2.extensions
import pytest

from billing.events import emit
from herotill.errors import InvalidValue
from tests.contract.billing.conftest import Ask, OpenBooks


def test_an_event_is_recorded_once_per_key(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        assert emit(session, "invoice.issued", "invoice:1", {"amount_minor": 5}, now)
        assert not emit(session, "invoice.issued", "invoice:1", {"amount_minor": 6}, now)
    with books() as session:
        assert not emit(session, "invoice.issued", "invoice:1", {"amount_minor": 7}, now)
    (event,) = ask(
        "SELECT kind, event_key, payload, occurred_at, customer_id, dispatched_at FROM billing.event"
    )
    assert event == {
        "kind": "invoice.issued",
        "event_key": "invoice:1",
        "payload": {"amount_minor": 5},
        "occurred_at": now,
        "customer_id": None,
        "dispatched_at": None,
    }


def test_an_event_is_gone_with_the_transaction_it_was_written_in(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    with books() as session:
        emit(session, "sale", "sale:1", {}, now)
        session.rollback()
    assert ask("SELECT 1 FROM billing.event") == []


def test_a_listener_hears_of_an_event(
    books: OpenBooks, listening: psycopg2.extensions.connection, now: datetime
) -> None:
    with listening.cursor() as cursor:
        cursor.execute("LISTEN herotill_event")
    with books() as session:
        emit(session, "sale", "sale:1", {}, now)
        emit(session, "sale", "sale:2", {}, now)
    # A notification may come some milliseconds after the commit.
    deadline = time.monotonic() + 10
    while not listening.notifies and time.monotonic() < deadline:
        select.select([listening], [], [], 0.1)
        listening.poll()
    assert [heard.channel for heard in listening.notifies] == ["herotill_event"]


def test_times_become_text(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        emit(session, "sale", "sale:1", {"at": now, "day": date(2026, 11, 22), "of": [{"at": now}]}, now)
    (event,) = ask("SELECT payload FROM billing.event")
    moment = "2026-11-22T12:00:00+00:00"
    assert event["payload"] == {"at": moment, "day": "2026-11-22", "of": [{"at": moment}]}


@pytest.mark.parametrize(
    ("kind", "key"), [("", "k"), ("Sale", "k"), ("sale..made", "k"), ("sale", ""), ("sale", "a\nb")]
)
def test_what_no_receiver_could_read_is_refused(books: OpenBooks, now: datetime, kind: str, key: str) -> None:
    with pytest.raises(InvalidValue), books() as session:
        emit(session, kind, key, {}, now)
