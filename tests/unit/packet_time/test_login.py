"""One login from the Access-Request to the answer: committed once, refused for its reason, journalled once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from herotill.allocation import GroupAllocation, Period
from herotill.class_token import ClassToken, verify_class
from herotill.decision import GrantAllocation, ReserveSlice, StartFirstUse
from herotill.policy import ServicePolicy, Sharing
from herotill.reasons import REPLY_MESSAGES, Reason
from herotill.snapshot import AccountSnapshot, Row
from rlm_herotill import login
from rlm_herotill.attributes import LOGIN_ID, SOURCE, Pairs
from rlm_herotill.journal import JournalWriter
from rlm_herotill.login import Answer, LoginDesk
from rlm_herotill.store import SnapshotStore
from tests.unit.packet_time.fakes import FakeJournal, FakeStore, student
from tests.unit.rules.build import begun, grant

SECRET = bytes(range(32))
REQUEST = (("User-Name", "student-1"), (SOURCE, "192.0.2.1"), ("Calling-Station-Id", "phone"))


class Desk:
    """A LoginDesk with its fakes."""

    def __init__(self, *accounts: AccountSnapshot) -> None:
        self.store, self.journal, self.complaints = FakeStore(*accounts), FakeJournal(), list[str]()
        self.desk = LoginDesk(
            cast(SnapshotStore, self.store), cast(JournalWriter, self.journal), SECRET, self.complaints.append
        )

    def authorize(self, pairs: Pairs = REQUEST) -> Pairs:
        """Return the request as post-auth sees it."""
        found = self.desk.authorize(pairs)
        return (*pairs, *((name, value) for name, _, value in found.request_pairs))

    def log_in(self, pairs: Pairs = REQUEST) -> Answer:
        return self.desk.authenticated(self.authorize(pairs))

    def reason(self) -> str:
        ((_, reason),) = self.journal.outcomes()
        return reason


def said(answer: Answer) -> dict[str, str]:
    return {name: value for name, _, value in answer.reply}


def message(answer: Answer) -> str:
    assert answer.accepted is False
    return said(answer)["Reply-Message"]


def test_authorize_hands_over_the_password_and_knows_a_stranger() -> None:
    desk = Desk(student())
    found = desk.desk.authorize(REQUEST)
    assert found.is_known
    assert found.passwords == (("Cleartext-Password", ":=", "secret"),)
    stranger = desk.desk.authorize((("User-Name", "nobody"),))
    assert (stranger.is_known, stranger.passwords) == (False, ())
    assert stranger.request_pairs[0][0] == LOGIN_ID


def test_an_accept_says_the_limits_in_the_nas_s_dialect_and_a_class_of_ours() -> None:
    desk = Desk(student(reply=(Row("Filter-Id", "+=", "mine"), Row("Session-Timeout", ":=", "x"))))
    answer = desk.log_in()
    assert answer.accepted
    assert said(answer)["Mikrotik-Total-Limit"] == str(2**30)
    assert said(answer)["Filter-Id"] == "mine"
    token = verify_class(SECRET, said(answer)["Class"])
    assert isinstance(token, ClassToken)
    assert token.username == "student-1"
    assert desk.store.logged_in == [token.login_id]
    assert desk.reason() == "accepted"
    assert len(desk.complaints) == 1  # of the operator's own bad row


def test_r8_a_wrong_password_starts_and_grants_nothing() -> None:
    desk = Desk(student(grants=(grant(seconds_after_first_use=60),)))
    answer = desk.desk.rejected(desk.authorize())
    assert message(answer) == REPLY_MESSAGES[Reason.BAD_CREDENTIALS]
    assert desk.store.prepared == []
    assert desk.journal.outcomes() == [(False, "bad-credentials")]


def test_r10_a_stranger_hears_what_a_wrong_password_hears() -> None:
    desk = Desk()
    answer = desk.desk.rejected(desk.authorize())
    assert message(answer) == REPLY_MESSAGES[Reason.BAD_CREDENTIALS]
    assert desk.reason() == "unknown-user"


def test_our_own_refusal_is_said_and_journalled_once() -> None:
    """FreeRADIUS calls post-auth again after a reject of post-auth."""
    desk = Desk(student(grants=()))
    pairs = desk.authorize()
    assert message(desk.desk.authenticated(pairs)) == REPLY_MESSAGES[Reason.NO_CREDIT]
    assert desk.desk.rejected(pairs) == Answer(None, ())
    assert desk.journal.outcomes() == [(False, "no-credit")]


def test_where_authorize_found_nobody_out_the_reject_says_so() -> None:
    desk = Desk()
    assert message(desk.desk.rejected(REQUEST)) == REPLY_MESSAGES[Reason.UNAVAILABLE]


def test_an_authenticated_login_we_never_saw_is_refused() -> None:
    assert message(Desk(student()).desk.authenticated(REQUEST)) == REPLY_MESSAGES[Reason.UNKNOWN_USER]


def test_a_refusal_from_memory_is_believed_only_after_the_database_was_asked() -> None:
    desk = Desk(student())
    desk.store.remembered["student-1"] = replace(desk.store.accounts["student-1"], grants=())
    assert desk.log_in().accepted


def test_an_accept_from_memory_needs_no_database() -> None:
    desk = Desk(student())
    desk.store.remembered["student-1"] = desk.store.accounts["student-1"]
    desk.store.is_down = True
    assert desk.log_in().accepted


def test_where_the_database_is_away_a_refusal_is_said_to_be_a_disturbance() -> None:
    desk = Desk(student())
    desk.store.remembered["student-1"] = replace(desk.store.accounts["student-1"], grants=())
    pairs = desk.authorize()
    desk.store.is_down = True
    assert message(desk.desk.authenticated(pairs)) == REPLY_MESSAGES[Reason.UNAVAILABLE]
    assert len(desk.complaints) == 1


def test_a_deleted_account_is_unknown() -> None:
    desk = Desk(student(grants=(grant(),)))
    desk.store.remembered["student-1"] = replace(desk.store.accounts["student-1"], grants=())
    pairs = desk.authorize()
    desk.store.accounts.clear()
    assert message(desk.desk.authenticated(pairs)) == REPLY_MESSAGES[Reason.UNKNOWN_USER]


def test_r17_an_allocation_is_granted_its_clock_started_and_the_login_accepted() -> None:
    group = GroupAllocation("hostel-a", Period.MONTH, "UTC", ServicePolicy())
    desk = Desk(student(grants=(), allocation=group))
    answer = desk.log_in()
    assert said(answer)["Mikrotik-Total-Limit"] == "77"
    assert [type(step) for step in desk.store.prepared] == [GrantAllocation, StartFirstUse]


STRICT = ServicePolicy(sharing=Sharing.STRICT, slice_octets=100)


def test_r15_a_slice_is_reserved_and_said() -> None:
    desk = Desk(student(grants=(begun(quota_octets=1000, policy=STRICT),)))
    assert said(desk.log_in())["Mikrotik-Total-Limit"] == "100"
    assert [type(step) for step in desk.store.prepared] == [ReserveSlice]


def test_r15_a_slice_the_database_does_not_give_is_refused_with_the_reason_and_without_a_loop() -> None:
    desk = Desk(student(grants=(begun(quota_octets=1000, policy=STRICT),)))
    desk.store.refuses_slices = True
    assert message(desk.log_in()) == REPLY_MESSAGES[Reason.ALL_RESERVED]
    assert len(desk.store.prepared) == 1
    assert desk.complaints == []


def test_a_login_that_does_not_settle_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(student(grants=(grant(),)))

    def nothing(*_arguments: Any) -> bool:
        return False

    monkeypatch.setattr(desk.store, "prepare", nothing)
    assert message(desk.log_in()) == REPLY_MESSAGES[Reason.UNAVAILABLE]
    assert "did not settle" in desk.complaints[0]


def test_without_a_journal_nobody_is_let_in() -> None:
    desk = Desk(student())
    pairs = desk.authorize()
    desk.journal.is_full = True
    assert message(desk.desk.authenticated(pairs)) == REPLY_MESSAGES[Reason.UNAVAILABLE]
    assert desk.store.logged_in == []


def test_logins_that_never_come_back_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "IN_FLIGHT_LIMIT", 2)
    desk = Desk(student())
    oldest, *others = (desk.authorize() for _ in range(3))
    assert message(desk.desk.authenticated(oldest)) == REPLY_MESSAGES[Reason.UNKNOWN_USER]
    assert all(desk.desk.authenticated(pairs).accepted for pairs in others)


def test_a_grant_that_expires_between_authorize_and_post_auth_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=60)
    desk = Desk(student(grants=(begun(expires_at=soon),)))
    pairs = desk.authorize()
    monkeypatch.setattr(login, "_now", lambda: soon)
    assert message(desk.desk.authenticated(pairs)) == REPLY_MESSAGES[Reason.EXPIRED]
