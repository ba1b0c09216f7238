"""One login from the Access-Request to the answer: committed once, refused for its reason, journalled once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from herotill.allocation import GroupAllocation, Period
from herotill.class_token import ClassToken, verify_class
from herotill.decision import GrantAllocation, ReserveSlice, StartFirstUse
from herotill.grants import Grant
from herotill.nas import NasDirectory
from herotill.policy import Outage, ServicePolicy, Sharing
from herotill.reasons import REPLY_MESSAGES, Reason
from herotill.snapshot import AccountSnapshot, Row
from rlm_herotill import login
from rlm_herotill.attributes import ACCEPT_UNSEEN, DECIDED, LOGIN_ID, SOURCE, Pairs, parse_access_request
from rlm_herotill.journal import JournalWriter
from rlm_herotill.login import LoginDesk
from rlm_herotill.settings import PacketTimeSettings
from rlm_herotill.store import SnapshotStore
from rlm_herotill.under_way import Answer, Found
from tests.unit.packet_time.fakes import FakeJournal, FakeStore, student
from tests.unit.rules.build import at, begun, grant

SECRET = bytes(range(32))
REQUEST = (("User-Name", "student-1"), (SOURCE, "192.0.2.1"), ("Calling-Station-Id", "phone"))


def with_mark(pairs: Pairs, found: Found) -> Pairs:
    """Return the request as post-auth gets it: unlang has moved the mark there."""
    name, _, login_id = found.mark
    return (*pairs, (name, login_id))


class Desk:
    """A LoginDesk with its fakes."""

    def __init__(self, *accounts: AccountSnapshot, **settings: Any) -> None:
        self.store, self.journal, self.complaints = FakeStore(*accounts), FakeJournal(), list[str]()
        self.desk = LoginDesk(
            cast(SnapshotStore, self.store),
            cast(JournalWriter, self.journal),
            PacketTimeSettings("", Path(), "node-1", SECRET, **settings),
            self.complaints.append,
        )

    def remember(self, username: str = "student-1", **changes: Any) -> None:
        """This node knows the account, and not what has changed since."""
        self.store.in_memory[username] = replace(self.store.accounts[username], **changes)

    def authorize(self, pairs: Pairs = REQUEST) -> Pairs:
        """Return the request as post-auth sees it."""
        return with_mark(pairs, self.find(pairs))

    def find(self, pairs: Pairs = REQUEST) -> Found:
        """Ask authorize."""
        return self.desk.authorize(parse_access_request(pairs))

    def reject(self, pairs: Pairs) -> Answer:
        """Let FreeRADIUS refuse what authorize has seen."""
        return self.desk.rejected(parse_access_request(pairs))

    def authenticate(self, pairs: Pairs) -> Answer:
        """Let FreeRADIUS find the password right."""
        return self.desk.authenticated(parse_access_request(pairs))

    def log_in(self, pairs: Pairs = REQUEST) -> Answer:
        """Send the right password; post-auth is asked only where authorize has not decided (sites-available/herotill)."""
        found = self.find(pairs)
        if found.mark[0] == DECIDED:
            return Answer(True, found.reply)
        return self.authenticate(with_mark(pairs, found))

    def waiting(self) -> list[str | None]:
        """The logins that count as sessions until their Start."""
        return [one.login_id for one in self.store.pending.sessions("student-1", datetime.now(UTC))]

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
    found = desk.find()
    assert found.is_known
    assert found.passwords == (("Cleartext-Password", ":=", "secret"),)
    stranger = desk.find((("User-Name", "nobody"),))
    assert (stranger.is_known, stranger.passwords) == (False, ())
    assert stranger.mark[0] == LOGIN_ID


def test_an_accept_says_the_limits_in_the_nas_s_dialect_and_a_class_of_ours() -> None:
    desk = Desk(student(reply=(Row("Filter-Id", "+=", "mine"), Row("Session-Timeout", ":=", "x"))))
    answer = desk.log_in()
    assert answer.accepted
    assert said(answer)["Mikrotik-Total-Limit"] == str(2**30)
    assert said(answer)["Filter-Id"] == "mine"
    token = verify_class(SECRET, said(answer)["Class"])
    assert isinstance(token, ClassToken)
    assert token.username == "student-1"
    assert desk.waiting() == [token.login_id]
    assert desk.reason() == "accepted"
    assert len(desk.complaints) == 1  # of the operator's own bad row


@pytest.mark.parametrize(
    "grants",
    [
        (begun(quota_octets=2**30),),
        (begun(expires_at=datetime.now(UTC) + timedelta(hours=10)), begun(2, priority=7)),
        (begun(quota_seconds=4000, policy=ServicePolicy(download_bits_per_second=5_000_000)),),
        (begun(policy=ServicePolicy(max_sessions=1, idle_timeout_seconds=60, address_pool="pool")),),
    ],
)
def test_an_account_that_has_not_changed_is_answered_as_when_it_was_read(grants: tuple[Grant, ...]) -> None:
    rows = (Row("Filter-Id", "+=", "mine"), Row("Session-Timeout", ":=", "5"), Row("Class", ":=", "0x00"))
    answers = []
    for is_known in (False, True, True):
        desk = Desk(student(reply=rows, grants=grants))
        if is_known:
            desk.remember()
        answer = desk.log_in()
        assert (answer.accepted, desk.reason()) == (True, "accepted")
        answers.append({**said(answer), "Class": "", "Acct-Interim-Interval": ""})
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) > 3


@pytest.mark.parametrize("is_known", [False, True])
def test_r22_a_router_whose_octets_count_twice_may_carry_half(is_known: bool) -> None:
    desk = Desk(student())
    desk.store.nases = NasDirectory([("192.0.2.1", "roof", "mikrotik", "s", "2000")])
    if is_known:
        desk.remember()
        desk.log_in()
    assert said(desk.log_in())["Mikrotik-Total-Limit"] == str(2**29)
    desk.store.nases = NasDirectory([("192.0.2.1", "roof", "mikrotik", "s", "0")])
    assert "Mikrotik-Total-Limit" not in said(desk.log_in())


def test_what_an_unchanged_account_is_answered_ends_when_its_grant_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = begun(expires_at=at(60), policy=ServicePolicy(idle_timeout_seconds=60))
    desk = Desk(student(grants=(first, begun(2, quota_octets=77))))
    desk.remember()
    moments = iter([at(0), at(30), at(60)])
    now = next(moments)
    monkeypatch.setattr(login, "_now", lambda: now)
    assert "Mikrotik-Total-Limit" not in said(desk.log_in())
    now = next(moments)
    assert said(desk.log_in())["Session-Timeout"] == "30"
    now = next(moments)
    assert said(desk.log_in())["Mikrotik-Total-Limit"] == "77"


def test_r6_a_second_device_is_refused_while_the_first_waits_for_its_start() -> None:
    desk = Desk(student(grants=(begun(policy=ServicePolicy(max_sessions=1)),)))
    desk.remember()
    assert desk.log_in().accepted
    assert desk.log_in().accepted  # the same device again
    laptop = (*REQUEST[:2], ("Calling-Station-Id", "laptop"))
    assert message(desk.log_in(laptop)) == REPLY_MESSAGES[Reason.TOO_MANY_SESSIONS]


def test_a_row_of_the_operator_s_does_not_change_what_is_metered() -> None:
    rows = (Row("Mikrotik-Total-Limit", ":=", "1"), Row("Class", "+=", "0x00"), Row("Filter-Id", "=", "mine"))
    answer = Desk(student(reply=rows)).log_in()
    assert [name for name, _, _ in answer.reply].count("Class") == 1
    assert said(answer)["Mikrotik-Total-Limit"] == str(2**30)
    assert said(answer)["Filter-Id"] == "mine"


def test_r8_a_wrong_password_starts_and_grants_nothing() -> None:
    desk = Desk(student(grants=(grant(seconds_after_first_use=60),)))
    answer = desk.reject(desk.authorize())
    assert message(answer) == REPLY_MESSAGES[Reason.BAD_CREDENTIALS]
    assert desk.store.prepared == []
    assert desk.journal.outcomes() == [(False, "bad-credentials")]


def test_r10_a_stranger_hears_what_a_wrong_password_hears() -> None:
    desk = Desk()
    answer = desk.reject(desk.authorize())
    assert message(answer) == REPLY_MESSAGES[Reason.BAD_CREDENTIALS]
    assert desk.reason() == "unknown-user"


def test_our_own_refusal_is_said_and_journalled_once() -> None:
    """FreeRADIUS calls post-auth again after a reject of post-auth."""
    desk = Desk(student(grants=()))
    pairs = desk.authorize()
    assert message(desk.authenticate(pairs)) == REPLY_MESSAGES[Reason.NO_CREDIT]
    assert desk.reject(pairs) == Answer(None, ())
    assert desk.journal.outcomes() == [(False, "no-credit")]


def test_where_authorize_found_nobody_out_the_reject_says_so() -> None:
    desk = Desk()
    assert message(desk.reject(REQUEST)) == REPLY_MESSAGES[Reason.UNAVAILABLE]


def test_an_authenticated_login_we_never_saw_is_refused() -> None:
    assert message(Desk(student()).authenticate(REQUEST)) == REPLY_MESSAGES[Reason.UNKNOWN_USER]


def test_a_refusal_from_memory_is_believed_only_after_the_database_was_asked() -> None:
    desk = Desk(student())
    desk.remember(grants=())
    assert desk.log_in().accepted
    assert desk.reason() == "accepted"


def test_an_accept_from_memory_needs_no_database() -> None:
    desk = Desk(student())
    desk.remember()
    desk.store.accounts.clear()
    assert desk.log_in().accepted
    assert desk.complaints == []
    assert desk.reason() == "accepted"


def test_an_ordinary_login_is_decided_in_authorize_and_a_wrong_password_takes_it_back() -> None:
    desk = Desk(student())
    pairs = desk.authorize()
    assert DECIDED in dict(pairs)
    assert len(desk.waiting()) == 1
    assert message(desk.reject(pairs)) == REPLY_MESSAGES[Reason.BAD_CREDENTIALS]
    assert desk.waiting() == []
    assert desk.journal.outcomes() == [(True, "accepted"), (False, "bad-credentials")]
    accepted, corrected = (body for _, _, _, body in desk.journal.records)
    assert accepted["login"] == corrected["login"]
    assert ("corrects" in accepted, corrected["corrects"]) == (False, True)


def test_r33_a_login_without_message_authenticator_is_noted() -> None:
    for pairs, said in ((REQUEST, True), ((*REQUEST, ("Message-Authenticator", "0x00")), None)):
        desk = Desk(student())
        assert desk.log_in(pairs).accepted
        (record,) = (body for _, _, _, body in desk.journal.records)
        assert record.get("unsigned") is said


def test_what_must_be_committed_or_refused_waits_until_the_password_was_right() -> None:
    for one in (student(grants=()), student(grants=(grant(),))):
        found = Desk(one).find()
        assert found.mark[0] == LOGIN_ID
        assert found.reply == ()


def test_a_round_of_a_conversation_is_no_login_yet() -> None:
    desk = Desk(student())
    found = desk.find((*REQUEST, ("EAP-Message", "0x02")))
    assert found.mark[0] == LOGIN_ID
    assert desk.journal.outcomes() == []


def test_a_deleted_account_is_unknown() -> None:
    desk = Desk(student(grants=(grant(),)))
    desk.remember(grants=())
    pairs = desk.authorize()
    desk.store.accounts.clear()
    assert message(desk.authenticate(pairs)) == REPLY_MESSAGES[Reason.UNKNOWN_USER]


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
    desk.journal.is_full = True
    assert message(desk.log_in()) == REPLY_MESSAGES[Reason.UNAVAILABLE]
    assert desk.waiting() == []


def test_logins_that_never_come_back_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "IN_FLIGHT_LIMIT", 2)
    desk = Desk(student(grants=(grant(),)))
    oldest, *others = (desk.authorize() for _ in range(5))
    assert message(desk.authenticate(oldest)) == REPLY_MESSAGES[Reason.UNKNOWN_USER]
    assert all(desk.authenticate(pairs).accepted for pairs in others[-2:])


def test_a_grant_that_expires_between_authorize_and_post_auth_lets_nobody_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=60)
    desk = Desk(student(grants=(grant(expires_at=soon),)))
    pairs = desk.authorize()
    monkeypatch.setattr(login, "_now", lambda: soon)
    assert message(desk.authenticate(pairs)) == REPLY_MESSAGES[Reason.EXPIRED]


# -- the database is away (rule R34)


def in_outage(outage: Outage = Outage.LAST_KNOWN, **changes: Any) -> Desk:
    """student-1 is remembered, and the database went away since."""
    desk = Desk(student(**({"policy": ServicePolicy(outage=outage)} | changes)))
    desk.remember()
    desk.store.is_down = True
    return desk


def test_r34_last_known_lets_in_who_was_fine_for_a_short_time() -> None:
    desk = in_outage()
    found = desk.find()
    assert found.passwords == (("Cleartext-Password", ":=", "secret"),)
    assert found.mark[0] == LOGIN_ID
    answer = desk.log_in()
    assert said(answer)["Session-Timeout"] == "600"
    assert said(answer)["Mikrotik-Total-Limit"] == str(2**30)
    token = verify_class(SECRET, said(answer)["Class"])
    assert isinstance(token, ClassToken)
    assert desk.waiting() == [token.login_id]
    assert desk.reason() == "outage"


def test_r34_last_known_refuses_who_was_not_fine_for_the_reason_known_last() -> None:
    desk = in_outage(grants=())
    assert message(desk.log_in()) == REPLY_MESSAGES[Reason.NO_CREDIT]
    assert desk.reason() == "no-credit"


def test_r34_closed_refuses_and_says_that_it_is_a_disturbance() -> None:
    desk = in_outage(Outage.CLOSED)
    assert message(desk.log_in()) == REPLY_MESSAGES[Reason.UNAVAILABLE]
    assert desk.reason() == "unavailable"


def test_r34_open_lets_in_whoever_knows_the_password() -> None:
    desk = in_outage(Outage.OPEN, grants=())
    answer = desk.log_in()
    assert said(answer)["Session-Timeout"] == "600"
    assert desk.reason() == "outage"


@pytest.mark.parametrize("outage", list(Outage))
def test_r34_a_wrong_password_stays_wrong(outage: Outage) -> None:
    desk = in_outage(outage)
    answer = desk.reject(desk.authorize())
    assert message(answer) == REPLY_MESSAGES[Reason.BAD_CREDENTIALS]
    assert desk.journal.outcomes() == [(False, "bad-credentials")]


def test_r34_what_must_be_committed_first_waits_for_the_database() -> None:
    desk = in_outage(grants=(grant(),))
    assert message(desk.log_in()) == REPLY_MESSAGES[Reason.UNAVAILABLE]
    assert desk.store.prepared == []


def test_r34_a_database_that_goes_away_between_the_two_hooks_leaves_it_to_the_policy() -> None:
    desk = Desk(student())
    desk.remember(grants=())
    pairs = desk.authorize()
    desk.store.is_down = True
    assert message(desk.authenticate(pairs)) == REPLY_MESSAGES[Reason.NO_CREDIT]
    assert len(desk.complaints) == 1


def test_r34_a_preparation_that_meets_the_outage_is_left_to_the_policy() -> None:
    desk = Desk(student(grants=(grant(),), policy=ServicePolicy(outage=Outage.OPEN)))
    pairs = desk.authorize()
    desk.store.is_down = True
    answer = desk.authenticate(pairs)
    assert said(answer)["Session-Timeout"] == "600"
    assert desk.reason() == "outage"


def test_r34_the_operator_says_how_long_a_session_may_last_and_a_shorter_one_stays_shorter() -> None:
    ending = begun(expires_at=datetime.now(UTC) + timedelta(seconds=100))
    for one, seconds in ((begun(), "60"), (ending, "60"), (replace(ending, quota_seconds=20), "20")):
        desk = Desk(student(grants=(one,)), outage_session_seconds=60)
        desk.remember()
        desk.store.is_down = True
        assert said(desk.log_in())["Session-Timeout"] == seconds


def test_r34_a_row_of_the_operator_s_does_not_lengthen_the_session() -> None:
    desk = in_outage(reply=(Row("Session-Timeout", ":=", "86400"), Row("Filter-Id", "=", "mine")))
    answer = desk.log_in()
    assert [pair for pair in answer.reply if pair[0] == "Session-Timeout"] == [
        ("Session-Timeout", ":=", "600")
    ]
    assert said(answer)["Filter-Id"] == "mine"


def test_r34_whom_nobody_remembers_is_refused_and_told_that_it_is_a_disturbance() -> None:
    desk = in_outage()
    stranger = (("User-Name", "student-2"), (SOURCE, "192.0.2.1"))
    found = desk.find(stranger)
    assert (found.is_known, found.passwords) == (False, ())
    assert message(desk.reject(desk.authorize(stranger))) == REPLY_MESSAGES[Reason.UNAVAILABLE]
    assert desk.reason() == "unavailable"


def test_r34_whom_nobody_remembers_is_let_in_where_the_operator_said_so() -> None:
    desk = Desk(admits_unknown_in_outage=True, outage_session_seconds=120)
    desk.store.is_down = True
    found = desk.find()
    assert (found.is_known, found.passwords) == (True, (ACCEPT_UNSEEN,))
    answer = desk.log_in()
    assert said(answer)["Session-Timeout"] == "120"
    assert desk.reason() == "outage"


def test_r34_open_house_for_strangers_ends_with_the_outage() -> None:
    desk = Desk(admits_unknown_in_outage=True)
    found = desk.find()
    assert (found.is_known, found.passwords) == (False, ())
    assert message(desk.log_in()) == REPLY_MESSAGES[Reason.UNKNOWN_USER]


def test_r34_a_stranger_another_module_vouches_for_is_no_open_house() -> None:
    desk = in_outage()
    assert message(desk.log_in((("User-Name", "student-2"),))) == REPLY_MESSAGES[Reason.UNAVAILABLE]


def test_r34_without_a_journal_nobody_is_let_in_even_by_an_open_house() -> None:
    desk = in_outage(Outage.OPEN)
    pairs = desk.authorize()
    desk.journal.is_full = True
    assert message(desk.authenticate(pairs)) == REPLY_MESSAGES[Reason.UNAVAILABLE]
