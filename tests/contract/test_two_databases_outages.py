"""Two databases, one of them away: nothing is lost, nobody is cut off, and all is right afterwards (rules R30, R34)."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from billing import billing_run, customers, usage_bills
from billing.charging import PaidBy
from billing.sales import Order, sell
from sync_daemon import database
from sync_daemon.embedded_postgresql import OWNER_ROLE, EmbeddedPostgresql
from tests.contract.billing.code_makers import add_plan
from tests.contract.billing.money import enter_customer
from tests.contract.two_databases import Isp, OpenIsp
from tests.integration.workers import Workers

DEADLINE_SECONDS = 30.0
GRANTS = """
    SELECT external_key, used_octets, ended_reason, ended_at, first_used_at FROM radius.entitlement ORDER BY external_key
"""


@pytest.fixture
def isp(open_isp: OpenIsp) -> Isp:
    """Ann has bought, for a day after her first use, and is online; the workers are at work."""
    two = open_isp(2)
    two.now = datetime.now(UTC) - timedelta(hours=2)
    add_plan(two.books, two.now, "data", seconds_after_first_use=3 * 3600)
    with two.books() as session:
        for name in ("ann", "ben"):
            enter_customer(session, name, two.now)
        sell(session, order=Order("data", "ann", "1", "desk", PaidBy.CASH), now=two.now)
    two.work()
    two.log_in("ann")
    two.report("ann", "Start", 0)
    two.work()
    two.go_on(hours=1)
    return two


@contextmanager
def away(cluster: EmbeddedPostgresql, url: str) -> Iterator[None]:
    """This database throws everybody out and lets nobody in."""
    with closing(
        database.connect(cluster.url(OWNER_ROLE, "postgres"), "test", autocommit=True)
    ) as connection:
        name = database.connect(url, "test").info.dbname
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            try:
                yield
            finally:
                cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@contextmanager
def working(isp: Isp, *names: str) -> Iterator[None]:
    running = Workers(isp.settings, *names)
    running.start()
    try:
        yield
    finally:
        running.stop()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_r30_radius_away_the_books_sell_on_and_it_has_everything_when_it_is_back(
    isp: Isp, cluster: EmbeddedPostgresql, caplog: pytest.LogCaptureFixture
) -> None:
    isp.report("ann", "Interim-Update", 5)
    with working(isp, "reconcile", "schedule"):
        with away(cluster, isp.radius_url):
            until(lambda: "cannot reconcile" in caplog.text, "it says so")
            with isp.books() as session:
                sell(session, order=Order("data", "ben", "2", "desk", PaidBy.CASH), now=isp.now)
                customers.disable(session, reference="ann", now=isp.now)
        status = "SELECT username, status FROM radius.managed_account ORDER BY 1"
        until(
            lambda: isp.at_radius(status) == [("ann", "disabled"), ("ben", "active")],
            "the accounts are there",
        )
        until(lambda: isp.at_radius(GRANTS) == isp.at_books(GRANTS), "the grants are there")
        cuts = "SELECT username, reason FROM radius.coa_request"
        until(lambda: isp.at_radius(cuts) == [("ann", "disabled")], "what was wished is done, once")
    said = [record for record in caplog.records if "cannot reconcile" in record.getMessage()]
    assert len(said) <= 3, "a line for each kind of failure, not for each attempt"
    assert all("\n" not in record.getMessage() for record in said)


def test_r30_the_books_away_use_is_metered_grants_end_on_time_and_the_books_have_it_all_afterwards(
    isp: Isp, cluster: EmbeddedPostgresql
) -> None:
    # Given her end comes while the books are away
    (moment,) = isp.at_books("SELECT now() + interval '8 seconds'")[0]
    for ask in (isp.at_books, isp.at_radius):
        ask("UPDATE radius.entitlement SET expires_at = %s; NOTIFY herotill_account, '[]'", moment)
    with working(isp, "reconcile", "schedule"):
        with away(cluster, isp.billing_url):
            isp.report("ann", "Interim-Update", 700)
            # Then it is kept all the same, and she is told to go
            ended = "SELECT ended_reason, ended_at >= expires_at FROM radius.entitlement"
            until(lambda: isp.at_radius(ended) == [("expiry", True)], "it ends at RADIUS")
            assert isp.at_radius("SELECT reason FROM radius.coa_request") == [("expiry",)]
            assert isp.at_radius("SELECT count(*) > 0 FROM radius.return_change") == [(True,)]
        # And the books hear of it when they are back
        until(lambda: isp.at_books(GRANTS) == isp.at_radius(GRANTS), "the books have the use and the end")
        until(
            lambda: isp.at_books("SELECT count(*) FROM radius.ended_grant") == [(0,)], "and have settled it"
        )
    assert isp.at_books(GRANTS)[0][1:3] == (700, "expiry")


def test_r24_a_billing_run_goes_no_further_than_use_is_known(
    isp: Isp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What rolls over and what use costs is not reckoned from old figures while RADIUS is away."""
    isp.to_books()
    taken: list[datetime] = []

    def bill_usage(_: Session, *, now: datetime, billed_by: str) -> list[usage_bills.UsageDue]:
        taken.append(now)
        return []

    monkeypatch.setattr(usage_bills, "bill_usage", bill_usage)
    known_until = isp.now - timedelta(hours=5)
    isp.at_books("UPDATE billing.region SET returned_until = %s", known_until)
    billing_run.run(isp.books, isp.now, isp.now)
    isp.to_books()
    billing_run.run(isp.books, isp.now, isp.now)
    assert taken == [known_until, isp.now]


def test_r30_killed_in_the_middle_of_mending_what_was_wished_is_done_once(isp: Isp) -> None:
    """RADIUS has committed, the books have not noted it: the next run asks for nothing twice."""
    with isp.books() as session:
        customers.disable(session, reference="ann", now=isp.now)
    isp.to_radius()
    isp.at_books("UPDATE radius.coa_request SET told_radius_at = NULL")
    isp.to_radius()
    assert isp.at_radius("SELECT count(*) FROM radius.coa_request") == [(1,)]
