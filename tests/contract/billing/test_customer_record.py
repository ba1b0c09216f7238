"""The customer record (rules R5, R6): numbers, devices, what is left, and finding a customer by whatever is known."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from billing import accounts, customer_record, customers, groups, sales
from billing.accounts import Login
from billing.customers import Person, Sort, Standing, Wanted
from billing.sales import Order
from herotill.devices import normal_mac
from herotill.errors import InvalidValue
from tests.contract.billing.code_makers import GIB, add_plan
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.online import begin_session

PHONE_MAC, LAPTOP_MAC = "DA-A1-19-00-00-01", "00:1a:2b:3c:4d:5e"


@pytest.fixture
def people(books: OpenBooks, now: datetime) -> None:
    """Ann, verified, with an account; Ben, unverified; Cora, disabled."""
    with books() as session:
        groups.add(session, name="hostel-a", now=now)
        ann = Person("Ann Otieno", "0712 000001", "ann@example.org")
        customer = customers.add(session, person=ann, group="hostel-a", now=now, region="KE")
        accounts.add(session, login=Login("ann", "secret-1"), customer=customer, now=now)
        customers.verify(session, reference="ann", now=now)
        customers.add(session, person=Person("Ben Kamau"), now=now + timedelta(days=1))
        cora = customers.add(session, person=Person("cora"), now=now + timedelta(days=2))
        customers.disable(session, reference=cora.account_number, now=now)


def names(books: OpenBooks, **wanted: Any) -> list[str]:
    with books() as session:
        return [each.name for each in customers.listing(session, Wanted(**wanted))]


def test_r5_account_numbers_are_unique_and_end_in_a_luhn_digit(books: OpenBooks, people: None) -> None:
    with books() as session:
        numbers = [each.account_number for each in customers.listing(session)]
        numbers += [customers.add(session, person=Person("X"), now=each.joined_at).account_number
                    for each in customers.listing(session)]  # fmt: skip
    assert numbers[:3] == ["100016", "100024", "100032"]
    assert len(set(numbers)) == 6
    assert all(_luhn(number) for number in numbers)


def _luhn(number: str) -> bool:
    digits = [int(digit) * (1 if index % 2 == 0 else 2) for index, digit in enumerate(reversed(number))]
    return sum(digit - 9 if digit > 9 else digit for digit in digits) % 10 == 0


def test_r5_every_device_ever_seen_is_shown_and_made_up_addresses_are_marked(
    books: OpenBooks, ask: Ask, people: None, now: datetime
) -> None:
    begin_session(ask, now, PHONE_MAC, 1)
    begin_session(ask, now + timedelta(hours=3), "daa1.1900.0001", 2)
    begin_session(ask, now + timedelta(hours=1), LAPTOP_MAC, 3)
    begin_session(ask, now + timedelta(hours=1), "254712000001", 4)

    with books() as session:
        seen = customer_record.devices_of(session, customers.get(session, "ann"))

    assert [(each.mac, each.is_randomised) for each in seen] == [
        ("da:a1:19:00:00:01", True),
        ("00:1a:2b:3c:4d:5e", False),
    ]
    assert (seen[0].first_session_at, seen[0].last_session_at) == (now, now + timedelta(hours=3))


def test_r5_devices_outlive_the_sessions_they_were_seen_in(
    books: OpenBooks, ask: Ask, people: None, now: datetime
) -> None:
    begin_session(ask, now, PHONE_MAC)
    ask("DELETE FROM radius.session")
    with books() as session:
        assert len(customer_record.devices_of(session, customers.get(session, "ann"))) == 1


def test_r5_a_later_account_of_a_name_has_none_of_the_earlier_ones_devices(
    books: OpenBooks, ask: Ask, people: None, now: datetime
) -> None:
    begin_session(ask, now, PHONE_MAC)
    later = now + timedelta(days=9)
    with books() as session:
        former = customers.get(session, "ann").account_number
        customers.remove(session, reference="ann", now=later)
        ben = customers.get(session, "100024")
        accounts.add(session, login=Login("ann", "secret-2"), customer=ben, now=later)
        assert customer_record.devices_of(session, ben) == []
    begin_session(ask, later + timedelta(hours=1), LAPTOP_MAC, 2)
    with books() as session:
        found = customer_record.devices_of(session, customers.get(session, "100024"))
    assert [each.mac for each in found] == [LAPTOP_MAC]
    assert former == "100016"


@pytest.mark.parametrize(
    "calling",
    ["AA-BB-CC-00-11-22", "aa:bb:cc:00:11:22", "aabb.cc00.1122", "AABBCC001122", "254712345678", "aa:bb", "",
     "AA-BB-CC-00-11-22:ssid"],
)  # fmt: skip
def test_r5_the_database_reads_addresses_as_the_rules_do(ask: Ask, calling: str) -> None:
    [row] = ask("SELECT radius.mac_of(:calling)::text AS mac", calling=calling)
    assert row["mac"] == normal_mac(calling)


@pytest.mark.parametrize(
    "reference",
    ["100016", "ann", "+254712000001", "ANN@example.org", PHONE_MAC, "daa119000001", "DA:A1:19:00:00:01"],
)
def test_r5_a_customer_is_found_by_whatever_is_known(
    books: OpenBooks, ask: Ask, people: None, now: datetime, reference: str
) -> None:
    begin_session(ask, now, PHONE_MAC)
    with books() as session:
        assert customers.get(session, reference).name == "Ann Otieno"


@pytest.mark.parametrize(
    "search",
    [
        "10001",
        "ann",
        "OTIENO",
        "712000001",
        "0712 000 001",
        "+254 712",
        "example.org",
        "da:a1:19",
        "DAA119000001",
    ],
)
def test_r5_a_search_looks_at_everything(
    books: OpenBooks, ask: Ask, people: None, now: datetime, search: str
) -> None:
    begin_session(ask, now, PHONE_MAC)
    assert names(books, search=search) == ["Ann Otieno"]


def test_r5_lists_are_filtered_sorted_and_paged(books: OpenBooks, people: None) -> None:
    assert names(books, group="hostel-a") == ["Ann Otieno"]
    assert names(books, standing=Standing.ACTIVE) == ["Ann Otieno"]
    assert names(books, standing=Standing.UNVERIFIED) == ["Ben Kamau"]
    assert names(books, standing=Standing.DISABLED) == ["cora"]
    assert names(books, sort=Sort.JOINED) == ["cora", "Ben Kamau", "Ann Otieno"]
    assert names(books, sort=Sort.NAME, limit=2) == ["Ann Otieno", "Ben Kamau"]
    assert names(books, sort=Sort.NAME, limit=2, page=2) == ["cora"]


def test_r5_what_is_left_is_shown(books: OpenBooks, people: None, now: datetime) -> None:
    add_plan(books, now, quota_octets=GIB, seconds_after_purchase=3600)
    with books() as session:
        sales.sell(session, order=Order("1h", "ann", "k-1", "desk"), now=now)
    with books() as session:
        ann = customers.get(session, "ann")
        [grant] = customer_record.living_grants(session, ann, now)
        assert (grant.plan_name, grant.remaining_octets) == ("1h", GIB)
        assert grant.expires_at == now + timedelta(hours=1)
        assert customer_record.living_grants(session, ann, now + timedelta(hours=1)) == []


def test_r5_a_phone_is_unique_however_it_is_written(books: OpenBooks, people: None, now: datetime) -> None:
    with pytest.raises(InvalidValue, match="customer 100016 has it"), books() as session:
        customers.add(session, person=Person("Dora", "+254-712-000001"), now=now)
    with pytest.raises(InvalidValue, match="or one of KE"), books() as session:
        customers.edit(session, reference="ann", changes={"phone": "12"}, region="KE")
