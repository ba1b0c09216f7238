"""Export and erasure of one customer (rule R36): everything is told, and nothing of the person stays but figures."""

import json
from datetime import datetime, timedelta

import pytest

from billing import accounts, customers, erasure, ledger, privacy, sales, transfers, verification
from billing.accounts import Login
from billing.customers import Person
from billing.sales import Order
from billing.transfers import Wish
from billing.verification import Channel, ContactKey
from herotill.errors import Refused
from herotill.policy import ServicePolicy
from herotill.quantities import Money
from tests.contract.billing.code_makers import add_plan, log_in
from tests.contract.billing.conftest import Ask, OpenBooks
from tests.contract.billing.online import begin_session

KEY = ContactKey.of_secret("ab" * 32)
TRACES = ("ann.otieno", "Ann Otieno", "+254712000001", "ann@example.org", "da:a1:19", "DA-A1-19", "10.9.8.7")
LEDGER = """SELECT transaction_id, external_key, customer_id, ledger_account, amount_minor
            FROM billing.ledger_posting JOIN billing.ledger_transaction USING (transaction_id) ORDER BY posting_id"""


@pytest.fixture
def ann(books: OpenBooks, ask: Ask, now: datetime) -> str:
    """A customer with a past: bought, was online, gave something away, was sent a code. Her account number."""
    add_plan(books, now, policy=ServicePolicy(transferable=True))
    with books() as session:
        for name, user in (("Ann Otieno", "ann.otieno"), ("Ben", "ben")):
            person = Person(name, "+254712000001", "ann@example.org") if name != "Ben" else Person(name)
            customer = customers.add(session, person=person, now=now)
            accounts.add(session, login=Login(user, "secret-1"), customer=customer, now=now)
            customers.verify(session, reference=user, now=now)
    with books() as session:
        sales.sell(session, order=Order("1h", "ann.otieno", "k-1", "desk"), now=now)
        sales.sell(session, order=Order("1h", "ben", "k-2", "desk"), now=now)
        transfers.transfer(
            session, wish=Wish("ben", "ann.otieno", 5000, "t-1", "desk", Money(0, "KES")), now=now
        )
        verification.send_reset(session, username="ann.otieno", channel=Channel.SMS, key=KEY, now=now)
        number = customers.get(session, "ann.otieno").account_number
    begin_session(ask, now, "DA-A1-19-00-00-01", username="ann.otieno")
    ask(
        """INSERT INTO radius.radacct (acctsessionid, acctuniqueid, username, nasipaddress, callingstationid,
                                       framedipaddress, acctstarttime)
           VALUES ('s', 'unique-1', 'ann.otieno', '192.0.2.1', 'DA-A1-19-00-00-01', '10.9.8.7', :now)""",
        now=now,
    )
    ask("INSERT INTO radius.usage_interval VALUES ('ann.otieno', :now, 0, 7, 8, 9)", now=now)
    ask(
        """INSERT INTO radius.accounting_quarantine (node, segment, segment_offset, reason, record)
           VALUES ('n', 's', 0, 'nonsense', '["acct",1,"192.0.2.1",[["User-Name","ann.otieno"]]]')"""
    )
    log_in(ask, "ann.otieno", now)
    ask("UPDATE radius.login_outcome SET login_id = 'random'")
    return number


def stop_sessions(ask: Ask, at: datetime) -> None:
    ask("UPDATE radius.session SET stopped_at = :at", at=at)


def erase(books: OpenBooks, number: str, now: datetime) -> erasure.Erasure:
    with books() as session:
        return erasure.erase(session, reference=number, now=now)


def whole_database(ask: Ask) -> str:
    tables = ask(
        """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
           WHERE schemaname IN ('billing', 'radius')"""
    )
    rows = {table["name"]: ask(f"SELECT to_jsonb(t) FROM {table['name']} t") for table in tables}
    return json.dumps(rows, default=str)


def test_r36_the_export_tells_everything_but_secrets(books: OpenBooks, ann: str, now: datetime) -> None:
    with books() as session:
        document = privacy.export(session, customers.get(session, ann), now)

    told = document["tables"]
    for table in ("billing.customer", "billing.account", "billing.purchase", "billing.ledger_posting", "billing.event",
                  "billing.ledger_transaction", "billing.transfer", "billing.transfer_part", "billing.contact_code",
                  "radius.session", "radius.radacct", "radius.device", "radius.entitlement", "radius.login_outcome",
                  "radius.usage_interval", "radius.radcheck"):  # fmt: skip
        assert told[table], table
    assert all(trace in json.dumps(document) for trace in TRACES)
    assert "secret-1" not in json.dumps(document)
    assert [row["name"] for row in told["billing.customer"]] == ["Ann Otieno"]
    assert "Ben" not in json.dumps(document)


def test_r36_an_export_has_nothing_of_a_later_person_of_the_same_user_name(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    later = now + timedelta(days=1)
    stop_sessions(ask, now)
    with books() as session:
        customers.remove(session, reference=ann, now=later)
        heir = customers.add(session, person=Person("Heir"), now=later)
        accounts.add(session, login=Login("ann.otieno", "secret-9"), customer=heir, now=later)
    begin_session(ask, later + timedelta(hours=2), "00-1A-2B-3C-4D-5E", 2, "ann.otieno")

    with books() as session:
        former = privacy.export(session, erasure.find(session, ann), later)
        present = privacy.export(session, customers.get(session, "ann.otieno"), later)

    assert [row["acct_unique_id"] for row in former["tables"]["radius.session"]] == ["unique-1"]
    assert [row["acct_unique_id"] for row in present["tables"]["radius.session"]] == ["unique-2"]
    assert "radius.managed_account" not in former["tables"]
    erase(books, ann, later + timedelta(hours=3))
    assert ask("SELECT username FROM radius.session ORDER BY acct_unique_id") == [
        {"username": "erased-1"},
        {"username": "ann.otieno"},
    ]
    assert ask("SELECT username FROM radius.managed_account WHERE username = 'ann.otieno'") != []


def test_r36_after_an_erasure_no_trace_of_the_person_is_left(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    before = whole_database(ask)
    assert all(trace in before for trace in TRACES)
    stop_sessions(ask, now)

    assert erase(books, ann, now).done

    after = whole_database(ask)
    assert [trace for trace in TRACES if trace in after] == []


def test_r36_the_books_stay_as_they_are(books: OpenBooks, ask: Ask, ann: str, now: datetime) -> None:
    sums = "SELECT sum(input_octets) AS used FROM radius.usage_interval"
    before = (ask(LEDGER), ask("SELECT * FROM billing.purchase ORDER BY 1"), ask(sums))
    stop_sessions(ask, now)

    erase(books, ann, now)

    assert (ask(LEDGER), ask("SELECT * FROM billing.purchase ORDER BY 1"), ask(sums)) == before
    told = ask(
        "SELECT description FROM billing.ledger_transaction WHERE external_key LIKE 'purchase:%' ORDER BY 1"
    )
    assert [row["description"] for row in told] == ["1h to ben", "1h to erased-1"]
    with books() as session:
        assert ledger.balances(session, erasure.find(session, ann).customer_id) is not None


def test_r36_the_ledger_is_append_only_for_everybody_else(books: OpenBooks, ask: Ask, ann: str) -> None:
    for change in ("description = 'x'", "recorded_by = 'x'"):
        with pytest.raises(Exception, match="append-only"):
            ask(f"UPDATE billing.ledger_transaction SET {change}")
    with pytest.raises(Exception, match="append-only"):
        ask(
            "WITH _ AS (SELECT set_config('herotill.erasing', 'on', true)) "
            "UPDATE billing.ledger_transaction SET recorded_by = 'x' WHERE EXISTS (SELECT FROM _)"
        )


def test_r36_live_sessions_are_cut_before_anything_is_erased(
    books: OpenBooks, ask: Ask, ann: str, now: datetime
) -> None:
    first = erase(books, ann, now)

    assert (first.done, first.cut, first.live) == (False, 1, 1)
    assert ask("SELECT reason FROM radius.coa_request") == [{"reason": "deleted"}]
    assert ask("SELECT username FROM radius.managed_account") == [{"username": "ben"}]
    assert "Ann Otieno" in whole_database(ask)

    stop_sessions(ask, now)
    assert erase(books, ann, now).done
    with pytest.raises(Refused, match="erased already"):
        erase(books, ann, now)


def test_r36_a_session_that_has_been_silent_for_hours_is_no_obstacle(
    books: OpenBooks, ann: str, now: datetime
) -> None:
    assert erase(books, ann, now + timedelta(hours=2)).done
