"""Top-ups by an operator: for every kind of account, for nothing, once per key (rule R19)."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from billing import accounts, customers, plans, sales, top_ups
from billing.customers import Person
from billing.sales import Order
from billing.terms import PlanTerms
from billing.top_ups import Gift
from herotill.errors import InvalidValue, Refused
from herotill.policy import Counting, Ending, ServicePolicy
from herotill.quantities import Money
from herotill.snapshot import AccountKind
from tests.contract.billing.conftest import Ask, OpenBooks

GIB = 2**30
GIFT = Gift("student-1", "k1", "desk", "the mast was down", octets=2 * GIB)
SLOW = ServicePolicy(
    download_bits_per_second=2_000_000,
    at_quota=Ending.THROTTLE,
    throttled_download_bits_per_second=64_000,
    throttled_upload_bits_per_second=64_000,
)


def _account(books: OpenBooks, now: datetime, kind: AccountKind, *, is_verified: bool = True) -> None:
    with books() as session:
        customer = customers.add(session, person=Person("Student One"), now=now)
        accounts.add(session, login=accounts.Login("student-1", "secret-1", kind), customer=customer, now=now)
        if is_verified:
            customers.verify(session, reference="student-1", now=now)


@pytest.mark.parametrize("kind", AccountKind)
def test_r19_every_kind_of_account_is_topped_up_for_nothing(
    books: OpenBooks, ask: Ask, now: datetime, kind: AccountKind
) -> None:
    _account(books, now, kind)
    with books() as session:
        given = top_ups.top_up(session, gift=replace(GIFT, seconds=7200, valid_seconds=86_400), now=now)
    assert (given.octets, given.seconds, given.repeated) == (2 * GIB, 7200, False)
    assert given.expires_at == now + timedelta(days=1)
    (grant,) = ask("SELECT * FROM radius.entitlement")
    assert (grant["external_key"], grant["source"]) == (f"topup:{given.top_up_id}", "topup")
    assert (grant["quota_octets"], grant["quota_seconds"]) == (2 * GIB, 7200)
    assert grant["expires_at"] == given.expires_at
    (kept,) = ask("SELECT reason, topped_up_by, topped_up_at FROM billing.top_up")
    assert kept == {"reason": "the mast was down", "topped_up_by": "desk", "topped_up_at": now}
    assert ask("SELECT 1 FROM billing.ledger_posting") == []
    assert [row["kind"] for row in ask("SELECT kind FROM billing.event")] == ["topup"]


def test_r19_a_top_up_changes_how_much_never_how_fast(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _account(books, now, AccountKind.PREPAID)
    terms = PlanTerms(Money(5000, "KES"), quota_octets=GIB, policy=SLOW, counting=Counting.DOWNLOAD)
    with books() as session:
        plans.add(session, name="slow", terms=terms, now=now)
        sales.sell(session, order=Order("slow", "student-1", "o1", "desk"), now=now)
    ask("UPDATE radius.entitlement SET ended_at = :now, ended_reason = 'quota'", now=now)
    with books() as session:
        top_ups.top_up(session, gift=GIFT, now=now)
    (grant,) = ask("SELECT * FROM radius.entitlement WHERE source = 'topup'")
    assert ServicePolicy.from_mapping(grant["policy"]) == SLOW
    assert grant["counting"] == "download"


def test_r19_a_key_gives_once_under_concurrency(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _account(books, now, AccountKind.PREPAID)
    outcomes: list[bool] = []
    together = threading.Barrier(8)

    def give() -> None:
        together.wait()
        with books() as session:
            outcomes.append(top_ups.top_up(session, gift=GIFT, now=now).repeated)

    threads = [threading.Thread(target=give) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] + [True] * 7
    assert len(ask("SELECT 1 FROM billing.top_up")) == len(ask("SELECT 1 FROM radius.entitlement")) == 1


def test_r19_a_key_is_not_used_for_something_else(books: OpenBooks, now: datetime) -> None:
    _account(books, now, AccountKind.PREPAID)
    with books() as session:
        top_ups.top_up(session, gift=GIFT, now=now)
    with pytest.raises(Refused, match="k1 gave student-1 something else"), books() as session:
        top_ups.top_up(session, gift=replace(GIFT, octets=GIB), now=now)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"octets": None}, "octets"),
        ({"octets": 0}, "octets"),
        ({"octets": None, "seconds": -1}, "seconds"),
        ({"valid_seconds": 0}, "valid_seconds"),
        ({"reason": " "}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"key": ""}, "key"),
        ({"username": "nobody"}, "user"),
    ],
)
def test_r19_an_impossible_top_up_gives_nothing(
    books: OpenBooks, ask: Ask, now: datetime, changes: dict[str, str | int | None], field: str
) -> None:
    _account(books, now, AccountKind.PREPAID)
    with pytest.raises(InvalidValue, match=field), books() as session:
        top_ups.top_up(session, gift=replace(GIFT, **changes), now=now)  # type: ignore[arg-type]
    assert ask("SELECT 1 FROM billing.top_up") == []


def test_r3_who_is_not_verified_is_given_nothing(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _account(books, now, AccountKind.PREPAID, is_verified=False)
    with pytest.raises(Refused, match="not verified"), books() as session:
        top_ups.top_up(session, gift=GIFT, now=now)
    assert ask("SELECT 1 FROM radius.entitlement") == []
