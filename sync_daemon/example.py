"""`herotill init --example`: a month of a small ISP, day by day: the desk, the routers, the billing run, the schedule."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg2.extensions import connection as Connection  # noqa: N812 - psycopg2's class is lower case
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from billing import billing_run, code_schedule, example
from billing.access_events import book_access_events, settle_ended_vouchers
from billing.example import DAYS, Example
from billing.sealed_codes import CodeKeys
from herotill.errors import Refused
from sync_daemon import database
from sync_daemon.example_usage import day_at_the_routers, empty_accounts
from sync_daemon.settings import Settings


def make(settings: Settings, now: datetime, progress: Callable[[int], None], days: int = DAYS) -> None:
    """Make the example, which goes back so many days. `progress` is told of each.

    Raises Refused where there are customers, and where RADIUS has a database of its own. Each day is committed. What was
    broken off is not gone on with: begin in a new state directory.
    """
    if database.are_apart(settings):
        raise Refused("the example lives in one database: try it without radius_url", "R30")
    with _books(settings) as books, books.begin() as session:
        example.check_nobody_is_here(session)
    if settings.voucher_secret is None:
        raise Refused("the settings have no voucher_secret, which refills are sealed with", "R10")
    made = Example(
        today=now.astimezone(ZoneInfo(settings.time_zone)).date(),
        time_zone=settings.time_zone,
        currency=settings.currency,
        keys=CodeKeys.of_secret(settings.voucher_secret),
        length=days,
    )
    with _books(settings) as books:
        with books.begin() as session:
            example.open_shop(session, made)
        with _routers(settings) as connection:
            for day in made.days:
                _live(books, connection, made, day, now)
                progress(1)


def _live(
    books: sessionmaker[Session], connection: Connection, made: Example, day: date, now: datetime
) -> None:
    """Let one day of the example pass; the last of them is not over yet."""
    until = min(made.at(day, 23, 59), now)
    if made.at(day, 21) < now:
        empty = empty_accounts(connection)
        with books.begin() as session:
            example.day_at_the_desk(session, made, day, empty)
    billing_run.run(books.begin, until, until)
    day_at_the_routers(connection, made, day, now)
    with books.begin() as session:
        book_access_events(session, until)
        settle_ended_vouchers(session)
    with books.begin() as session:
        code_schedule.tick(session, until)


@contextmanager
def _books(settings: Settings) -> Iterator[sessionmaker[Session]]:
    database.ensure_running(settings)
    engine = database.billing_engine(settings)
    event.listen(engine, "connect", _without_waiting_for_the_disk)
    try:
        yield sessionmaker(engine, expire_on_commit=False)
    finally:
        engine.dispose()


def _without_waiting_for_the_disk(connection: Any, _record: Any) -> None:
    """What a power cut takes of an example is made again."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    connection.commit()


@contextmanager
def _routers(settings: Settings) -> Iterator[Connection]:
    connection = database.connect(database.radius_url(settings), "herotill example")
    try:
        yield connection
    finally:
        connection.close()
