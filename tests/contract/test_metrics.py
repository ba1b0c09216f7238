"""The worker `metrics` over HTTP, on a real PostgreSQL and a journal on disk."""

import shutil
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from herotill.journal import encode
from sync_daemon import metrics
from sync_daemon.settings import Settings


class Scraped:
    """The samples of one scrape, by name and labels."""

    def __init__(self, text: str) -> None:
        self.samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, *labels: str) -> float | None:
        return self.samples.get((f"herotill_{name}", *sorted(labels)))


class Worker:
    """A running worker and how to ask it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.server = metrics.MetricsServer(settings, 0)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.server.serve_until, args=(self.stop,))
        self.thread.start()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.server.server_port}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def scrape(self) -> Scraped:
        status, text = self.get("/metrics")
        assert status == 200
        return Scraped(text)

    def end(self) -> None:
        self.stop.set()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    running = Worker(settings)
    yield running
    running.end()


def execute(url: str, statement: str, **values: object) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
    connection.close()


INSERT_LOGINS = """
    INSERT INTO radius.login_outcome (username, occurred_at, accepted, reason, node)
    SELECT 'u', now(), %(accepted)s, %(reason)s, %(node)s FROM generate_series(1, %(count)s)
"""
INSERT_REQUEST = """
    INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address,
        session_attributes, state, caused_at, acked_at, finished_at)
    VALUES (%(key)s, 'disconnect', 'quota', 'u', %(key)s, '10.0.0.1', '{}', %(state)s, clock_timestamp() - interval '90 ms',
        clock_timestamp(), CASE WHEN %(state)s = 'confirmed' THEN clock_timestamp() END)
"""


def test_logins_of_this_node_are_counted_by_reason_once_each_and_history_is_not(
    worker: Worker, database_url: str
) -> None:
    # Given: history
    execute(database_url, INSERT_LOGINS, accepted=True, reason="ok", node="test", count=5)
    assert worker.scrape()("logins_total", "accept", "ok") is None
    # When: logins here and at another node
    execute(database_url, INSERT_LOGINS, accepted=True, reason="ok", node="test", count=3)
    execute(database_url, INSERT_LOGINS, accepted=False, reason="quota", node="test", count=2)
    execute(database_url, INSERT_LOGINS, accepted=False, reason="quota", node="elsewhere", count=7)
    # Then
    for _ in range(3):
        seen = worker.scrape()
        assert (seen("logins_total", "accept", "ok"), seen("logins_total", "reject", "quota")) == (3, 2)


def test_a_cut_is_waiting_first_and_then_counted_with_its_latency(worker: Worker, database_url: str) -> None:
    worker.scrape()
    execute(database_url, INSERT_REQUEST, key="a", state="pending")
    assert worker.scrape()("coa_outbox", "pending") == 1
    execute(
        database_url, "UPDATE radius.coa_request SET state = 'confirmed', finished_at = clock_timestamp()"
    )
    for _ in range(2):
        seen = worker.scrape()
        assert seen("coa_outbox", "pending") == 0
        assert seen("coa_finished_total", "disconnect", "confirmed") == 1
        assert seen("cut_latency_seconds_count", "disconnect") == 1
        assert seen("cut_latency_seconds_bucket", "disconnect", "0.05") == 0
        assert seen("cut_latency_seconds_bucket", "disconnect", "0.1") == 1


def test_the_journal_lag_is_told_and_a_meter_far_behind_makes_the_node_unready(worker: Worker) -> None:
    assert worker.get("/readyz") == (200, "ready\n")
    received = datetime.now(UTC) - timedelta(minutes=5)
    line = encode("login", int(received.timestamp() * 1_000_000), "10.0.0.1", {})
    (worker.settings.journal_directory / "1.journal").write_bytes(line)
    seen = worker.scrape()
    assert (seen("journal_lag_octets"), seen("journal_lag_records")) == (len(line), 1)
    assert 300 <= (seen("journal_lag_seconds") or 0) < 330
    assert worker.get("/readyz") == (503, "the meter is behind the journal\n")
    assert worker.get("/healthz")[0] == 200


def test_nas_health_events_and_drift_are_told(worker: Worker, database_url: str) -> None:
    worker.scrape()
    execute(
        database_url,
        """
        SET herotill.writer = 'herotill';
        WITH added AS (INSERT INTO radius.nas (nasname, shortname, type, secret)
                       VALUES ('10.0.0.1', 'tower', 'mikrotik', 'hidden-secret') RETURNING id)
        INSERT INTO radius.nas_profile (nas_id, coa_state) SELECT id, 'fails' FROM added;
        WITH happened AS (INSERT INTO billing.event (event_key, kind, payload, occurred_at)
                          VALUES ('k', 'sale', '{}', now()) RETURNING event_id)
        INSERT INTO billing.event_delivery (event_id, sink, next_attempt_at) SELECT event_id, 'sms', now() FROM happened;
        INSERT INTO radius.drift (relation, name, item, why, mended_by) VALUES ('radcheck', 'u', 'x', 'y', 'z')
        """,
    )
    seen = worker.scrape()
    assert seen("nas_coa_works", "tower") == 0
    assert seen("events_waiting", "sms") == 1
    assert seen("events_undispatched") == 1
    assert seen("drift_mended_total", "radcheck") == 1
    assert "hidden-secret" not in worker.get("/metrics")[1]


def test_without_a_database_it_stays_up_and_says_so_and_comes_back(
    settings: Settings, database_url: str, cluster: object
) -> None:
    lost = Worker(replace(settings, billing_url="postgresql://nobody@127.0.0.1:1/none"))
    try:
        assert lost.scrape()("database_up", "books") == 0
        assert lost.get("/readyz") == (503, "the database does not answer\n")
        assert lost.get("/healthz")[0] == 200
        lost.server.gathering.settings = settings
        assert lost.get("/readyz")[0] == 200
        assert lost.scrape()("database_up", "books") == 1
    finally:
        lost.end()


def test_r30_a_node_is_ready_without_the_books_where_they_are_in_a_database_apart(
    settings: Settings, database_url: str
) -> None:
    away = replace(settings, billing_url="postgresql://nobody@127.0.0.1:1/none", radius_url=database_url)
    alone = Worker(away)
    try:
        seen = alone.scrape()
        assert (seen("database_up", "books"), seen("database_up", "radius")) == (0, 1)
        assert alone.get("/readyz")[0] == 200
        # The books come back, and say what they know of the region.
        execute(
            database_url,
            "INSERT INTO billing.region (name, database_id, returned_until)"
            " VALUES ('hills', gen_random_uuid(), to_timestamp(7))",
        )
        alone.server.gathering.settings = replace(away, billing_url=database_url)
        seen = alone.scrape()
        assert (seen("database_up", "books"), seen("region_returned_timestamp_seconds", "hills")) == (1, 7)
    finally:
        alone.end()


def test_an_unreadable_journal_is_said(worker: Worker) -> None:
    shutil.rmtree(worker.settings.journal_directory)
    status, text = worker.get("/readyz")
    # An installation whose FreeRADIUS was never installed has no journal directory.
    assert status == 503
    assert "journal" in text


def test_who_does_not_wait_for_the_answer_is_no_news(
    worker: Worker, capfd: pytest.CaptureFixture[str]
) -> None:
    # when somebody asks and is gone at once, with what was said to him unread
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", worker.server.server_port)) as asking:
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    # then the next is answered, and nothing was complained of
    assert worker.get("/healthz")[0] == 200
    assert worker.get("/metrics")[0] == 200
    assert capfd.readouterr().err == ""


def test_other_paths_are_not_found(worker: Worker) -> None:
    assert worker.get("/")[0] == 404


def test_a_port_that_is_taken_is_tried_again_and_ends_nothing(
    settings: Settings, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    taken = replace(settings, metrics_port=worker.server.server_port)
    second = threading.Thread(target=metrics.run, args=(taken, stop))
    second.start()
    second.join(0.5)
    assert second.is_alive()
    assert "is not to be had for metrics" in caplog.text
    stop.set()
    second.join(10)
    assert not second.is_alive()
