"""An ISP whose books and RADIUS are in one database or in two, worked step by step; no worker runs by itself."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from billing import code_schedule
from billing.access_events import book_access_events, settle_ended_vouchers
from herotill.journal import ACCOUNTING, LOGIN, encode
from rlm_herotill.journal import JournalWriter
from rlm_herotill.settings import Fdatasync
from sync_daemon import database
from sync_daemon.live_sessions import review_sessions
from sync_daemon.meter.worker import Meter
from sync_daemon.reconcile.comparing import open_databases
from sync_daemon.reconcile.mending import Mending
from sync_daemon.reconcile.planning import survey
from sync_daemon.returning.carrying import carry
from sync_daemon.schedule import expire_grants
from sync_daemon.settings import Settings

NAS = "192.0.2.1"
MAC = "DA-A1-19-00-00-01"


@dataclass
class Isp:
    """One installation, at a moment that tests move on."""

    settings: Settings
    now: datetime
    engine: sqlalchemy.Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = database.billing_engine(self.settings, "test")

    @property
    def radius_url(self) -> str:
        return database.radius_url(self.settings)

    @property
    def billing_url(self) -> str:
        return database.billing_url(self.settings)

    @contextmanager
    def books(self) -> Iterator[Session]:
        with Session(self.engine) as session, session.begin():
            yield session

    def at_books(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return ask(self.billing_url, statement, *values)

    def at_radius(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return ask(self.radius_url, statement, *values)

    def go_on(self, **time: float) -> None:
        self.now += timedelta(**time)

    # ------------------------------------------------------------ what the workers do

    def to_radius(self) -> None:
        """Reconcile everything, as `herotill sync apply`; with one database there must be nothing to do."""
        with closing(open_databases(self.settings, "test reconcile")) as databases:
            found = survey(databases)
            assert found.changes == 0 or not databases.is_one, found
            Mending(databases, "test", self.now).all_of(found)

    def to_books(self, limit: int = 5_000) -> int:
        """Carry back everything; return how many changes that was."""
        if not database.are_apart(self.settings):
            return 0
        with closing(open_databases(self.settings, "test return")) as databases:
            assert databases.region is not None
            carried = 0
            while count := carry(databases.books, databases.radius, databases.region, limit):
                carried += count
        return carried

    def keep_books(self) -> None:
        """What the schedule does in the books."""
        for step in (
            book_access_events,
            lambda session, _: settle_ended_vouchers(session),
            code_schedule.tick,
        ):
            with self.books() as session:
                step(session, self.now)

    def work(self) -> None:
        """Let every worker have its turn until there is nothing more to do."""
        for _ in range(2):
            self.to_books()
            with closing(database.connect(self.radius_url, "test")) as connection:
                expire_grants(connection, self.now)
            self.to_books()
            self.keep_books()
            self.to_radius()
            with closing(database.connect(self.radius_url, "test")) as connection:
                review_sessions(connection, self.now)
        self.to_books()

    # ------------------------------------------------------------ what happens at RADIUS

    def log_in(self, username: str) -> None:
        """Packet time: whatever a first login commits, and the outcome in the journal."""
        self.at_radius(
            """SELECT radius.start_first_use(username, entitlement_id, %s) FROM radius.entitlement
               WHERE username = %s AND ended_at IS NULL AND first_used_at IS NULL
                 AND seconds_after_first_use IS NOT NULL ORDER BY priority, entitlement_id LIMIT 1""",
            self.now,
            username,
        )
        body = {
            "user": username,
            "ok": True,
            "reason": "accepted",
            "login": f"{username}-{self.now}",
            "calling": MAC,
        }
        self.meter((LOGIN, body | {"called": ""}))

    def report(self, username: str, status: str, octets: int, seconds: int = 0, session: str = "1") -> None:
        """The NAS tells the total of a session so far, all of it download."""
        pairs = {
            "User-Name": username,
            "Acct-Session-Id": f"{username}-{session}",
            "Acct-Status-Type": status,
            "Acct-Session-Time": str(seconds),
            "Acct-Output-Octets": str(octets),
            "Calling-Station-Id": MAC,
        }
        self.meter((ACCOUNTING, [[name, value] for name, value in pairs.items()]))

    def meter(self, *records: tuple[str, Any]) -> None:
        journal = JournalWriter(self.settings.journal_directory, Fdatasync.NEVER)
        for kind, body in records:
            journal.append(encode(kind, int(self.now.timestamp() * 1_000_000), NAS, body))
        journal.close()
        with closing(database.connect(self.radius_url, "test meter")) as connection:
            assert Meter(connection, self.settings).apply_new() == len(records)


def ask(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement of ours."""
    with database.transaction(url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


OpenIsp = Callable[..., Isp]
"""open_isp(2): so many databases; see tests/contract/conftest.py."""
