"""What the books say is what RADIUS has: the same transaction, the changed account, and nothing else."""

import json
import select
import threading
from datetime import datetime
from typing import Any

import psycopg2.extensions
import pytest
from sqlalchemy.orm import Session

from billing import accounts, customers, groups, invoices, suspension
from billing.customers import Person
from billing.groups import Allocation
from herotill.errors import InvalidValue, Refused
from herotill.quantities import Money
from herotill.snapshot import AccountKind, snapshot_from_json
from tests.contract.billing.conftest import Ask, OpenBooks

RADCHECK = "SELECT attribute, op, value FROM radius.radcheck WHERE username = :u ORDER BY attribute"
MANAGED = "SELECT kind, status, group_name, policy FROM radius.managed_account WHERE username = :u"
GROUPS = "SELECT groupname, priority FROM radius.radusergroup WHERE username = :u"
CUTS = "SELECT * FROM radius.coa_request ORDER BY coa_request_id"


def _student(session: Session, now: datetime, username: str = "student-1", **more: Any) -> None:
    customer = customers.add(session, person=Person(username), group=more.pop("group", None), now=now)
    kind = more.pop("kind", AccountKind.PREPAID)
    accounts.add(
        session, login=accounts.Login(username, "secret-1", kind), customer=customer, now=now, **more
    )
    customers.verify(session, reference=username, now=now)


def _enter(session: Session, now: datetime, person: Person, login: tuple[str, str]) -> None:
    customer = customers.add(session, person=person, now=now)
    accounts.add(session, login=accounts.Login(*login), customer=customer, now=now)


def _online(ask: Ask, username: str = "student-1", acct_unique_id: str = "unique-1") -> None:
    ask(
        """INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,
                                       calling_station_id, framed_ip_address, started_at, last_report_at)
           VALUES (:id, :id, :u, '192.0.2.1', 'S-1', '02-00-00-00-00-01', '10.5.0.7', now(), now())""",
        id=acct_unique_id,
        u=username,
    )


def _heard(listening: psycopg2.extensions.connection, channel: str, wait_seconds: float = 5) -> list[str]:
    select.select([listening], [], [], wait_seconds)
    listening.poll()
    heard = [note.payload for note in listening.notifies if note.channel == channel]
    listening.notifies.clear()
    return heard


def test_an_account_is_projected_row_by_row(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        groups.add(session, name="hostel-a", now=now, policy={"max_sessions": 2})
        _student(session, now, group="hostel-a", policy={"restricted_pool": "poor"})
    assert ask(RADCHECK, u="student-1") == [
        {"attribute": "Cleartext-Password", "op": ":=", "value": "secret-1"}
    ]
    assert ask(GROUPS, u="student-1") == [{"groupname": "hostel-a", "priority": 1}]
    policy = {"max_sessions": 2, "restricted_pool": "poor"}
    expected = {"kind": "prepaid", "status": "active", "group_name": "hostel-a", "policy": policy}
    assert ask(MANAGED, u="student-1") == [expected]


def test_packet_time_reads_what_was_projected(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        allocation = Allocation(quota_octets=2 * 2**30)
        groups.add(session, name="hostel-a", now=now, policy={"max_sessions": 2}, allocation=allocation)
        _student(session, now, group="hostel-a")
    (row,) = ask("SELECT radius.account_snapshot('student-1') AS document")
    snapshot = snapshot_from_json(row["document"])
    assert snapshot.check[0].value == "secret-1"
    assert snapshot.allocation is not None
    assert snapshot.allocation.policy.max_sessions == 2


def test_a_change_is_heard_when_it_commits(
    books: OpenBooks, now: datetime, listening: psycopg2.extensions.connection
) -> None:
    with books() as session:
        _student(session, now)
        assert _heard(listening, "herotill_account", wait_seconds=0) == []
    assert ["student-1"] in [json.loads(payload) for payload in _heard(listening, "herotill_account")]
    with books() as session:
        accounts.set_secret(session, username="student-1", secret="another-1")
    assert _heard(listening, "herotill_account") == ['["student-1"]']


def test_other_rows_stay_as_they_are(books: OpenBooks, ask: Ask, now: datetime) -> None:
    by_hand = """INSERT INTO radius.radcheck (username, attribute, op, value)
                 VALUES ('student-1', 'NAS-IP-Address', '==', '192.0.2.1'), ('other', 'Cleartext-Password', ':=', 'x')"""
    ask(by_hand)
    with books() as session:
        _student(session, now)
        accounts.set_secret(session, username="student-1", secret="another-1")
    assert [row["attribute"] for row in ask(RADCHECK, u="student-1")] == [
        "Cleartext-Password",
        "NAS-IP-Address",
    ]
    assert len(ask(RADCHECK, u="other")) == 1


def test_r5_disabling_denies_and_cuts_at_once(
    books: OpenBooks, ask: Ask, now: datetime, listening: psycopg2.extensions.connection
) -> None:
    with books() as session:
        groups.add(session, name="hostel-a", now=now)
        _student(session, now, group="hostel-a")
    _online(ask)
    _heard(listening, "herotill_account")
    with books() as session:
        assert customers.disable(session, reference="student-1", now=now) == 1
    assert {"attribute": "Auth-Type", "op": ":=", "value": "Reject"} in ask(RADCHECK, u="student-1")
    assert ask(GROUPS, u="student-1") == []  # no group can out-rank the deny
    assert ask(MANAGED, u="student-1")[0]["status"] == "disabled"
    (cut,) = ask(CUTS)
    assert cut["request_key"].startswith("disconnect:unique-1:disabled:")
    assert (cut["action"], cut["reason"], cut["username"]) == ("disconnect", "disabled", "student-1")
    assert cut["session_attributes"] == {
        "User-Name": "student-1",
        "Acct-Session-Id": "S-1",
        "Framed-IP-Address": "10.5.0.7",
        "Calling-Station-Id": "02-00-00-00-00-01",
    }
    assert _heard(listening, "herotill_coa") == [""]


def test_enabling_undoes_disabling_exactly(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        groups.add(session, name="hostel-a", now=now)
        _student(session, now, group="hostel-a")
    before = (ask(RADCHECK, u="student-1"), ask(MANAGED, u="student-1"), ask(GROUPS, u="student-1"))
    with books() as session:
        customers.disable(session, reference="student-1", now=now)
        customers.enable(session, reference="student-1")
    assert (ask(RADCHECK, u="student-1"), ask(MANAGED, u="student-1"), ask(GROUPS, u="student-1")) == before


def test_a_second_disabling_cuts_again_with_another_key(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        _student(session, now)
    _online(ask)
    for _ in range(2):
        with books() as session:
            accounts.disable(session, username="student-1", now=now)
    assert len({row["request_key"] for row in ask(CUTS)}) == 2


def test_only_living_sessions_of_that_user_are_cut(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        _student(session, now)
        _student(session, now, "student-2")
    _online(ask, "student-2", "unique-2")
    _online(ask, "student-1", "unique-1")
    ask("UPDATE radius.session SET stopped_at = now() WHERE acct_unique_id = 'unique-1'")
    with books() as session:
        assert accounts.disable(session, username="student-1", now=now) == 0
    assert ask(CUTS) == []


def test_r3_an_unverified_customer_is_projected_so(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        new = customers.add(session, person=Person("New"), now=now)
        accounts.add(session, login=accounts.Login("new-1", "secret-1"), customer=new, now=now)
    assert ask(MANAGED, u="new-1")[0]["status"] == "unverified"
    with books() as session:
        customers.verify(session, reference="new-1", now=now)
    assert ask(MANAGED, u="new-1")[0]["status"] == "active"


def test_r24_no_bill_no_suspension_for_an_unpaid_one(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        _student(session, now, "office-1", kind=AccountKind.MONTHLY, policy={"suspended_pool": "unpaid"})
    with pytest.raises(Refused, match="no bill, no suspension") as caught, books() as session:
        suspension.suspend(session, username="office-1", reason="unpaid-bill", now=now)
    assert caught.value.rule == "R24"
    _online(ask, "office-1")
    with books() as session:
        invoices.bill(
            session, username="office-1", amount=Money(900, "KES"), due_at=now, now=now, billed_by="desk"
        )
        assert suspension.suspend(session, username="office-1", reason="unpaid-bill", now=now) == 1
    (managed,) = ask(MANAGED, u="office-1")
    assert (managed["status"], managed["policy"]) == ("suspended", {"suspended_pool": "unpaid"})
    with books() as session:
        suspension.resume(session, username="office-1", now=now)
    assert ask(MANAGED, u="office-1")[0]["status"] == "active"
    assert [row["reason"] for row in ask(CUTS)] == ["suspended", "resumed"]


def test_r5_deleting_a_customer_removes_every_login_and_keeps_the_books(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    with books() as session:
        _student(session, now)
    ask(
        """INSERT INTO radius.entitlement (external_key, username, source, plan_name, policy, granted_at)
           VALUES ('topup:1', 'student-1', 'topup', 'gift', '{}', now())"""
    )
    _online(ask)
    with books() as session:
        assert customers.remove(session, reference="student-1", now=now) == 1
    assert ask(RADCHECK, u="student-1") == ask(MANAGED, u="student-1") == ask(GROUPS, u="student-1") == []
    assert ask("SELECT ended_reason FROM radius.entitlement") == [{"ended_reason": "void"}]
    assert ask("SELECT status FROM billing.account") == [{"status": "closed"}]
    with books() as session:  # the name is free again, and inherits nothing
        _student(session, now)
    assert len(ask(RADCHECK, u="student-1")) == 1


def test_r17_a_groups_allocation_follows_its_edits(books: OpenBooks, ask: Ask, now: datetime) -> None:
    rows = "SELECT period, quota_octets, policy FROM radius.group_allocation"
    with books() as session:
        groups.add(session, name="hostel-a", now=now, allocation=Allocation(quota_octets=5))
        _student(session, now, group="hostel-a")
        groups.edit(session, name="hostel-a", changes={"policy": {"max_sessions": 2}})
    assert ask(rows) == [{"period": "month", "quota_octets": 5, "policy": {"max_sessions": 2}}]
    assert ask(MANAGED, u="student-1")[0]["policy"] == {"max_sessions": 2}
    with books() as session:
        groups.edit(session, name="hostel-a", changes={"allocation": None})
    assert ask(rows) == []
    with pytest.raises(Refused, match="1 customers"), books() as session:
        groups.remove(session, name="hostel-a")


def test_leaving_a_group_is_projected(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        groups.add(session, name="hostel-a", now=now)
        _student(session, now, group="hostel-a")
        customers.edit(session, reference="student-1", changes={"group": None})
    assert (ask(GROUPS, u="student-1"), ask(MANAGED, u="student-1")[0]["group_name"]) == ([], None)


@pytest.mark.parametrize(
    ("person", "login", "field"),
    [
        (Person("", phone=None), ("u-1", "secret-1"), "name"),
        (Person("A", phone="0712"), ("u-1", "secret-1"), "phone"),
        (Person("A", email="a@b"), ("u-1", "secret-1"), "email"),
        (Person("A"), ("u 1", "secret-1"), "user"),
        (Person("A"), ("TAKEN", "secret-1"), "user"),
        (Person("A"), ("u-1", "abc"), "password"),
        (Person("A"), ("u-1", "back\\slash"), "password"),
        (Person("A"), ("u-1", "'quoted'"), "password"),
        (Person("A"), ("u-1", "two\nlines"), "password"),
    ],
)
def test_an_impossible_customer_is_refused_by_field_and_writes_nothing(
    books: OpenBooks, ask: Ask, now: datetime, person: Person, login: tuple[str, str], field: str
) -> None:
    with books() as session:
        _student(session, now, "taken")
    with pytest.raises(InvalidValue) as caught, books() as session:
        _enter(session, now, person, login)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
    assert login[1] not in str(caught.value)
    assert len(ask("SELECT 1 FROM billing.customer")) == len(ask("SELECT 1 FROM radius.radcheck")) == 1


def test_two_changes_at_once_leave_one_password(books: OpenBooks, ask: Ask, now: datetime) -> None:
    with books() as session:
        _student(session, now)

    def change(number: int) -> None:
        with books() as session:
            if number % 2:
                accounts.set_secret(session, username="student-1", secret=f"secret-{number}")
            else:
                customers.edit(session, reference="student-1", changes={"group": None})

    threads = [threading.Thread(target=change, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (stored,) = ask("SELECT secret AS value FROM billing.account")
    assert [row["value"] for row in ask(RADCHECK, u="student-1")] == [stored["value"]]
