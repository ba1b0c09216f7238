"""One customer at a time, entered by hand: what is somebody's already, or looks like it, is refused (rules R4, R5)."""

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import accounts, customers
from billing.accounts import Login
from billing.confusables import skeleton
from billing.customers import Person
from billing.doubles import STRICT, Tolerance, check_username_is_clear
from herotill.errors import InvalidValue
from tests.contract.billing.conftest import Ask, OpenBooks

ALLOW_ALL = Tolerance(same_email=True, look_alikes=True)


def _enter(books: OpenBooks, now: datetime, name: str, email: str, tolerance: Tolerance = STRICT) -> str:
    with books() as session:
        person = Person(name, email=email)
        return customers.add(session, person=person, now=now, tolerance=tolerance).account_number


@pytest.mark.parametrize(
    ("email", "why"),
    [
        ("piet1@example.org", "customer .* has it; --allow-same-email"),
        ("PIET1@Example.org", "customer .* has it; --allow-same-email"),
        ("pietl@example.org", "looks like piet1@example.org of customer .*; --allow-look-alikes"),
        ("pietI@example.org", "looks like piet1@example.org"),
        ("\N{CYRILLIC SMALL LETTER ER}iet1@example.org", "looks like piet1@example.org"),
    ],
)
def test_r4_an_address_somebody_has_or_could_be_taken_for_is_refused(
    books: OpenBooks, now: datetime, email: str, why: str
) -> None:
    _enter(books, now, "Piet", "piet1@example.org")
    with pytest.raises(InvalidValue, match=why):
        _enter(books, now, "Other", email)
    _enter(books, now, "Other", email, ALLOW_ALL)


def test_r4_the_first_may_be_the_one_that_is_not_ascii(books: OpenBooks, now: datetime) -> None:
    _enter(books, now, "Piet", "\N{CYRILLIC SMALL LETTER ER}iet@example.org")
    with pytest.raises(InvalidValue, match="looks like"):
        _enter(books, now, "Other", "piet@example.org")


def test_r5_a_customer_may_keep_or_change_its_own_address(books: OpenBooks, now: datetime) -> None:
    piet = _enter(books, now, "Piet", "piet1@example.org")
    other = _enter(books, now, "Other", "other@example.org")
    with books() as session:
        customers.edit(session, reference=piet, changes={"email": "pietl@example.org"})
    with books() as session, pytest.raises(InvalidValue, match="has it"):
        customers.edit(session, reference=other, changes={"email": "pietl@example.org"})
    with books() as session:
        customers.remove(session, reference=piet, now=now)
    with books() as session:
        customers.edit(session, reference=other, changes={"email": "pietl@example.org"})


def test_r4_a_user_name_that_looks_like_another_customers_is_refused(books: OpenBooks, now: datetime) -> None:
    piet = _enter(books, now, "Piet", "piet@example.org")
    with books() as session:
        owner = customers.get(session, piet)
        accounts.add(session, login=Login("room-10", "correct horse"), customer=owner, now=now)
        check_username_is_clear(session, "room-1o", owner_id=owner.customer_id)
        check_username_is_clear(session, "room-11")
        with pytest.raises(InvalidValue, match="looks like room-10 of customer"):
            check_username_is_clear(session, "rOOm-lO")
        check_username_is_clear(session, "room-1o", ALLOW_ALL)


@given(text=st.text(st.characters(max_codepoint=127, min_codepoint=32), max_size=30))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_r4_the_database_sees_ascii_as_we_do(ask: Ask, text: str) -> None:
    (row,) = ask("SELECT billing.looks_like(:text) AS look", text=text)
    assert row["look"] == skeleton(text)


def test_r4_the_books_are_not_read_as_a_whole(ask: Ask) -> None:
    for table, column in (("account", "username"), ("customer", "email")):
        rows = ask(
            f"""SELECT indexdef FROM pg_indexes WHERE schemaname = 'billing' AND tablename = :table
                AND indexdef LIKE '%looks_like({column})%'""",
            table=table,
        )
        assert len(rows) == 1
