"""One billing database, a RADIUS database for each region: every account lives in one (rules R15, R17, R29, R30)."""

import pytest

from billing import customers, groups, regions, report_usage
from billing.charging import PaidBy
from billing.report_periods import spans_of
from billing.reports import Question
from billing.sales import Order, sell
from herotill.allocation import Period
from herotill.errors import InvalidValue, Refused
from tests.contract.billing.code_makers import add_plan
from tests.contract.billing.money import enter_customer
from tests.contract.conftest import BEGINNING
from tests.contract.two_databases import NAS, Isp, OpenIsp

MIB = 1 << 20
ACCOUNTS = "SELECT username FROM radius.managed_account ORDER BY 1"
GRANTS = "SELECT external_key, used_octets FROM radius.entitlement WHERE ended_at IS NULL ORDER BY 1"


@pytest.fixture
def isps(open_isp: OpenIsp) -> tuple[Isp, Isp]:
    """Coast and hills share their books; ann is in the coast's group, ben in that of the hills, both have bought."""
    coast = open_isp(2, region="coast")
    hills = open_isp(2, books_of=coast, region="hills")
    for isp in (coast, hills):
        isp.to_books()
        isp.at_radius(
            "INSERT INTO radius.nas (nasname, shortname, secret) VALUES (%s, %s, 'x')",
            NAS,
            isp.settings.region,
        )
    add_plan(coast.books, coast.now, "data")
    with coast.books() as session:
        weekly = groups.Allocation(quota_octets=10 * MIB, period=Period.WEEK)
        for name in ("beach", "farm"):
            groups.add(session, name=name, now=coast.now, allocation=weekly)
        regions.move_group(session, group="farm", region="hills")
        for name, group in (("ann", "beach"), ("ben", "farm")):
            enter_customer(session, name, coast.now, group)
            sell(session, order=Order("data", name, name, "desk", PaidBy.CASH), now=coast.now)
    both(coast, hills)
    return coast, hills


def both(*isps: Isp) -> None:
    for isp in isps:
        isp.work()


def test_r30_each_region_has_its_accounts_and_the_books_have_the_use_of_all(isps: tuple[Isp, Isp]) -> None:
    coast, hills = isps
    assert (coast.at_radius(ACCOUNTS), hills.at_radius(ACCOUNTS)) == ([("ann",)], [("ben",)])
    # Given both are used, and both get their allocation, at the same moment, from routers of the same address
    for isp, name, group in ((coast, "ann", "beach"), (hills, "ben", "farm")):
        allocation = f"allocation:{group}:{name}:2026-W40"
        isp.at_radius("SELECT radius.grant_allocation(%s, %s, %s, NULL)", name, allocation, isp.now)
        isp.report(name, "Start", 0)
        isp.report(name, "Interim-Update", 12 * MIB)
    both(coast, hills)
    # Then no number is anybody else's, and the books have the sum
    numbers = [isp.at_radius("SELECT entitlement_id FROM radius.entitlement") for isp in isps]
    assert len({row for rows in numbers for row in rows}) == 4
    assert sorted(coast.at_books(GRANTS)) == sorted(coast.at_radius(GRANTS) + hills.at_radius(GRANTS))
    question = Question(spans_of(BEGINNING.date(), BEGINNING.date().replace(day=2), "UTC"))
    with coast.books() as session:
        (used,) = report_usage.usage(session, question)
        assert (used.download_octets, used.users) == (24 * MIB, 2)
        assert len(report_usage.online(session, question)) == 2
    assert coast.at_books("SELECT shortname FROM radius.nas ORDER BY 1") == [("coast",), ("hills",)]


def test_r30_who_is_cut_is_cut_where_he_is(isps: tuple[Isp, Isp]) -> None:
    coast, hills = isps
    hills.report("ben", "Start", 0)
    hills.to_books()
    with coast.books() as session:
        customers.disable(session, reference="ben", now=coast.now)
    both(coast, hills)
    asked = "SELECT username, reason FROM radius.coa_request"
    assert (coast.at_radius(asked), hills.at_radius(asked)) == ([], [("ben", "disabled")])


def test_r15_a_group_moves_with_what_its_accounts_have_used(isps: tuple[Isp, Isp]) -> None:
    coast, hills = isps
    hills.report("ben", "Start", 0)
    hills.report("ben", "Interim-Update", 300 * MIB, 60)
    hills.to_books()
    with coast.books() as session, pytest.raises(Refused, match="1 sessions of farm are online"):
        regions.move_group(session, group="farm", region="coast")
    hills.report("ben", "Stop", 300 * MIB, 60)
    hills.to_books()
    with coast.books() as session:
        regions.move_group(session, group="farm", region="coast")
    both(hills, coast)
    assert (coast.at_radius(ACCOUNTS), hills.at_radius(ACCOUNTS)) == ([("ann",), ("ben",)], [])
    coast.report("ben", "Start", 0, session="2")
    coast.report("ben", "Interim-Update", 50 * MIB, 60, session="2")
    both(hills, coast)
    expected = [("purchase:1", 0), ("purchase:2", 350 * MIB)]
    assert coast.at_books(GRANTS) == coast.at_radius(GRANTS) == expected
    assert hills.at_radius(GRANTS) == []
    used = "SELECT sum(output_octets)::bigint FROM radius.usage_interval WHERE username = 'ben'"
    assert coast.at_books(used) == [(350 * MIB,)]


def test_r30_a_region_nobody_entered_is_named(isps: tuple[Isp, Isp]) -> None:
    with isps[0].books() as session, pytest.raises(InvalidValue, match="the regions are coast, hills"):
        regions.move_group(session, group="farm", region="moon")
