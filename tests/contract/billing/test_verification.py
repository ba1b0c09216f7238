"""Codes by e-mail and SMS (rule R3): good once, for a while, for so many tries, at the address they went to."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from billing import accounts, customers, groups, invitations, sales, verification
from billing.accounts import Login
from billing.customers import Person
from billing.sales import Order
from billing.verification import Channel, ContactKey
from herotill.errors import InvalidValue, Refused
from tests.contract.billing.code_makers import add_plan
from tests.contract.billing.conftest import Ask, OpenBooks

KEY = ContactKey.of_secret("ab" * 32)


@pytest.fixture
def ann(books: OpenBooks, now: datetime) -> str:
    """An unverified customer's account number."""
    with books() as session:
        groups.add(session, name="hostel-a", now=now)
        person = Person("Ann", "+254712000001", "ann@example.org")
        customer = customers.add(session, person=person, group="hostel-a", now=now)
        account = accounts.add(session, login=Login("ann", "made-up-1"), customer=customer, now=now)
        account.must_reset_secret = True
        return customer.account_number


def _send(books: OpenBooks, now: datetime, channel: Channel = Channel.EMAIL) -> None:
    with books() as session:
        verification.send_verification(session, reference="ann", channel=channel, key=KEY, now=now)


def _send_reset(books: OpenBooks, now: datetime) -> None:
    with books() as session:
        verification.send_reset(session, username="ann", channel=Channel.SMS, key=KEY, now=now)


def _code(ask: Ask) -> str:
    [row] = ask("SELECT payload ->> 'code' AS code FROM billing.event ORDER BY event_id DESC LIMIT 1")
    return str(row["code"])


def _enter(books: OpenBooks, code: str, now: datetime) -> bool:
    with books() as session:
        return verification.verify_by_code(session, reference="ann", code=code, key=KEY, now=now)


def _reset(books: OpenBooks, code: str, now: datetime, secret: str = "my-own-1") -> bool:
    with books() as session:
        return verification.reset_by_code(session, username="ann", code=code, secret=secret, key=KEY, now=now)


def _status(ask: Ask) -> str:
    return str(ask("SELECT status FROM radius.managed_account WHERE username = 'ann'")[0]["status"])


def test_r3_a_code_goes_out_as_an_event_and_verifies(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    _send(books, now)

    [event] = ask("SELECT kind, payload, customer_id IS NOT NULL AS has_owner FROM billing.event")
    assert (event["kind"], event["has_owner"]) == ("verification.code", True)
    assert event["payload"]["email"] == "ann@example.org"
    assert len(event["payload"]["code"]) == 8
    assert _status(ask) == "unverified"

    code = _code(ask)
    assert _enter(books, f" {code[:4]}-{code[4:]} ", now)

    assert _status(ask) == "active"
    assert ask("SELECT verified_by, verified_at FROM billing.customer") == [
        {"verified_by": "email", "verified_at": now}
    ]


def test_r3_a_code_is_kept_as_a_hash_and_leaves_its_event_when_it_has_ended(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    _send(books, now)
    code = _code(ask)
    assert code not in str(ask("SELECT * FROM billing.contact_code"))

    _enter(books, code, now)

    assert code not in str(ask("SELECT payload FROM billing.event"))


def test_r3_a_code_is_good_once(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    _send_reset(books, now)
    code = _code(ask)
    assert _reset(books, code, now, "first-one")
    assert not _reset(books, code, now, "second-one")
    assert ask("SELECT secret FROM billing.account") == [{"secret": "first-one"}]


@pytest.mark.parametrize(
    ("late", "is_good"), [(timedelta(hours=24), False), (timedelta(hours=23, minutes=59), True)]
)
def test_r3_a_code_expires(
    books: OpenBooks, ask: Ask, ann: str, now: datetime, late: timedelta, is_good: bool
) -> None:
    _send(books, now)
    assert _enter(books, _code(ask), now + late) is is_good


def test_r3_tries_are_limited(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    _send(books, now)
    code = _code(ask)
    wrong = f"{(int(code) + 1) % 10**8:08d}"
    for _ in range(verification.MOST_ATTEMPTS):
        assert not _enter(books, wrong, now)
    assert not _enter(books, code, now)
    assert ask("SELECT ended_reason FROM billing.contact_code") == [{"ended_reason": "attempts"}]


def test_r3_tries_at_the_same_moment_are_all_counted(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    _send(books, now)
    wrong = f"{(int(_code(ask)) + 1) % 10**8:08d}"
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(lambda _: _enter(books, wrong, now), range(4)))
    assert ask("SELECT failed_attempts FROM billing.contact_code") == [{"failed_attempts": 4}]


def test_r3_a_new_code_replaces_the_one_before(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    _send(books, now)
    first = _code(ask)
    _send(books, now)
    second = _code(ask)
    assert first == second or not _enter(books, first, now)
    assert _enter(books, second, now)


def test_r3_codes_are_sent_so_often_and_no_more(books: OpenBooks, ann: str, now: datetime) -> None:
    for _ in range(verification.MOST_CODES):
        _send(books, now)
    with pytest.raises(Refused, match="within the hour"):
        _send(books, now + timedelta(minutes=59))
    _send(books, now + timedelta(minutes=61))


def test_r3_a_code_proves_the_address_it_went_to_and_no_later_one(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    _send(books, now)
    with books() as session:
        customers.edit(session, reference="ann", changes={"email": "else@example.org"})
    assert not _enter(books, _code(ask), now)
    assert _status(ask) == "unverified"


def test_r3_one_customers_code_is_no_other_customers(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    with books() as session:
        customer = customers.add(session, person=Person("Ben", email="ben@example.org"), now=now)
        accounts.add(session, login=Login("ben", "secret-1"), customer=customer, now=now)
        verification.send_verification(session, reference="ben", channel=Channel.EMAIL, key=KEY, now=now)
    code = _code(ask)
    _send(books, now)
    assert code == _code(ask) or not _enter(books, code, now)


@pytest.mark.parametrize("code", ["", "12345678901234567890", "not a code", "\uff11\uff12", "\udcff", "\0"])
def test_r3_nonsense_is_a_wrong_code(books: OpenBooks, ann: str, now: datetime, code: str) -> None:
    assert not _enter(books, code, now)  # none was sent
    _send(books, now)
    assert not _enter(books, code, now)


def test_r3_where_nothing_can_be_sent_it_says_why(books: OpenBooks, now: datetime, ann: str) -> None:
    with books() as session:
        customers.edit(session, reference="ann", changes={"phone": None})
    with pytest.raises(Refused, match="has no phone"):
        _send(books, now, Channel.SMS)
    with books() as session:
        customers.verify(session, reference="ann", now=now)
    with pytest.raises(Refused, match="verified already"):
        _send(books, now)


def test_r3_a_reset_gives_the_password_its_owner_chose_and_verifies(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    _send_reset(books, now)
    assert ask("SELECT payload ->> 'phone' AS phone FROM billing.event") == [{"phone": "+254712000001"}]

    assert _reset(books, _code(ask), now)

    assert ask("SELECT secret, must_reset_secret FROM billing.account") == [
        {"secret": "my-own-1", "must_reset_secret": False}
    ]
    check = "SELECT value FROM radius.radcheck WHERE username = 'ann'"
    assert ask(check) == [{"value": "my-own-1"}]
    assert ask("SELECT verified_by FROM billing.customer") == [{"verified_by": "sms"}]


def test_r3_a_password_that_cannot_be_uses_up_no_code(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    _send_reset(books, now)
    with pytest.raises(InvalidValue, match="password"):
        _reset(books, _code(ask), now, "x")
    assert _reset(books, _code(ask), now)


def test_r3_an_unverified_customer_cannot_buy(books: OpenBooks, ann: str, now: datetime) -> None:
    add_plan(books, now)
    with books() as session, pytest.raises(Refused, match="not verified"):
        sales.sell(session, order=Order("1h", "ann", "k-1", "desk"), now=now)


def test_r3_an_operator_verifies_by_hand_and_says_why(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    with books() as session:
        customers.verify(session, reference="ann", now=now, by="root", reason="saw the passport")
    assert ask("SELECT verified_by, verified_reason FROM billing.customer") == [
        {"verified_by": "operator:root", "verified_reason": "saw the passport"}
    ]


def test_r3_what_has_expired_is_forgotten_by_the_clock(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    _send(books, now)
    code = _code(ask)
    with books() as session:
        assert verification.expire_codes(session, now + timedelta(hours=23)) == 0
        assert verification.expire_codes(session, now + timedelta(hours=24)) == 1
    assert code not in str(ask("SELECT payload FROM billing.event"))


def test_r4_a_group_is_invited_once(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    def invite(at: datetime) -> invitations.Invited:
        with books() as session:
            return invitations.invite(session, group="hostel-a", channel=Channel.EMAIL, key=KEY, now=at)

    with books() as session:
        mute = customers.add(session, person=Person("Mute"), group="hostel-a", now=now)
        account = accounts.add(session, login=Login("mute", "made-up-1"), customer=mute, now=now)
        account.must_reset_secret = True

    assert invite(now) == invitations.Invited(sent=1, unreachable=1)
    assert invite(now) == invitations.Invited(sent=0, unreachable=1)
    assert invite(now + timedelta(days=7)) == invitations.Invited(sent=1, unreachable=1)

    assert _reset(books, _code(ask), now + timedelta(days=13))
    assert invite(now + timedelta(days=20)).sent == 0
