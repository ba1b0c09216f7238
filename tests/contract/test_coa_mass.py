"""A mass change on a smaller scale than benchmarks/claims/coa.py: a fifth of all datagrams is lost, nobody stays online."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from nas_simulator.farm import NasFarm
from sync_daemon import database
from sync_daemon.coa.pacing import PacingSettings
from sync_daemon.coa.timing import RetransmissionTiming
from tests.contract.coa_fake_nas import wait_until
from tests.contract.coa_setup import query, workers

NASES, SESSIONS = 20, 400
SECRET = "a secret of all"
TIMING = RetransmissionTiming(0.2, 1.6, 5, 3.0, 0.1, 0.05)
ADDRESSES = [f"127.21.0.{1 + number}" for number in range(NASES)]

FILL = """
    INSERT INTO radius.nas (nasname, shortname, type, secret)
    SELECT '127.21.0.' || 1 + n, 'nas-' || n, 'other', '{secret}' FROM generate_series(0, {nases} - 1) n;
    INSERT INTO radius.nas_profile (nas_id, coa_port) SELECT id, {port} FROM radius.nas;
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id, started_at,
                                last_report_at)
    SELECT 's' || n, 'k' || n, 'u' || n, nas.nasname::inet, 'id' || n, now(), now()
    FROM generate_series(0, {sessions} - 1) n JOIN radius.nas ON nas.shortname = 'nas-' || mod(n, {nases});
    INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address, session_attributes)
    SELECT 'mass:' || acct_unique_id, 'disconnect', 'suspended', username, acct_unique_id, nas_address,
           jsonb_build_object('User-Name', username, 'Acct-Session-Id', acct_session_id)
    FROM radius.session RETURNING 1
"""
STOP = "UPDATE radius.session SET stopped_at = now(), terminate_cause = 'Admin-Reset' WHERE acct_session_id = %s RETURNING 1"


@pytest.fixture
def books(database_url: str) -> Iterator[Connection]:
    connection = database.connect(database_url, "test", autocommit=True)
    yield connection
    connection.close()


@contextmanager
def farm_of(database_url: str, loss: float) -> Iterator[NasFarm]:
    """NASes whose Stops are in the accounting at once."""
    accounting = database.connect(database_url, "test accounting", autocommit=True)
    done = threading.Event()
    online = {
        address: [f"id{n}" for n in range(number, SESSIONS, NASES)]
        for number, address in enumerate(ADDRESSES)
    }

    def ended(_address: str, session: str) -> None:
        query(accounting, STOP, session)

    with NasFarm(online, SECRET.encode(), loss, ended) as farm:
        thread = threading.Thread(target=farm.serve, args=(done.is_set,))
        thread.start()
        try:
            yield farm
        finally:
            done.set()
            thread.join()
            accounting.close()


def test_r31_a_mass_change_over_a_bad_line_leaves_nobody_online(books: Connection, database_url: str) -> None:
    with farm_of(database_url, 0.2) as farm, workers(books, database_url, count=2, timing=TIMING):
        query(books, FILL.format(secret=SECRET, nases=NASES, sessions=SESSIONS, port=farm.port))
        query(books, "SELECT pg_notify('herotill_coa', '')")
        settled = "SELECT count(*) FROM radius.coa_request WHERE finished_at IS NOT NULL"
        wait_until(lambda: query(books, settled)[0][0] == SESSIONS, 40.0)
    states = dict(query(books, "SELECT state, count(*) FROM radius.coa_request GROUP BY state"))
    assert states.keys() <= {"confirmed", "gone"}
    assert query(books, "SELECT count(*) FROM radius.session WHERE stopped_at IS NULL") == [(0,)]
    assert farm.heard["lost on the way here"] > 0
    assert farm.heard["answer lost"] > 0


def test_r31_many_requests_for_one_nas_keep_its_pace(books: Connection, database_url: str) -> None:
    pacing = PacingSettings(requests_per_second=20.0, burst=5)
    with farm_of(database_url, 0.0) as farm, workers(books, database_url, pacing=pacing):
        began = time.monotonic()
        query(books, FILL.format(secret=SECRET, nases=NASES, sessions=SESSIONS, port=farm.port))
        query(books, "SELECT pg_notify('herotill_coa', '')")
        sent = "SELECT count(*) FROM radius.coa_attempt"
        wait_until(lambda: query(books, sent)[0][0] == SESSIONS, 30.0)
    # Twenty each: five at once, fifteen at twenty a second.
    assert time.monotonic() - began >= 0.7
    spread = """
        SELECT min(seconds)::float FROM (
            SELECT EXTRACT(epoch FROM max(sent_at) - min(sent_at)) AS seconds FROM radius.coa_attempt
            GROUP BY destination) AS each
    """
    assert query(books, spread)[0][0] >= 0.7
