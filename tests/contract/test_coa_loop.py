"""The closed loop of rule R31: an ACK is a claim, the accounting is what happened, and every refusal leads on."""

import dataclasses
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from sync_daemon import database
from sync_daemon.coa import closing, outbox
from tests.contract.coa_fake_nas import (
    ERROR_CAUSE,
    FakeNas,
    Mood,
    acks,
    answer,
    attributes_of,
    is_silent,
    naks,
    wait_until,
)
from tests.contract.coa_setup import BRISK, add_nas, enqueue, query, state_of, wait_for_state, workers

ADD_SESSION = """
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, login_id,
                                started_at, last_report_at, interim_interval_seconds, input_octets)
    VALUES (%s, %s, 'student-1', '127.0.0.1', '81', %s, now() - interval '1 hour', now() - interval '1 minute', 60, 1000)
    RETURNING 1
"""
STOP = """
    UPDATE radius.session SET stopped_at = now(), last_report_at = now(), terminate_cause = 'Admin-Reset'
    WHERE acct_unique_id = %s RETURNING 1
"""
REPORT = """
    UPDATE radius.session SET stopped_at = NULL, terminate_cause = NULL, last_report_at = clock_timestamp()
    WHERE acct_unique_id = %s RETURNING 1
"""
ADD_ACCOUNT = """
    INSERT INTO radius.managed_account (username, kind, status, policy) VALUES ('student-1', 'prepaid', 'active', '{}')
    RETURNING 1
"""
NAS_STATE = "SELECT coa_state, coa_failure FROM radius.nas_profile"


@pytest.fixture
def books(database_url: str) -> Iterator[Connection]:
    connection = database.connect(database_url, "test", autocommit=True)
    yield connection
    connection.close()


def begin_session(books: Connection, name: str = "s", login_id: str | None = None) -> str:
    query(books, ADD_SESSION, name, name, login_id)
    return name


def ask(books: Connection, session: str, key: str = "r", **columns: Any) -> int:
    return enqueue(books, key, acct_unique_id=session, **columns)


def error(request: bytes, error_cause: int) -> bytes:
    return answer(request, request[0] + 2, struct.pack("!BBI", ERROR_CAUSE, 6, error_cause))


def names_in(request: bytes) -> set[int]:
    return {kind for kind, _ in attributes_of(request)} & {1, 8, 31, 44}


def column(books: Connection, request: int, name: str) -> Any:
    return query(books, f"SELECT {name} FROM radius.coa_request WHERE coa_request_id = %s", request)[0][0]


def test_r31_an_ack_is_confirmed_by_the_stop(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        request = ask(books, begin_session(books))
        wait_for_state(books, request, "acked")
        assert column(books, request, "finished_at") is None
        query(books, STOP, "s")
        _, outcome = wait_for_state(books, request, "confirmed")
        wait_until(lambda: query(books, NAS_STATE) == [("works", None)])
    assert outcome.endswith(". The accounting has the end of the session: Admin-Reset.")
    assert len(nas.heard) == 1


def test_r31_a_stop_that_overtakes_the_lost_ack_settles_the_request(
    books: Connection, database_url: str
) -> None:
    with FakeNas(is_silent) as nas, workers(books, database_url):
        add_nas(books, nas)
        request = ask(books, begin_session(books))
        nas.wait_for(1)
        query(books, STOP, "s")
        wait_for_state(books, request, "confirmed")


def test_a_session_that_has_ended_already_is_asked_nothing(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        query(books, STOP, begin_session(books))
        _, outcome = wait_for_state(books, ask(books, "s"), "confirmed")
    assert outcome == "The session had ended before it was asked for."
    assert nas.heard == []


def test_r31_a_change_is_confirmed_by_the_next_report(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        change: dict[str, Any] = {
            "action": "coa",
            "purpose": "restrict",
            "changes": {"Session-Timeout": "60"},
        }
        request = ask(books, begin_session(books), **change)
        wait_for_state(books, request, "acked")
        query(books, REPORT, "s")
        wait_for_state(books, request, "confirmed")
    assert [datagram.octets[0] for datagram in nas.heard] == [43]


def unbelieving(**changes: Any) -> Any:
    return dataclasses.replace(BRISK, stop_confirm_seconds=0.1, change_confirm_intervals=0.002, **changes)


def test_r31_an_ack_without_a_stop_is_followed_by_other_names_and_then_the_operator_is_told(
    books: Connection, database_url: str
) -> None:
    with FakeNas() as nas, workers(books, database_url, serving=unbelieving()):
        add_nas(books, nas)
        request = ask(books, begin_session(books, login_id="login"))
        _, outcome = wait_for_state(books, request, "unconfirmed")
        wait_until(lambda: query(books, NAS_STATE)[0][0] == "fails")
    assert outcome == "hotspot-1 acknowledged the disconnect, and the accounting does not show it."
    assert query(books, NAS_STATE) == [("fails", outcome)]
    assert [names_in(datagram.octets) for datagram in nas.heard] == [{1, 44}, {44}, {1}]
    attempts = query(books, "SELECT profile, result FROM radius.coa_attempt ORDER BY attempt")
    assert attempts == [("generic", "ack"), ("session-id", "ack"), ("user", "ack")]


def test_r31_a_change_without_effect_becomes_a_disconnect(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url, serving=unbelieving()):
        add_nas(books, nas)
        change: dict[str, Any] = {
            "action": "coa",
            "purpose": "restrict",
            "changes": {"Session-Timeout": "60"},
        }
        request = ask(books, begin_session(books), **change)
        wait_until(lambda: any(datagram.octets[0] == 40 for datagram in nas.heard))
        query(books, STOP, "s")
        wait_for_state(books, request, "confirmed")
    assert [datagram.octets[0] for datagram in nas.heard][:4] == [43, 43, 43, 40]


def test_r31_a_better_change_without_effect_throws_nobody_out(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url, serving=unbelieving()):
        add_nas(books, nas)
        change: dict[str, Any] = {"action": "coa", "purpose": "raise", "changes": {"Session-Timeout": "60"}}
        request = ask(books, begin_session(books), **change)
        wait_until(lambda: column(books, request, "finished_at") is not None)
    assert state_of(books, request)[0] == "acked"
    assert {datagram.octets[0] for datagram in nas.heard} == {43}


@pytest.mark.parametrize(
    ("error_cause", "purpose", "codes", "state"),
    [
        (405, "restrict", [43, 40], "naked"),
        (401, "restrict", [43, 43, 43, 40, 40, 40], "naked"),
        (401, "raise", [43, 43, 43], "naked"),
        (503, "restrict", [43, 43, 43, 40], "gone"),
    ],
)
def test_r31_a_refused_change_leads_on(
    books: Connection, database_url: str, error_cause: int, purpose: str, codes: list[int], state: str
) -> None:
    with FakeNas(naks(error_cause)) as nas, workers(books, database_url):
        add_nas(books, nas)
        change: dict[str, Any] = {"action": "coa", "purpose": purpose, "changes": {"Session-Timeout": "60"}}
        wait_for_state(books, ask(books, begin_session(books), **change), state)
    assert [datagram.octets[0] for datagram in nas.heard] == codes
    actions = query(books, "SELECT action FROM radius.coa_attempt ORDER BY attempt")
    assert [action for (action,) in actions] == ["coa" if code == 43 else "disconnect" for code in codes]


def test_r31_attributes_the_nas_does_not_take_are_replaced(books: Connection, database_url: str) -> None:
    def wants_the_session_id_alone(request: bytes) -> list[bytes]:
        return acks(request) if names_in(request) == {44} else [error(request, 404)]

    with FakeNas(wants_the_session_id_alone) as nas, workers(books, database_url):
        add_nas(books, nas)
        request = ask(books, begin_session(books))
        wait_for_state(books, request, "acked")
    assert query(books, "SELECT profile, result, error_cause FROM radius.coa_attempt ORDER BY attempt") == [
        ("generic", "nak", 404),
        ("session-id", "ack", None),
    ]


def test_r31_a_switch_that_insists_is_told_which_nas_is_meant(books: Connection, database_url: str) -> None:
    """Given an AOS-CX that knows itself by another name now, when it refuses (403), then it is told its address."""
    named = {32: 403, 4: 0}

    def switch(request: bytes) -> list[bytes]:
        said = next(named[kind] for kind, _ in attributes_of(request) if kind in named)
        return [error(request, said) if said else answer(request, request[0] + 1)]

    with FakeNas(switch) as nas, workers(books, database_url):
        add_nas(books, nas, nas_type="aos-cx")
        session = begin_session(books)
        query(books, "UPDATE radius.session SET nas_identifier = 'switch-1' RETURNING 1")
        named_by = {"User-Name": "student-1", "Acct-Session-Id": "81"}
        request = enqueue(books, "r", acct_unique_id=session, session=named_by)
        wait_for_state(books, request, "acked")
        heard = [dict(attributes_of(each.octets)) for each in nas.heard]
    assert [each.get(32) for each in heard] == [b"switch-1", None]
    assert [each.get(4) for each in heard] == [None, bytes((127, 0, 0, 1))]


def test_r31_another_session_of_the_user_is_never_ended_by_the_name_alone(
    books: Connection, database_url: str
) -> None:
    with FakeNas(naks(404)) as nas, workers(books, database_url):
        add_nas(books, nas)
        begin_session(books, "other")
        wait_for_state(books, ask(books, begin_session(books)), "naked")
    assert all(44 in names_in(datagram.octets) for datagram in nas.heard)


def test_r31_a_busy_nas_is_asked_again_later(books: Connection, database_url: str) -> None:
    causes = iter([506, 506])

    def mood(request: bytes) -> list[bytes]:
        cause = next(causes, None)
        return acks(request) if cause is None else [error(request, cause)]

    with FakeNas(mood) as nas, workers(books, database_url):
        add_nas(books, nas)
        wait_for_state(books, ask(books, begin_session(books)), "acked")
    assert len(nas.heard) == 3
    assert query(books, "SELECT failures FROM radius.coa_request") == [(2,)]


RESERVE = """
    WITH given AS (
        INSERT INTO radius.entitlement (external_key, username, source, plan_name, quota_octets, policy, granted_at)
        VALUES ('k', 'student-1', 'purchase', 'p', 10000, '{}', now()) RETURNING entitlement_id)
    INSERT INTO radius.reservation (login_id, entitlement_id, username, octets, created_at, expires_at)
    SELECT 'login', entitlement_id, 'student-1', 5000, now(), now() + interval '1 minute' FROM given RETURNING 1
"""


def test_r31_a_session_the_nas_does_not_know_is_closed_from_what_is_known(
    books: Connection, database_url: str
) -> None:
    with FakeNas(naks(503)) as nas, workers(books, database_url):
        add_nas(books, nas)
        begin_session(books, login_id="login")
        query(books, RESERVE)
        request = ask(books, "s")
        wait_for_state(books, request, "gone")
        wait_until(lambda: query(books, NAS_STATE) == [("works", None)])
    closed = "SELECT stopped_at = last_report_at, terminate_cause, input_octets FROM radius.session"
    assert query(books, closed) == [(True, "Stale-Session", 1000)]
    assert query(books, "SELECT released_at IS NOT NULL FROM radius.reservation") == [(True,)]


def test_r31_a_nas_that_denied_a_session_which_reports_on_is_asked_again(
    books: Connection, database_url: str
) -> None:
    def denies_what_has_a_name(request: bytes) -> list[bytes]:
        return acks(request) if 1 not in names_in(request) else [error(request, 503)]

    with FakeNas(denies_what_has_a_name) as nas, workers(books, database_url):
        add_nas(books, nas)
        request = ask(books, begin_session(books))
        wait_for_state(books, request, "gone")
        query(books, REPORT, "s")
        wait_for_state(books, request, "acked")
    assert [names_in(datagram.octets) for datagram in nas.heard] == [{1, 44}, {44}]


def test_r31_a_session_that_cannot_be_ended_keeps_what_it_was_promised_from_others(
    books: Connection, database_url: str
) -> None:
    with FakeNas(naks(501)) as nas, workers(books, database_url):
        add_nas(books, nas)
        begin_session(books, login_id="login")
        query(books, RESERVE)
        wait_for_state(books, ask(books, "s"), "naked")
    kept = "SELECT released_at IS NULL, expires_at > now() + interval '23 hours' FROM radius.reservation"
    assert query(books, kept) == [(True, True)]


def test_r31_what_failed_is_tried_again_while_the_session_reports_on(
    books: Connection, database_url: str
) -> None:
    serving = unbelieving(reopen_after_seconds=0.1)
    with FakeNas(naks(501)) as nas, workers(books, database_url, serving=serving):
        add_nas(books, nas)
        request = ask(books, begin_session(books))
        wait_for_state(books, request, "naked")
        nas.mood = acks
        query(books, REPORT.replace("clock_timestamp()", "clock_timestamp() + interval '1 s'"), "s")
        wait_for_state(books, request, "acked")


def test_r31_nothing_is_tried_again_for_an_account_that_is_active_again(books: Connection) -> None:
    query(books, ADD_ACCOUNT)
    request = ask(books, begin_session(books), reason="disabled")
    past = datetime.now(UTC) - timedelta(hours=1)
    done = "UPDATE radius.coa_request SET state = 'naked', finished_at = %s WHERE coa_request_id = %s RETURNING 1"
    query(books, done, past, request)
    assert closing.reopen(books, 600.0) == 0
    query(books, "UPDATE radius.managed_account SET status = 'disabled' RETURNING 1")
    assert closing.reopen(books, 600.0) == 1


def test_r16_two_changes_of_one_session_reach_the_nas_in_the_order_they_were_wanted(
    books: Connection, database_url: str
) -> None:
    with FakeNas(is_silent) as nas, workers(books, database_url):
        add_nas(books, nas)
        session = begin_session(books)
        slow = ask(
            books, session, "slow", action="coa", purpose="restrict", changes={"Session-Timeout": "60"}
        )
        nas.wait_for(1)
        ask(books, session, "full", action="coa", purpose="restore", changes={"Session-Timeout": "600"})
        superseded = (
            "UPDATE radius.coa_request SET is_superseded = true WHERE coa_request_id = %s RETURNING 1"
        )
        query(books, superseded, slow)
        nas.mood = acks
        wait_until(lambda: nas.heard[-1].octets.endswith((600).to_bytes(4, "big")))
    timeouts = [int.from_bytes(datagram.octets[-4:], "big") for datagram in nas.heard]
    assert timeouts == sorted(timeouts)


def test_r31_states_survive_a_worker_that_is_gone(books: Connection, database_url: str) -> None:
    """Given a request acknowledged to a worker that ended, when the Stop comes, then another worker settles it."""
    with FakeNas() as nas:
        add_nas(books, nas)
        with workers(books, database_url):
            request = ask(books, begin_session(books))
            wait_for_state(books, request, "acked")
        query(books, STOP, "s")
        with workers(books, database_url, count=2):
            wait_for_state(books, request, "confirmed")
    assert len(nas.heard) == 1


def test_a_request_is_taken_with_all_that_is_known_of_its_session(books: Connection) -> None:
    ask(books, begin_session(books))
    [due] = outbox.take_due(books, 10, 60.0)
    assert (due.session_state, due.interim_interval_seconds, due.is_only_session) == ("live", 60, True)


HOSTILE: list[Mood] = [
    naks(999),
    lambda request: [answer(request, request[0] + 2, b"\x65\x06\x00\x00\x00\x00")],
]


@pytest.mark.parametrize("mood", HOSTILE)
def test_an_error_cause_nobody_has_heard_of_is_a_refusal(
    books: Connection, database_url: str, mood: Mood
) -> None:
    with FakeNas(mood) as nas, workers(books, database_url):
        add_nas(books, nas)
        wait_for_state(books, ask(books, begin_session(books)), "naked")
