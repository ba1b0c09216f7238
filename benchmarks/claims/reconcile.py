"""Reconcile at scale: a full pass with nothing to do, 1 % drift mended, and a change that reaches RADIUS (rule R30).

Accounts, customers and grants are made inside PostgreSQL; the pass runs in a process of its own, as the daemon's does, so
that its memory is the daemon's.
"""

import multiprocessing
import resource
import statistics
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - psycopg2's class is lower case

from benchmarks.postgresql import Cluster, private_cluster
from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort
from benchmarks.saying import say
from sync_daemon import database
from sync_daemon.reconcile import worker
from sync_daemon.reconcile.comparing import open_databases
from sync_daemon.reconcile.mending import Mending
from sync_daemon.reconcile.planning import survey
from sync_daemon.settings import Settings, settings_from_mapping

TITLE = "Books and RADIUS compared and mended, one database"
PASS_SECONDS, MEND_SECONDS, MEMORY_MIB, CHANGE_MS = 30.0, 60.0, 256.0, 100.0
_NAME = "reconcile"

_BOOKS = """
    INSERT INTO billing.customer_group (name, created_at) VALUES ('residents', now());
    INSERT INTO billing.customer (account_number, name, group_id, joined_at, verified_at)
    SELECT lpad(n::text, 9, '0'), 'Customer ' || n, 1, now(), now() FROM generate_series(1, {accounts}) n;
    INSERT INTO billing.account (username, secret, kind, customer_id, created_at)
    SELECT 'u' || lpad(n::text, 7, '0'), 'secret-' || n, 'prepaid', n, now() FROM generate_series(1, {accounts}) n;
"""
_RADIUS = """
    INSERT INTO radius.managed_account (username, kind, status, group_name, policy)
    SELECT username, kind, status, group_name, policy FROM billing.projected_account;
    INSERT INTO radius.radcheck (username, attribute, op, value)
    SELECT username, attribute, op, value FROM billing.projected_radcheck;
    INSERT INTO radius.radusergroup (username, groupname, priority)
    SELECT username, group_name, priority FROM billing.projected_radusergroup;
    INSERT INTO radius.entitlement (external_key, username, source, plan_name, quota_octets, policy, granted_at, expires_at)
    SELECT 'purchase:' || account_id, username, 'purchase', 'monthly 100 GiB', 100::bigint << 30,
           '{"download_bits_per_second": 10000000, "max_sessions": 3}', now(), now() + interval '30 days'
    FROM billing.account;
"""
# One account in a hundred, a fifth of them each: a password, a status, a group, a quota, a grant that is gone.
_DRIFT = """
    UPDATE radius.radcheck SET value = 'mine' WHERE right(username, 3) = '100' OR right(username, 3) = '600';
    UPDATE radius.managed_account SET status = 'disabled' WHERE right(username, 3) IN ('200', '700');
    DELETE FROM radius.radusergroup WHERE right(username, 3) IN ('300', '800');
    UPDATE radius.entitlement SET quota_octets = 1 WHERE right(username, 3) IN ('400', '900');
    DELETE FROM radius.entitlement WHERE right(username, 3) IN ('500', '000');
"""
_AS_BY_HAND = "SET herotill.writer = 'reconcile'"
_WRITTEN = """
    SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables WHERE schemaname IN ('radius', 'billing')
"""


@dataclass(frozen=True, slots=True)
class Passed:
    """One pass: how long it took, how much memory its process had at most, how many rows it mended."""

    seconds: float
    memory_mib: float
    mended: int


def run(effort: Effort) -> Result:
    """Measure."""
    accounts = effort.sizes.accounts
    with private_cluster() as cluster:
        settings = _create(cluster, accounts)
        written = cluster.ask(_NAME, _WRITTEN)
        idle = _in_a_process(settings)
        rows_written = int(str(cluster.ask(_NAME, _WRITTEN)[0][0])) - int(str(written[0][0]))
        _show("nothing to do", idle)
        cluster.execute(_NAME, _AS_BY_HAND + ";" + _DRIFT)
        mended = _in_a_process(settings)
        _show("1 % drift", mended)
        again = _in_a_process(settings)
        change_ms = _change_ms(cluster, settings)
    figures = (
        Figure("a full pass with nothing to do", idle.seconds, "s", PASS_SECONDS, at_least=False),
        Figure("memory of its process", idle.memory_mib, "MiB", MEMORY_MIB, at_least=False),
        Figure("rows it wrote", float(rows_written + idle.mended), "rows", 0.0, at_least=False),
        Figure("1 % drift found and mended", mended.seconds, "s", MEND_SECONDS, at_least=False),
        Figure("memory of that process", mended.memory_mib, "MiB", MEMORY_MIB, at_least=False),
        Figure("rows mended", float(mended.mended), "rows"),
        Figure("rows left to mend", float(again.mended), "rows", 0.0, at_least=False),
        Figure("a change of the books in RADIUS, median", change_ms, "ms", CHANGE_MS, at_least=False),
    )
    return Result("reconcile", TITLE, {"accounts": accounts}, {}, figures)


def _create(cluster: Cluster, accounts: int) -> Settings:
    cluster.server.create_database(_NAME)
    url = cluster.url(_NAME)
    database.upgrade(url)
    cluster.execute(_NAME, _BOOKS.format(accounts=accounts), _RADIUS, "VACUUM ANALYZE", "CHECKPOINT")
    say(f"{accounts:,} accounts")
    return settings_from_mapping({"class_secret": "ab" * 32, "billing_url": url}, cluster.directory)


def _in_a_process(settings: Settings) -> Passed:
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_pass, args=(settings, writer))
    process.start()
    writer.close()
    try:
        passed: Passed = reader.recv()
    finally:
        process.join()
    return passed


def _pass(settings: Settings, writer: Connection) -> None:
    databases = open_databases(settings)
    began = time.perf_counter()
    found = survey(databases)
    done = Mending(databases, "benchmark", datetime.now(UTC)).all_of(found)
    seconds = time.perf_counter() - began
    databases.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    writer.send(Passed(seconds, memory, done.changes))


def _show(what: str, passed: Passed) -> None:
    say(f"{what}: {passed.seconds:.1f} s, {passed.memory_mib:.0f} MiB, {passed.mended} rows mended")


def _change_ms(cluster: Cluster, settings: Settings, times: int = 40) -> float:
    """Change accounts in the books past our programs, and see when RADIUS has it."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(settings, stop))
    thread.start()
    connection = database.connect(cluster.url(_NAME), "benchmark", autocommit=True)
    milliseconds = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET herotill.writer = ''")
            for number in range(1, times + 1):
                milliseconds.append(_one_change_ms(cursor, f"u{number:07d}"))
    finally:
        stop.set()
        thread.join()
        connection.close()
    return statistics.median(milliseconds)


def _one_change_ms(cursor: Cursor, username: str) -> float:
    cursor.execute("UPDATE billing.account SET disabled_at = now() WHERE username = %s", (username,))
    began = time.perf_counter()
    while True:
        cursor.execute("SELECT status FROM radius.managed_account WHERE username = %s", (username,))
        if cursor.fetchone() == ("disabled",):
            return (time.perf_counter() - began) * 1000
        time.sleep(0.001)
