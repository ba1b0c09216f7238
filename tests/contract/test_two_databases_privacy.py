"""A person who is forgotten by the books is forgotten by the RADIUS database apart from them too (rules R30, R36)."""

import json
from contextlib import closing

from billing import erasure
from billing.charging import PaidBy
from billing.sales import Order, sell
from sync_daemon.reconcile.comparing import open_databases
from sync_daemon.returning.erasing import erase_forgotten
from tests.contract.billing.code_makers import add_plan
from tests.contract.billing.money import enter_customer
from tests.contract.two_databases import MAC, Isp, OpenIsp, ask

TABLES = """
    SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
    WHERE schemaname IN ('billing', 'radius') ORDER BY 1
"""
USE = "SELECT sum(input_octets + output_octets)::bigint FROM radius.usage_interval"
MIB = 1 << 20


def everything(url: str) -> str:
    return "\n".join(tables_of(url))


def tables_of(url: str) -> list[str]:
    """Return a line for each row of every table."""
    return [
        f"{name}: {json.dumps(row, default=str)}"
        for (name,) in ask(url, TABLES)
        for (row,) in ask(url, f"SELECT to_jsonb(t) FROM {name} t")
    ]


def carry_out(isp: Isp) -> int:
    with closing(open_databases(isp.settings, "test erase")) as databases:
        assert databases.region is not None
        return erase_forgotten(isp.settings, databases.books, databases.region)


def test_r36_after_an_erasure_no_trace_of_the_person_is_left_in_either_database(open_isp: OpenIsp) -> None:
    # given somebody who bought, was online, and is known to both databases, and somebody else
    isp = open_isp(2)
    add_plan(isp.books, isp.now, "data")
    with isp.books() as session:
        for key, name in enumerate(("zenobia", "quirin")):
            enter_customer(session, name, isp.now)
            sell(session, order=Order("data", name, f"key-{key}", "desk", PaidBy.CASH), now=isp.now)
    isp.work()
    for name in ("zenobia", "quirin"):
        isp.log_in(name)
        isp.report(name, "Start", 0)
        isp.go_on(minutes=10)
        isp.report(name, "Stop", 5 * MIB, 600)
    isp.work()
    for url in (isp.billing_url, isp.radius_url):
        assert "zenobia" in everything(url)
    # when the books forget her, and the daemon of the region has had its turn
    with isp.books() as session:
        assert erasure.erase(session, reference="zenobia", now=isp.now).done
    isp.work()
    assert carry_out(isp) == 1
    isp.work()
    # then nothing is left of her anywhere, the figures stay, nobody else is touched, and it is done once
    for url in (isp.billing_url, isp.radius_url):
        # Numbers of sessions and logins stay; those of these tests begin with the name.
        assert [line for line in tables_of(url) if "zenobia" in line.replace("zenobia-", "")] == []
        assert "quirin" in everything(url)
        assert MAC in everything(url)
        assert ask(url, USE) == [(10 * MIB,)]
    assert carry_out(isp) == 0
