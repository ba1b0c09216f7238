"""Two databases at once: what is sold, given and used in the same moment comes out as with one (rules R9, R15, R20, R30)."""

import threading
from contextlib import closing
from dataclasses import replace

import pytest

from billing import customers, refills, transfers
from billing.charging import PaidBy
from billing.coa_alarms import tell_of_sessions
from billing.new_batches import CodeType
from billing.refill_attempts import Attempt
from billing.sales import Order, sell
from billing.transfers import Wish
from herotill.errors import Refused
from herotill.policy import Ending, ServicePolicy
from herotill.quantities import Money
from herotill.refilling import RefillTerms
from sync_daemon import database
from sync_daemon.reconcile.comparing import open_databases
from sync_daemon.returning import carrying
from sync_daemon.returning.carrying import carry
from sync_daemon.returning.regions import join
from sync_daemon.settings import Settings
from tests.contract.billing.code_makers import GIB, KEYS, add_plan, make
from tests.contract.billing.money import enter_customer
from tests.contract.two_databases import Isp, OpenIsp

MIB = 1 << 20
SOFT = ServicePolicy(
    at_quota=Ending.THROTTLE,
    throttled_download_bits_per_second=64_000,
    throttled_upload_bits_per_second=64_000,
    transferable=True,
)
GRANTS = """
    SELECT external_key, quota_octets, used_octets, used_seconds, ended_reason, first_used_at, last_used_at, expires_at
    FROM radius.entitlement ORDER BY external_key
"""


@pytest.fixture
def isp(open_isp: OpenIsp) -> Isp:
    """Two databases; ann has bought 1 GiB and is online, ben has an account."""
    two = open_isp(2)
    add_plan(two.books, two.now, "data", policy=SOFT)
    add_plan(two.books, two.now, "more", refill=RefillTerms(counts_overuse=True), policy=SOFT)
    with two.books() as session:
        for name in ("ann", "ben"):
            enter_customer(session, name, two.now)
        sell(session, order=Order("data", "ann", "1", "desk", PaidBy.CASH), now=two.now)
    two.work()
    two.report("ann", "Start", 0)
    two.go_on(hours=1)
    return two


def refill(isp: Isp) -> None:
    """One made before, so that only redeeming happens now."""
    (card,) = make(isp.books, isp.now, CodeType.REFILL, plan="more")[1]
    with isp.books() as session:
        attempt = Attempt(card.code, "ann", "desk")
        assert isinstance(refills.redeem(session, attempt=attempt, keys=KEYS, now=isp.now), refills.Redeemed)


def agree(isp: Isp) -> list[tuple[object, ...]]:
    """After everybody's turn both databases say the same of every grant; return it."""
    isp.work()
    assert isp.at_books(GRANTS) == isp.at_radius(GRANTS)
    return isp.at_books(GRANTS)


def test_r9_over_use_that_was_on_its_way_is_counted_against_the_refill(isp: Isp) -> None:
    # Given the books know of 5 MiB of over-use, and RADIUS has metered 7 more
    isp.report("ann", "Interim-Update", GIB + 5 * MIB)
    isp.to_books()
    isp.report("ann", "Interim-Update", GIB + 12 * MIB)
    refill(isp)
    # Then the refill begins with all 12, in both databases
    _, given = agree(isp)
    assert given[:3] == ("voucher:1", GIB, 12 * MIB)


def test_r15_use_up_to_the_end_and_a_refill_at_the_same_moment_is_all_charged_once(isp: Isp) -> None:
    # Given the books have not heard that ann has used it up, and goes on
    isp.report("ann", "Interim-Update", GIB + 3 * MIB)
    refill(isp)
    bought, given = agree(isp)
    assert bought[1:3] == (GIB, GIB + 3 * MIB)
    assert given[:3] == ("voucher:1", GIB, 3 * MIB)


def test_r20_what_was_given_away_while_it_was_used_becomes_over_use_of_the_giver(isp: Isp) -> None:
    isp.report("ann", "Interim-Update", GIB)
    with isp.books() as session:
        transfers.transfer(
            session, wish=Wish("ann", "ben", GIB // 2, "g", "desk", Money(0, "KES")), now=isp.now
        )
    bought, received = agree(isp)
    assert bought[1:3] == (GIB // 2, GIB)
    assert bought[4] == "quota"
    assert received[1:3] == (GIB // 2, 0)
    # And then there is nothing more to give
    with isp.books() as session, pytest.raises(Refused):
        transfers.transfer(session, wish=Wish("ann", "ben", 1, "h", "desk", Money(0, "KES")), now=isp.now)


def test_r15_an_end_that_more_was_given_before_is_none(isp: Isp) -> None:
    """RADIUS ended the grant by the old quota; the books had raised it, so it lives, and no code is used up."""
    isp.report("ann", "Interim-Update", GIB)
    isp.at_books("UPDATE radius.entitlement SET quota_octets = %s", 2 * GIB)
    isp.to_books()
    assert isp.at_books("SELECT ended_at, used_octets FROM radius.entitlement") == [(None, GIB)]
    (bought,) = agree(isp)
    assert bought[1:5] == (2 * GIB, GIB, 3600 * 0, None)
    assert isp.at_books("SELECT count(*) FROM radius.ended_grant") == [(0,)]


def test_r30_what_is_carried_twice_or_late_changes_nothing(isp: Isp, monkeypatch: pytest.MonkeyPatch) -> None:
    isp.report("ann", "Interim-Update", 10 * MIB, 600)
    # Given a carrier that dies when the books have it, before RADIUS is told
    monkeypatch.setattr(carrying, "_clear", _die)
    with pytest.raises(_KilledError):
        isp.to_books()
    before = isp.at_books(GRANTS)
    assert before[0][2] == 10 * MIB
    hours = "SELECT username, interval_start, input_octets, output_octets, seconds FROM radius.usage_interval"
    used = isp.at_books(hours)
    # When the next one carries it again, and everything else once more
    monkeypatch.undo()
    assert isp.to_books()
    isp.at_radius("SELECT radius.return_everything()")
    assert isp.to_books(limit=3)
    # Then nothing has changed
    assert (isp.at_books(GRANTS), isp.at_books(hours)) == (before, used)
    assert used == isp.at_radius(hours)
    assert isp.at_radius("SELECT count(*) FROM radius.return_change") == [(0,)]


class _KilledError(Exception):
    pass


def _die(*_: object) -> None:
    raise _KilledError


def test_r30_a_carrier_that_was_held_up_cannot_write_over_a_later_one(isp: Isp) -> None:
    """The lock on the region is in the transaction of what is written: who lost it writes nothing."""
    with (
        closing(open_databases(isp.settings, "test")) as slow,
        closing(open_databases(isp.settings, "test")) as quick,
    ):
        assert slow.region is not None
        with slow.books.cursor() as cursor:
            cursor.execute("SELECT FROM billing.region FOR NO KEY UPDATE")
        isp.report("ann", "Interim-Update", MIB)
        with quick.books.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        quick.books.commit()
        with pytest.raises(Exception, match="lock timeout"):
            carry(quick.books, quick.radius, slow.region)
        quick.books.rollback()
        slow.books.rollback()
        assert carry(quick.books, quick.radius, slow.region)


def test_r15_many_carriers_meters_and_sellers_at_once_lose_and_double_nothing(isp: Isp) -> None:
    stop, failures = threading.Event(), []

    def carry_on() -> None:
        try:
            with closing(open_databases(isp.settings, "test")) as databases:
                while not stop.is_set():
                    assert databases.region is not None
                    carry(databases.books, databases.radius, databases.region, 7)
        except BaseException as failure:
            failures.append(failure)

    carriers = [threading.Thread(target=carry_on) for _ in range(2)]
    for thread in carriers:
        thread.start()
    for number in range(1, 31):
        isp.report("ann", "Interim-Update", number * MIB, number)
        if number % 10 == 0:
            with isp.books() as session:
                sell(session, order=Order("data", "ann", f"s{number}", "desk", PaidBy.CASH), now=isp.now)
            isp.to_radius()
    stop.set()
    for thread in carriers:
        thread.join(30)
    assert not failures
    grants = agree(isp)
    assert sum(int(str(row[2])) for row in grants) == 30 * MIB
    assert isp.at_books("SELECT sum(output_octets)::bigint FROM radius.usage_interval") == [(30 * MIB,)]


def test_r30_sessions_the_books_have_not_heard_of_are_cut_with_the_others_and_each_once(isp: Isp) -> None:
    isp.to_books()
    isp.report("ann", "Start", 0, session="2")
    with isp.books() as session:
        customers.disable(session, reference="ann", now=isp.now)
    isp.to_radius()
    asked = "SELECT action, reason, count(*) FROM radius.coa_request GROUP BY 1, 2"
    assert isp.at_radius(asked) == [("disconnect", "disabled", 2)]
    isp.to_radius()
    isp.work()
    assert isp.at_radius(asked) == isp.at_books(asked) == [("disconnect", "disabled", 2)]


def test_r30_a_refused_end_is_told_to_the_operator_once_by_the_books(isp: Isp) -> None:
    isp.report("ann", "Interim-Update", GIB)
    isp.at_radius("UPDATE radius.coa_request SET state = 'naked', finished_at = now(), outcome = 'refused'")
    isp.to_books()
    for expected in (1, 0):
        with isp.books() as session:
            assert tell_of_sessions(session, isp.now) == expected
        isp.at_radius("SELECT radius.return_everything()")
        isp.to_books()


def test_r30_books_from_a_backup_are_told_everything_again(isp: Isp) -> None:
    isp.report("ann", "Interim-Update", 9 * MIB)
    isp.to_books()
    # As if the books were those of an hour ago
    isp.at_books("DELETE FROM radius.usage_interval")
    isp.at_books("UPDATE radius.entitlement SET used_output_octets = 0")
    isp.at_books("UPDATE billing.region SET carried_change = 0, returned_until = NULL")
    assert isp.to_books()
    assert isp.at_books(GRANTS)[0][2] == 9 * MIB


def test_r30_a_radius_database_that_is_not_the_regions_is_refused(isp: Isp, open_isp: OpenIsp) -> None:
    isp.to_books()
    other = open_isp(2)
    with (
        pytest.raises(Refused, match="has another RADIUS database"),
        closing(open_databases(_with_books_of(other, isp), "test")),
    ):
        pass
    other.to_books()
    with (
        pytest.raises(Refused, match="of other books"),
        closing(open_databases(_with_books_of(other, isp), "test")),
    ):
        pass


def _with_books_of(radius: Isp, books: Isp) -> Settings:
    return replace(radius.settings, billing_url=books.billing_url)


def test_r30_a_region_entered_by_somebody_who_died_is_joined_by_the_next(open_isp: OpenIsp) -> None:
    isp = open_isp(2)
    isp.at_books(
        "INSERT INTO billing.region (name, database_id) VALUES ('main', 'a9dc92da-0b53-4ccc-9a5c-6f2ac1ee1cd1')"
    )
    with (
        closing(database.connect(isp.billing_url, "test")) as books,
        closing(database.connect(isp.radius_url, "test")) as radius,
    ):
        first = join(books, radius, "main")
        assert join(books, radius, "main") == first
    assert first.database_id == "a9dc92da-0b53-4ccc-9a5c-6f2ac1ee1cd1"
