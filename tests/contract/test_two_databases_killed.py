"""Two databases, and whoever carries is killed at any statement: nothing is lost or doubled (rules R15, R30)."""

from contextlib import closing
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from billing import customers
from billing.charging import PaidBy
from billing.sales import Order, sell
from sync_daemon.reconcile.comparing import Databases, open_databases
from sync_daemon.reconcile.mending import Mending
from sync_daemon.reconcile.planning import survey
from sync_daemon.returning.carrying import carry
from tests.contract.billing.code_makers import add_plan
from tests.contract.billing.money import enter_customer
from tests.contract.two_databases import Isp, OpenIsp

MIB = 1 << 20
EVERY = 4
"""Of each so many statements one is the last; runs differ by a few, so that all have their turn."""


class KilledError(Exception):
    """As SIGKILL: both connections are gone, and what was not committed with them."""


def run(isp: Isp, statements: int) -> None:
    """Carry both ways, and die before the statement of this number. Raises KilledError where it comes so far."""
    with closing(open_databases(isp.settings, "test")) as databases:
        left = [statements]

        class Doomed(Cursor):
            def execute(self, *arguments: Any) -> None:
                _count(databases, left)
                super().execute(*arguments)

            def copy_expert(self, *arguments: Any, **more: Any) -> None:
                _count(databases, left)
                super().copy_expert(*arguments, **more)

        databases.books.cursor_factory = databases.radius.cursor_factory = Doomed
        assert databases.region is not None
        while carry(databases.books, databases.radius, databases.region, 5):
            pass
        Mending(databases, "test", isp.now).all_of(survey(databases))


def _count(databases: Databases, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        databases.close()
        raise KilledError


def test_r15_r30_killed_at_any_statement_nothing_is_lost_or_doubled(open_isp: OpenIsp) -> None:
    isp = open_isp(2)
    add_plan(isp.books, isp.now, "data")
    with isp.books() as session:
        for name in ("ann", "ben"):
            enter_customer(session, name, isp.now)
        sell(session, order=Order("data", "ann", "first", "desk", PaidBy.CASH), now=isp.now)
    isp.work()
    isp.report("ben", "Start", 0)
    isp.report("ann", "Start", 0)
    rounds, is_killed = 0, True
    while is_killed:
        # Given one more sale, one more MiB, and ben is disabled, or let in again
        rounds += 1
        isp.go_on(seconds=1)
        with isp.books() as session:
            sell(session, order=Order("data", "ann", f"key-{rounds}", "desk", PaidBy.CASH), now=isp.now)
            if rounds % 2:
                customers.disable(session, reference="ben", now=isp.now)
            else:
                customers.enable(session, reference="ben")
        isp.report("ann", "Interim-Update", rounds * MIB, rounds)
        try:
            run(isp, rounds * EVERY)
            is_killed = False
        except (KilledError, psycopg2.Error):
            pass
    assert rounds > 10
    isp.work()
    grants = "SELECT external_key, quota_octets, used_octets, ended_at FROM radius.entitlement ORDER BY 1"
    assert isp.at_books(grants) == isp.at_radius(grants)
    assert len(isp.at_books(grants)) == rounds + 1
    for ask in (isp.at_books, isp.at_radius):
        assert ask("SELECT sum(used_octets)::bigint FROM radius.entitlement") == [(rounds * MIB,)]
        assert ask("SELECT sum(output_octets)::bigint FROM radius.usage_interval") == [(rounds * MIB,)]
    # Each wish is at RADIUS, and none twice: both databases have the same requests
    requests = "SELECT request_key, reason FROM radius.coa_request ORDER BY 1"
    assert isp.at_books(requests) == isp.at_radius(requests) != []
    assert isp.at_radius("SELECT count(*) FROM radius.return_change") == [(0,)]
