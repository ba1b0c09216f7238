"""The billing run by the clock: the worker bills, and tops up as soon as the meter says that data is used up."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy
from sqlalchemy.orm import sessionmaker

from sync_daemon import billing_worker, database
from sync_daemon.settings import Settings
from tests.contract.billing.monthly import GIB, PRICE, OpenBooks, add_account, add_plan, pay, use

DEADLINE_SECONDS = 15.0


@pytest.fixture
def books(settings: Settings) -> Iterator[OpenBooks]:
    engine = database.billing_engine(settings)
    yield sessionmaker(engine, expire_on_commit=False).begin
    engine.dispose()


@pytest.fixture
def worker(settings: Settings) -> Iterator[Callable[[], None]]:
    """Start the worker; it is stopped at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=billing_worker.run, args=(settings, stop))
    yield thread.start
    stop.set()
    thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def _count(books: OpenBooks, table: str) -> int:
    with books() as session:
        return session.scalar(sqlalchemy.text(f"SELECT count(*) FROM {table}")) or 0


def _await(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_r24_r18_the_worker_bills_and_tops_up(books: OpenBooks, worker: Callable[[], None]) -> None:
    now = datetime.now(UTC)
    add_plan(books, now, "5gb", quota_octets=5 * GIB, ends_with_cycle=True)
    add_plan(books, now, topup_plan="5gb")
    owner = add_account(books, now, "office", plan="home")
    pay(books, owner, 2 * PRICE, now)

    worker()

    _await(lambda: _count(books, "billing.invoice") == 1)
    with books() as session:
        key = session.scalar(sqlalchemy.text("SELECT external_key FROM radius.entitlement"))
    assert key is not None
    use(books, key, 30 * GIB, now)
    _await(lambda: _count(books, "billing.cycle_topup") == 1)
