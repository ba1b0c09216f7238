"""The outbox worker between a real PostgreSQL and a NAS on a real socket (rule R31)."""

import asyncio
import dataclasses
import multiprocessing
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from sync_daemon import database
from sync_daemon.coa import outbox
from sync_daemon.coa.client import ClientSettings
from sync_daemon.coa.nas_targets import find_nases
from sync_daemon.coa.pacing import PacingSettings
from sync_daemon.coa.serving import ServingSettings
from sync_daemon.coa.timing import RetransmissionTiming
from sync_daemon.coa.worker import run, serve_outbox
from sync_daemon.settings import Settings
from tests.contract.coa_fake_nas import (
    FakeNas,
    acks,
    attributes_of,
    is_silent,
    naks,
    request_is_valid,
    wait_until,
)
from tests.contract.coa_setup import (
    BRISK,
    PATIENT,
    add_nas,
    enqueue,
    query,
    state_of,
    wait_for_state,
    workers,
)


@pytest.fixture
def books(database_url: str) -> Iterator[Connection]:
    """A connection of our own to look and to write with."""
    connection = database.connect(database_url, "test", autocommit=True)
    yield connection
    connection.close()


def test_r31_a_disconnect_is_sent_acknowledged_and_recorded(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        before = datetime.now(UTC)
        request = enqueue(books, "disconnect:1:quota:41")
        error_cause, outcome = wait_for_state(books, request, "acked")
        heard = nas.heard[0]
    assert request_is_valid(heard.octets)
    assert attributes_of(heard.octets)[2:] == [(1, b"student-1"), (44, b"81")]
    assert error_cause is None
    assert outcome.startswith(f"hotspot-1 (127.0.0.1:{nas.port}) acknowledged the disconnect after ")
    attempts = query(
        books,
        "SELECT attempt, profile, destination, identifier, sent_at, transmissions, answered_at, result, error_cause "
        "FROM radius.coa_attempt WHERE coa_request_id = %s",
        request,
    )
    [(attempt, profile, destination, identifier, sent_at, transmissions, answered_at, result, cause)] = (
        attempts
    )
    assert (attempt, profile, destination) == (1, "generic", f"127.0.0.1:{nas.port}")
    assert (identifier, transmissions, result, cause) == (heard.octets[1], 1, "ack", None)
    assert before <= sent_at <= answered_at
    [(finished_at, taken)] = query(
        books, "SELECT finished_at, attempts FROM radius.coa_request WHERE coa_request_id = %s", request
    )
    assert (finished_at, taken) == (answered_at, 1)


def test_r31_a_refusal_is_recorded_with_its_cause_in_words(books: Connection, database_url: str) -> None:
    with FakeNas(naks(501)) as nas, workers(books, database_url):
        add_nas(books, nas)
        request = enqueue(books, "r")
        error_cause, outcome = wait_for_state(books, request, "naked")
    assert error_cause == 501
    assert outcome.endswith("refused the disconnect: administratively prohibited (Error-Cause 501).")
    assert query(books, "SELECT result, error_cause FROM radius.coa_attempt") == [("nak", 501)]


def test_r31_silence_is_recorded_as_a_timeout(books: Connection, database_url: str) -> None:
    with FakeNas(is_silent) as nas, workers(books, database_url):
        add_nas(books, nas)
        request = enqueue(books, "r")
        _, outcome = wait_for_state(books, request, "timed_out")
    assert outcome.endswith("did not answer the disconnect, which was sent 3 times.")
    attempts = query(books, "SELECT result, transmissions, answered_at FROM radius.coa_attempt")
    assert attempts == [("timeout", 3, None)] * 7


def test_a_change_of_authorization_is_sent_with_its_changes(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        request = enqueue(books, "r", action="coa", changes={"Session-Timeout": "60"})
        wait_for_state(books, request, "acked")
    assert nas.heard[0].octets[0] == 43
    assert attributes_of(nas.heard[0].octets)[-1] == (27, bytes((0, 0, 0, 60)))


def test_ipv6_and_the_address_and_secret_meant_for_coa(books: Connection, database_url: str) -> None:
    with FakeNas(host="::1") as nas, workers(books, database_url):
        secret = ("radius secret", "nas secret")
        add_nas(books, nas, "2001:DB8::/32", secret=secret, coa_address="::1")
        request = enqueue(books, "r", "2001:db8::7")
        wait_for_state(books, request, "acked")
    assert query(books, "SELECT destination FROM radius.coa_attempt") == [(f"[::1]:{nas.port}",)]


@pytest.mark.parametrize(
    ("columns", "outcome"),
    [
        (
            {"nas_address": "192.0.2.9"},
            "Not sent: no NAS is configured for 192.0.2.9, so nobody can be asked.",
        ),
        ({"session": []}, "Not sent: the request's attributes are not JSON objects of names to values."),
        (
            {"session": {"Class": "0x00"}},
            "Not sent: too little is known of the session to name it to the NAS.",
        ),
        ({"action": "coa"}, "Not sent: a change of authorization that changes nothing."),
    ],
)
def test_what_cannot_be_sent_fails_with_the_reason_and_no_attempt(
    books: Connection, database_url: str, columns: dict[str, Any], outcome: str
) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        request = enqueue(books, "r", **columns)
        assert wait_for_state(books, request, "failed") == (None, outcome)
    assert query(books, "SELECT * FROM radius.coa_attempt") == []
    assert nas.heard == []


def test_r31_a_make_that_takes_no_requests_is_asked_nothing_and_that_is_said(
    books: Connection, database_url: str
) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas, nas_type="ocserv")
        said = "hotspot-1 (ocserv) takes no requests; only the limits of its login end the session"
        for number, action in enumerate(("disconnect", "coa")):
            request = enqueue(books, f"r{number}", action=action, changes={"Session-Timeout": "60"})
            assert wait_for_state(books, request, "failed") == (None, f"Not sent: {said}.")
    assert nas.heard == []


def test_an_unknown_attribute_fails_by_name(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        request = enqueue(books, "r", action="coa", changes={"No-Such": "1"})
        _, outcome = wait_for_state(books, request, "failed")
    assert "No-Such: '1' is not allowed" in outcome


def test_the_narrowest_nas_wins_and_bad_names_hurt_nobody(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, FakeNas() as wrong:
        for nasname in ("not/an/address", "300.1.1.1", "", "127.0.0.0/8", "fe80::/zz", "0.0.0.0/0"):
            add_nas(books, wrong, nasname, "wrong")
        add_nas(books, nas, "127.0.0.77/28", "right")  # host bits set, as people write it
        known, unknown = ip_address("127.0.0.70"), ip_address("2001:db8::1")
        found = find_nases(books, {known, unknown})
        assert found[known].shortname == "right"
        assert unknown not in found


def test_two_workers_share_one_outbox_and_send_each_request_once(
    books: Connection, database_url: str
) -> None:
    with FakeNas() as nas, workers(books, database_url, count=2):
        add_nas(books, nas)
        requests = [enqueue(books, f"r{number}") for number in range(120)]
        wait_for_state(books, requests[-1], "acked")
        wait_until(lambda: query(books, "SELECT count(*) FROM radius.coa_attempt")[0][0] == 120)
    # A busy machine may let one be asked again: the same octets from the same port, which is no second request.
    assert len({(datagram.source, datagram.octets) for datagram in nas.heard}) == 120
    assert query(books, "SELECT DISTINCT state, attempts FROM radius.coa_request") == [("acked", 1)]


def test_a_lost_notification_costs_one_poll_at_most(books: Connection, database_url: str) -> None:
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        request = enqueue(books, "r", notify=False)
        wait_for_state(books, request, "acked")


def test_a_request_for_later_waits_for_its_time(books: Connection, database_url: str) -> None:
    unhurried = ServingSettings(poll_seconds=60.0, stop_check_seconds=0.01)
    with FakeNas() as nas:
        add_nas(books, nas)
        request = enqueue(books, "r")
        later = (
            "UPDATE radius.coa_request SET next_attempt_at = clock_timestamp() + interval '0.4 s' RETURNING 1"
        )
        query(books, later)
        began = time.monotonic()
        with workers(books, database_url, serving=unhurried):
            wait_for_state(books, request, "acked")
        assert nas.heard[0].at - began >= 0.3


def serve_until_killed(url: str) -> None:
    """A worker in a process of its own, which the test kills."""
    asyncio.run(
        serve_outbox(
            lambda: database.connect(url, "coa to be killed", autocommit=True),
            threading.Event(),
            ClientSettings(timing=PATIENT),
            BRISK,
        )
    )


def test_a_killed_workers_requests_are_taken_over_after_their_lease(
    books: Connection, database_url: str
) -> None:
    with FakeNas(is_silent) as nas:
        add_nas(books, nas)
        request = enqueue(books, "r")
        process = multiprocessing.get_context("spawn").Process(
            target=serve_until_killed, args=(database_url,)
        )
        process.start()
        nas.wait_for(1, 30.0)
        with workers(books, database_url):
            time.sleep(2 * BRISK.lease_seconds)  # alive, it renews its lease and keeps the request
            assert len(nas.heard) == 1
            process.kill()
            process.join()
            process.close()
            nas.mood = acks
            wait_for_state(books, request, "acked")
    assert len(nas.heard) == 2
    assert query(books, "SELECT attempt, result FROM radius.coa_attempt") == [(2, "ack")]


def test_who_lost_the_lease_cannot_overwrite_what_came_after(books: Connection, database_url: str) -> None:
    request = enqueue(books, "r")
    [lost] = outbox.take_due(books, 10, 0.0)
    [held] = outbox.take_due(books, 10, 60.0)
    late = outbox.AttemptRecord(
        lost.coa_request_id, lost.attempt, "timed_out", "late", result="timeout", profile="p", destination="d",
        identifier=1, sent_at=datetime.now(UTC), transmissions=3,
    )  # fmt: skip
    outbox.renew_leases(books, [lost], -60.0)
    outbox.put_back(books, [lost])
    outbox.record_results(books, [late])
    outbox.record_results(books, [late])
    assert state_of(books, request) == ("sent", None, None)
    assert outbox.take_due(books, 10, 60.0) == []
    assert (lost.attempt, held.attempt) == (1, 2)
    assert query(books, "SELECT attempt, result FROM radius.coa_attempt") == [(1, "timeout")]


def test_a_state_the_meter_set_meanwhile_is_left_alone(books: Connection, database_url: str) -> None:
    request = enqueue(books, "r")
    [held] = outbox.take_due(books, 10, 60.0)
    query(books, "UPDATE radius.coa_request SET state = 'confirmed' RETURNING 1")
    outbox.record_results(books, [outbox.AttemptRecord(held.coa_request_id, 1, "acked", "late ACK")])
    assert state_of(books, request)[0] == "confirmed"


def test_stopping_puts_unanswered_requests_back(books: Connection, database_url: str) -> None:
    with FakeNas(is_silent) as nas:
        add_nas(books, nas)
        with workers(books, database_url, timing=PATIENT, pacing=PacingSettings(1, 1)):
            sent, waiting = enqueue(books, "r1"), enqueue(books, "r2")
            nas.wait_for(1)
            wait_until(lambda: state_of(books, waiting)[0] == "sent")
        assert [state_of(books, request)[0] for request in (sent, waiting)] == ["pending", "pending"]
        assert len(nas.heard) == 1
        nas.mood = acks
        with workers(books, database_url):
            wait_for_state(books, sent, "acked")
            wait_for_state(books, waiting, "acked")


def test_stopping_waits_for_answers_on_their_way(books: Connection, database_url: str) -> None:
    patient_stop = ServingSettings(stop_grace_seconds=5.0, stop_check_seconds=0.01)
    with FakeNas(is_silent) as nas:
        add_nas(books, nas)
        with workers(books, database_url, serving=patient_stop) as stop:
            request = enqueue(books, "r")
            nas.wait_for(1)
            nas.mood = acks
            stop.set()
        assert state_of(books, request)[0] == "acked"


def test_a_lost_database_connection_loses_no_result(
    books: Connection, database_url: str, owner_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'coa under test'"
    with FakeNas(is_silent) as nas, workers(books, database_url, timing=PATIENT):
        add_nas(books, nas)
        request = enqueue(books, "r")
        nas.wait_for(1)
        with database.transaction(owner_url, "test") as owner:
            query(owner, kill)
        nas.send(acks(nas.heard[0].octets)[0], nas.heard[0].source)
        wait_for_state(books, request, "acked")
        nas.mood = acks
        again = enqueue(books, "r2")
        wait_for_state(books, again, "acked")
    assert len(nas.heard) == 2
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("The database cannot be used; disconnects wait until it can.") == 1
    assert messages.count("The database can be used again.") == 1


@contextmanager
def stalled_backend(books: Connection) -> Iterator[None]:
    """The worker's PostgreSQL process is stopped meanwhile, as in a stalled disk or a paused machine."""
    [(pid,)] = query(books, "SELECT pid FROM pg_stat_activity WHERE application_name = 'coa under test'")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_stalled_database_delays_no_retransmission(books: Connection, database_url: str) -> None:
    timing = RetransmissionTiming(0.3, 0.3, 5, 5.0, 0.0)
    with FakeNas(is_silent) as nas, workers(books, database_url, timing=timing):
        add_nas(books, nas)
        request = enqueue(books, "r")
        nas.wait_for(1)
        with stalled_backend(books):  # the lease is to be renewed 0.2 s later, which now hangs
            nas.wait_for(4, 3.0)
        assert [round((later.at - nas.heard[0].at) / 0.3, 1) for later in nas.heard[1:4]] == pytest.approx(
            [1, 2, 3], abs=0.3
        )
        nas.mood = acks
        wait_for_state(books, request, "acked")


def test_a_stalled_database_does_not_keep_the_worker_from_stopping(
    books: Connection, database_url: str
) -> None:
    impatient = dataclasses.replace(BRISK, stop_database_seconds=0.2)
    with FakeNas(is_silent) as nas:
        add_nas(books, nas)
        with workers(books, database_url, timing=PATIENT, serving=impatient) as stop:
            request = enqueue(books, "r")
            nas.wait_for(1)
            running = [thread for thread in threading.enumerate() if thread.name.startswith("coa-under-test")]
            with stalled_backend(books):
                stop.set()
                running[0].join(5.0)
                assert not running[0].is_alive()
    assert state_of(books, request)[0] in ("sent", "pending")


def test_a_dead_nas_with_a_long_queue_holds_nobody_up(books: Connection, database_url: str) -> None:
    small = ServingSettings(batch=5, nas_backlog=5, stop_grace_seconds=0.0, stop_check_seconds=0.01)
    with FakeNas(is_silent) as dead, FakeNas() as nas:
        add_nas(books, dead, "127.0.0.66", "dead", coa_address="127.0.0.1")
        add_nas(books, nas)
        for number in range(30):
            enqueue(books, f"dead-{number}", "127.0.0.66", notify=False)
        with workers(books, database_url, timing=PATIENT, serving=small):
            request = enqueue(books, "r")
            wait_for_state(books, request, "acked", 3.0)
            assert query(books, "SELECT count(*) FROM radius.coa_request WHERE state = 'pending'")[0][0] >= 20


def test_from_notify_to_the_wire_in_a_few_milliseconds(books: Connection, database_url: str) -> None:
    """The aim is 10 ms; the bound here leaves room for a busy machine."""
    with FakeNas() as nas, workers(books, database_url):
        add_nas(books, nas)
        delays = []
        for number in range(50):
            committed = time.monotonic()
            request = enqueue(books, f"r{number}")
            nas.wait_for(number + 1)
            delays.append(nas.heard[number].at - committed)
            wait_for_state(books, request, "acked")
    assert statistics.median(delays) < 0.025


def test_secrets_are_in_no_log_line_or_representation(
    books: Connection, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with FakeNas(naks(501)) as nas, workers(books, database_url):
        add_nas(books, nas)
        wait_for_state(books, enqueue(books, "r"), "naked")
        wait_for_state(books, enqueue(books, "r2", action="coa", changes={"No-Such": "1"}), "failed")
        targets = find_nases(books, {ip_address("127.0.0.1")})
    lines = [str(record.__dict__) for record in caplog.records]
    assert "nas secret" not in repr(targets) + "".join(lines)
    assert any(record.username == "student-1" for record in caplog.records if hasattr(record, "username"))


def test_run_serves_an_installation_until_stopped(books: Connection, settings: Settings) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(settings, stop))
    thread.start()
    try:
        with FakeNas() as nas:
            add_nas(books, nas)
            wait_for_state(books, enqueue(books, "r"), "acked")
    finally:
        stop.set()
        thread.join(10.0)
    assert not thread.is_alive()
