"""Transfers of unused data: to the octet, whatever happens at the same moment (rule R20)."""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing import accounts, customers, ledger, plans, sales, transfers
from billing.customers import Person
from billing.ledger import Entry
from billing.sales import Order
from billing.terms import PlanTerms
from billing.transfers import Wish
from herotill.errors import InvalidValue, Refused
from herotill.policy import ServicePolicy, Sharing
from herotill.quantities import Money
from tests.contract.billing.conftest import Ask, OpenBooks

GIB = 2**30
FREE = Money(0, "KES")
WISH = Wish("student-1", "student-2", 300, "t1", "desk", FREE)
LIVING = "SELECT * FROM radius.entitlement WHERE ended_at IS NULL ORDER BY entitlement_id"


def _people(books: OpenBooks, now: datetime, count: int = 2) -> None:
    with books() as session:
        for number in range(1, count + 1):
            customer = customers.add(session, person=Person(f"Student {number}"), now=now)
            login = accounts.Login(f"student-{number}", "secret-1")
            accounts.add(session, login=login, customer=customer, now=now)
            customers.verify(session, reference=f"student-{number}", now=now)


def _sell(books: OpenBooks, now: datetime, to: str = "student-1", key: str = "o1", **terms: Any) -> None:
    fields: dict[str, Any] = {
        "price": Money(5000, "KES"),
        "quota_octets": 1000,
        "policy": ServicePolicy(transferable=True),
    } | terms
    with books() as session:
        plans.add(session, name=key, terms=PlanTerms(**fields), now=now)
        sales.sell(session, order=Order(key, to, key, "desk"), now=now)


def _quota(ask: Ask, username: str) -> int:
    rows = ask("SELECT quota_octets FROM radius.entitlement WHERE username = :name", name=username)
    return sum(row["quota_octets"] for row in rows)


def _at_once(actions: Sequence[Callable[[], None]]) -> None:
    together = threading.Barrier(len(actions))

    def run(action: Callable[[], None]) -> None:
        together.wait()
        action()

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_r20_what_is_given_keeps_its_plan_its_policy_and_its_end(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    _people(books, now)
    _sell(books, now, seconds_after_purchase=3600, priority=7)
    later = now + timedelta(minutes=1)
    with books() as session:
        done = transfers.transfer(session, wish=WISH, now=later)
    assert (done.giver, done.receiver, done.octets, done.repeated) == ("student-1", "student-2", 300, False)
    source, given = ask(LIVING)
    assert (source["quota_octets"], given["quota_octets"]) == (700, 300)
    assert (given["username"], given["source"], given["plan_name"]) == ("student-2", "transfer", "o1")
    assert given["external_key"] == f"transfer:{done.transfer_id}:1"
    for same in ("policy", "expires_at", "priority", "counting"):
        assert given[same] == source[same]
    assert ask("SELECT from_grant_key, octets FROM billing.transfer_part") == [
        {"from_grant_key": source["external_key"], "octets": 300}
    ]
    kinds = ask("SELECT kind FROM billing.event WHERE kind LIKE 'transfer%' ORDER BY event_id")
    assert [row["kind"] for row in kinds] == ["transfer.sent", "transfer.received"]


def test_r20_only_what_is_unused_and_unpromised_can_be_given(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    _people(books, now)
    _sell(books, now, policy=ServicePolicy(transferable=True, sharing=Sharing.STRICT))
    ask("UPDATE radius.entitlement SET used_output_octets = 400, first_used_at = :now", now=now)
    ask(
        "INSERT INTO radius.reservation (login_id, entitlement_id, username, octets, used_octets, created_at,"
        " expires_at) SELECT 'l1', entitlement_id, username, 200, 50, :now, :later FROM radius.entitlement",
        now=now,
        later=now + timedelta(hours=1),
    )
    with pytest.raises(Refused, match=r"can give 450B, 451B were asked for"), books() as session:
        transfers.transfer(session, wish=replace(WISH, octets=451), now=now)
    assert ask("SELECT 1 FROM billing.transfer") == []
    with books() as session:
        transfers.transfer(session, wish=replace(WISH, octets=450), now=now)
    source, given = ask(LIVING)
    assert (source["quota_octets"], source["used_octets"], given["quota_octets"]) == (550, 400, 450)


def test_r20_several_grants_give_in_the_order_they_burn(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _people(books, now)
    _sell(books, now, key="late")
    _sell(books, now, key="soon", seconds_after_purchase=3600)
    with books() as session:
        transfers.transfer(session, wish=replace(WISH, octets=1500), now=now)
    parts = ask("SELECT part, octets FROM billing.transfer_part ORDER BY part")
    assert [row["octets"] for row in parts] == [1000, 500]
    given = ask(
        "SELECT plan_name, quota_octets, expires_at FROM radius.entitlement WHERE username = 'student-2'"
    )
    assert {row["plan_name"]: row["quota_octets"] for row in given} == {"soon": 1000, "late": 500}
    (gone,) = ask("SELECT ended_reason FROM radius.entitlement WHERE ended_at IS NOT NULL")
    assert gone == {"ended_reason": "quota"}


@pytest.mark.parametrize(
    "terms",
    [
        {"policy": ServicePolicy()},
        {"quota_octets": None},
        {"quota_seconds": 3600},
    ],
)
def test_r20_a_plan_that_does_not_allow_it_gives_nothing(
    books: OpenBooks, ask: Ask, now: datetime, terms: dict[str, Any]
) -> None:
    _people(books, now)
    _sell(books, now, **terms)
    with pytest.raises(Refused, match=r"can give 0B.*allows"), books() as session:
        transfers.transfer(session, wish=WISH, now=now)
    assert len(ask(LIVING)) == 1


def test_r20_who_has_given_everything_is_cut(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _people(books, now)
    _sell(books, now)
    ask(
        "INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,"
        " started_at, last_report_at) VALUES ('u1', 'k1', 'student-1', '192.0.2.1', '0001', :now, :now)",
        now=now,
    )
    with books() as session:
        transfers.transfer(session, wish=replace(WISH, octets=999), now=now)
    assert ask("SELECT 1 FROM radius.coa_request") == []
    with books() as session:
        transfers.transfer(session, wish=replace(WISH, octets=1, key="t2"), now=now)
    (request,) = ask("SELECT username, action, reason FROM radius.coa_request")
    assert request == {"username": "student-1", "action": "disconnect", "reason": "transferred"}


def test_r20_a_fee_is_taken_from_the_givers_balance_or_nothing_happens(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    _people(books, now)
    _sell(books, now)
    wish = replace(WISH, fee=Money(500, "KES"))
    with pytest.raises(Refused, match=r"balance is 0\.00 KES"), books() as session:
        transfers.transfer(session, wish=wish, now=now)
    assert (_quota(ask, "student-1"), _quota(ask, "student-2")) == (1000, 0)
    (customer,) = ask("SELECT customer_id FROM billing.customer WHERE name = 'Student 1'")
    with books() as session:
        entry = Entry("payment:1", "cash", now, "desk")
        ledger.post_payment(session, entry, Money(700, "KES"), customer["customer_id"])
        transfers.transfer(session, wish=wish, now=now)
        assert ledger.balance(session, customer["customer_id"], "KES") == Money(200, "KES")
    assert (_quota(ask, "student-1"), _quota(ask, "student-2")) == (700, 300)


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE billing.customer SET verified_at = NULL WHERE name = 'Student 2'",
        "UPDATE billing.customer SET disabled_at = now() WHERE name = 'Student 2'",
        "UPDATE billing.account SET status = 'suspended', suspended_reason = 'x' WHERE username = 'student-1'",
        "UPDATE billing.account SET status = 'stored' WHERE username = 'student-2'",
    ],
)
def test_r20_only_accounts_in_good_standing_take_part(
    books: OpenBooks, ask: Ask, now: datetime, spoil: str
) -> None:
    _people(books, now)
    _sell(books, now)
    ask(spoil)
    with pytest.raises(Refused), books() as session:
        transfers.transfer(session, wish=WISH, now=now)
    assert _quota(ask, "student-1") == 1000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"octets": 0}, "octets"),
        ({"receiver": "student-1"}, "to"),
        ({"receiver": "nobody"}, "user"),
        ({"key": ""}, "key"),
    ],
)
def test_r20_an_impossible_transfer_moves_nothing(
    books: OpenBooks, ask: Ask, now: datetime, changes: dict[str, Any], field: str
) -> None:
    _people(books, now)
    _sell(books, now)
    with pytest.raises(InvalidValue, match=field), books() as session:
        transfers.transfer(session, wish=replace(WISH, **changes), now=now)
    assert _quota(ask, "student-1") == 1000


def test_r20_a_key_transfers_once_under_concurrency(books: OpenBooks, ask: Ask, now: datetime) -> None:
    _people(books, now)
    _sell(books, now)
    outcomes: list[bool] = []

    def go() -> None:
        with books() as session:
            outcomes.append(transfers.transfer(session, wish=WISH, now=now).repeated)

    _at_once([go] * 8)
    assert sorted(outcomes) == [False] + [True] * 7
    assert (_quota(ask, "student-1"), _quota(ask, "student-2")) == (700, 300)


def test_r20_octets_are_conserved_while_everybody_gives_and_uses_at_once(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    """Eight connections: six give to and fro, two meter. What was sold is what is there plus what was used."""
    _people(books, now, 3)
    for number in range(1, 4):
        _sell(books, now, f"student-{number}", f"o{number}", quota_octets=GIB)
    refused: list[str] = []

    def give(seed: int) -> Callable[[], None]:
        chance = random.Random(seed)

        def run() -> None:
            for turn in range(12):
                giver, receiver = chance.sample(["student-1", "student-2", "student-3"], 2)
                wish = Wish(giver, receiver, chance.randint(1, GIB), f"{seed}:{turn}", "desk", FREE)
                try:
                    with books() as session:
                        transfers.transfer(session, wish=wish, now=now)
                except Refused as error:
                    refused.append(str(error))

        return run

    def use(seed: int) -> Callable[[], None]:
        chance = random.Random(seed)

        def run() -> None:
            for _ in range(12):
                # As the meter does: lock the account, then burn what is left of a grant.
                ask(
                    "WITH locked AS (SELECT username FROM radius.managed_account WHERE username = :name FOR NO KEY UPDATE)"
                    " UPDATE radius.entitlement e SET used_output_octets = used_output_octets"
                    " + LEAST(:octets, quota_octets - used_octets) FROM locked"
                    " WHERE entitlement_id = (SELECT min(entitlement_id) FROM radius.entitlement"
                    "                         WHERE username = :name AND ended_at IS NULL) AND e.username = locked.username",
                    name=f"student-{chance.randint(1, 3)}",
                    octets=chance.randint(1, GIB // 50),
                )

        return run

    _at_once([*(give(seed) for seed in range(6)), *(use(seed) for seed in (6, 7))])
    (totals,) = ask("SELECT sum(quota_octets)::bigint AS given FROM radius.entitlement")
    assert totals["given"] == 3 * GIB
    assert ask("SELECT 1 FROM radius.entitlement WHERE used_octets > quota_octets OR quota_octets < 0") == []
    assert len(ask("SELECT 1 FROM billing.transfer")) + len(refused) == 72
    (moved,) = ask(
        "SELECT (SELECT sum(octets) FROM billing.transfer) = (SELECT sum(octets) FROM billing.transfer_part) AS all"
    )
    assert moved == {"all": True}
