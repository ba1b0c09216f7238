"""Rule R31: the operator is told, once, of what could not be ended and of the NAS that does not do what it is asked."""

from datetime import datetime

from billing.coa_alarms import tell_of_nases, tell_of_sessions
from billing.cutting import cut_sessions, review_sessions
from tests.contract.billing.conftest import Ask, OpenBooks

ADD_REQUEST = """
    INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address,
                                    session_attributes, purpose, state, finished_at, outcome)
    VALUES (:key, 'disconnect', 'quota', 'anna', 's', '192.0.2.1', '{"Acct-Session-Id": "81"}', :purpose, :state,
            now(), 'It refused.')
"""
ADD_NAS = """
    WITH added AS (INSERT INTO radius.nas (nasname, shortname, type, secret) VALUES ('192.0.2.1', 'r1', 'other', 's')
                   RETURNING id)
    INSERT INTO radius.nas_profile (nas_id, coa_state, coa_state_since) SELECT id, :state, now() FROM added
"""
SET_STATE = """
    UPDATE radius.nas_profile SET coa_state = :state, coa_failure = 'It was silent.', coa_state_since = clock_timestamp()
"""
EVENTS = "SELECT kind, payload FROM billing.event ORDER BY event_id"


def tell(books: OpenBooks, now: datetime) -> int:
    with books() as session:
        return tell_of_sessions(session, now) + tell_of_nases(session, now)


def test_r31_a_session_that_could_not_be_ended_is_told_of_once(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    for key, purpose, state in (
        ("lost", "end", "naked"),
        ("raised", "raise", "timed_out"),
        ("done", "end", "confirmed"),
    ):
        ask(ADD_REQUEST, key=key, purpose=purpose, state=state)
    assert tell(books, now) == 2
    assert tell(books, now) == 0
    [event] = ask(EVENTS)
    assert event["kind"] == "session.not_ended"
    assert event["payload"] == {
        "username": "anna",
        "nas_address": "192.0.2.1",
        "acct_session_id": "81",
        "reason": "quota",
        "state": "naked",
        "outcome": "It refused.",
        "error_cause": None,
        "attempts": 0,
    }


def test_r31_a_nas_that_fails_is_told_of_and_that_it_works_again(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    ask(ADD_NAS, state="works")
    tell(books, now)
    assert ask(EVENTS) == []
    ask(SET_STATE, state="fails")
    tell(books, now)
    tell(books, now)
    assert ask(EVENTS) == [
        {
            "kind": "nas.coa_fails",
            "payload": {"nas": "r1", "nas_address": "192.0.2.1", "failure": "It was silent."},
        }
    ]
    ask(SET_STATE, state="works")
    tell(books, now)
    assert [event["kind"] for event in ask(EVENTS)] == ["nas.coa_fails", "nas.coa_works"]


ADD_SESSION = """
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                last_report_at)
    VALUES ('s', 's', 'anna', '192.0.2.1', '81', now(), now())
"""


def test_who_is_resumed_is_reconnected_and_who_is_disabled_is_ended(
    books: OpenBooks, ask: Ask, now: datetime
) -> None:
    ask(ADD_SESSION)
    for reason in ("resumed", "disabled"):
        with books() as session:
            assert cut_sessions(session, ["anna"], reason=reason, now=now) == 1
    purposes = ask("SELECT purpose FROM radius.coa_request ORDER BY coa_request_id")
    assert [row["purpose"] for row in purposes] == ["restore", "end"]


def test_r2_live_sessions_are_reviewed_on_request(books: OpenBooks, ask: Ask) -> None:
    ask(ADD_SESSION)
    with books() as session:
        assert review_sessions(session, ["anna", "nobody"]) == 1
    assert ask("SELECT username, given FROM radius.session_review") == [{"username": "anna", "given": []}]
