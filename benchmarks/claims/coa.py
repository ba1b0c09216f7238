"""A mass change: 10,000 sessions on 200 NASes are ended at once, by one daemon; no loss, then a fifth lost both ways.

How fast one daemon sends is measured first, with NASes that send no Stops: else the meter takes half the machine. The NASes
verify, answer and send a Stop for what they ended; the Stop goes through the journal and the meter, as from FreeRADIUS, and
only it settles a request. Everything runs on the machine's own cores: daemon, meter, PostgreSQL, NASes.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.postgresql import Cluster, private_cluster
from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort
from benchmarks.saying import say
from herotill.journal import ACCOUNTING, encode
from nas_simulator.farm import NasFarm
from rlm_herotill.journal import JournalWriter
from rlm_herotill.settings import Fdatasync
from sync_daemon import database
from sync_daemon.coa import worker as coa_worker
from sync_daemon.embedded_postgresql import DAEMON_ROLE
from sync_daemon.meter import worker as meter_worker
from sync_daemon.settings import Settings, new_class_secret, settings_from_mapping

TITLE = "A mass change of live sessions"
NASES, SESSIONS, QUICK_SESSIONS = 200, 10_000, 1_000
SECRET = "a secret of all"
LONGEST_SECONDS = 120.0
ACKED_WITHIN_SECONDS, RESOLVED_WITHIN_SECONDS = 10.0, 60.0

_FILL = """
    INSERT INTO radius.nas (nasname, shortname, type, secret)
    SELECT '127.20.' || n / 100 || '.' || 1 + n % 100, 'nas-' || n, 'other', '{secret}'
    FROM generate_series(0, {nases} - 1) n;
    INSERT INTO radius.nas_profile (nas_id, coa_port) SELECT id, {port} FROM radius.nas;
    INSERT INTO radius.managed_account (username, kind, status, policy)
    SELECT 'u' || n, 'prepaid', 'active', '{{}}' FROM generate_series(0, {sessions} - 1) n
"""
_ASK = """
    INSERT INTO radius.coa_request (request_key, action, reason, username, acct_unique_id, nas_address, session_attributes,
                                    caused_at)
    SELECT 'mass:' || acct_unique_id, 'disconnect', 'suspended', username, acct_unique_id, nas_address,
           jsonb_build_object('User-Name', username, 'Acct-Session-Id', acct_session_id), clock_timestamp()
    FROM radius.session;
    SELECT pg_notify('herotill_coa', '');
"""
_OPEN = "SELECT count(*) FROM radius.coa_request WHERE finished_at IS NULL"
_UNSENT = "SELECT count(*) FROM radius.coa_request WHERE state IN ('pending', 'sent')"
_OUTCOME = """
    WITH began AS (SELECT min(created_at) AS at FROM radius.coa_request),
    first_sent AS (SELECT coa_request_id, min(sent_at) AS at FROM radius.coa_attempt GROUP BY 1),
    acked AS (SELECT coa_request_id, min(answered_at) AS at FROM radius.coa_attempt
              WHERE result = 'ack' OR error_cause = 503 GROUP BY 1)
    SELECT (SELECT EXTRACT(epoch FROM max(at) - min(at))::float FROM first_sent),
           (SELECT EXTRACT(epoch FROM min(first_sent.at) - began.at)::float FROM first_sent, began GROUP BY began.at),
           (SELECT count(*) FROM acked, began WHERE acked.at <= began.at + interval '{within} s'),
           (SELECT EXTRACT(epoch FROM max(finished_at) - min(began.at))::float FROM radius.coa_request, began),
           (SELECT count(*) FROM radius.coa_request WHERE state NOT IN ('confirmed', 'gone')),
           (SELECT sum(transmissions)::int FROM radius.coa_attempt),
           (SELECT count(*) FROM radius.session WHERE stopped_at IS NULL),
           (SELECT EXTRACT(epoch FROM percentile_disc(0.99) WITHIN GROUP (ORDER BY acked.at) - min(began.at))::float
            FROM acked, began)
"""
_ONLINE = "SELECT count(*) FROM radius.session WHERE stopped_at IS NULL"
_READY = "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('herotill coa', 'herotill meter')"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one mass change showed; times are seconds from the commit that asked for it."""

    sending_seconds: float
    first_sent_seconds: float
    acked_in_time: int
    resolved_seconds: float
    unresolved: int
    transmissions: int
    still_online: int
    acked_p99_seconds: float
    cpu_seconds: float


def run(effort: Effort, _names: tuple[str, ...] = ()) -> Result:
    """Measure without loss, then with a fifth of all datagrams lost in each direction."""
    sessions = QUICK_SESSIONS if effort.quick else SESSIONS
    outcomes: dict[str, Outcome] = {}
    with private_cluster() as cluster:
        sent = _change(cluster, "coa_sending", sessions, 0.0, tells_stops=False)
        say(f"sending alone: {sent}")
        for name, loss in (("no loss", 0.0), ("20 % lost both ways", 0.2)):
            outcomes[name] = _change(cluster, f"coa_{int(loss * 100)}", sessions, loss)
            say(f"{name}: {outcomes[name]}")
    figures = [Figure("sending alone: first requests a second", sessions / sent.sending_seconds, "/s", 2_000)]
    figures += [figure for name, outcome in outcomes.items() for figure in _figures(name, outcome, sessions)]
    return Result("coa", TITLE, {"sessions": sessions, "nases": NASES}, {}, tuple(figures))


def _figures(name: str, outcome: Outcome, sessions: int) -> list[Figure]:
    acked = outcome.acked_in_time / sessions * 100
    rate = sessions / max(outcome.sending_seconds, 0.001)
    return [
        Figure(f"{name}: first requests a second", rate, "/s"),
        Figure(f"{name}: acknowledged within 10 s", acked, "%", 99),
        Figure(f"{name}: 99 % acknowledged after", outcome.acked_p99_seconds, "s", ACKED_WITHIN_SECONDS, at_least=False),
        Figure(f"{name}: all resolved after", outcome.resolved_seconds, "s", RESOLVED_WITHIN_SECONDS, at_least=False),
        Figure(f"{name}: not resolved", outcome.unresolved, "", 0, at_least=False),
        Figure(f"{name}: still online", outcome.still_online, "", 0, at_least=False),
        Figure(f"{name}: transmissions", outcome.transmissions),
        Figure(f"{name}: CPU of the worker, each request", outcome.cpu_seconds / sessions * 1e6, "µs"),
    ]  # fmt: skip


def _change(cluster: Cluster, name: str, sessions: int, loss: float, *, tells_stops: bool = True) -> Outcome:
    settings = _prepared(cluster, name)
    context = multiprocessing.get_context("fork")
    stop, ports = context.Event(), context.SimpleQueue()
    online = {
        f"127.20.{n // 100}.{1 + n % 100}": [f"id{m}" for m in range(n, sessions, NASES)]
        for n in range(NASES)
    }
    nases = context.Process(
        target=_be_nases,
        args=(online, loss if tells_stops else None, settings.journal_directory, stop, ports),
    )
    nases.start()
    try:
        filled = _FILL.format(secret=SECRET, nases=NASES, sessions=sessions, port=ports.get())
        cluster.execute(name, *[part for part in filled.split(";") if part.strip()])
        with _workers(context, settings, stop) as coa:
            processes.until(lambda: cluster.ask(name, _READY)[0][0] == 2, "the workers are not connected")
            processes.until(lambda: cluster.ask(name, _ONLINE)[0][0] == sessions, "not all are online")
            cluster.execute(name, "ANALYZE")
            before = processes.cpu_seconds([coa])
            _ask(cluster, name)
            _await_end(cluster, name, _OPEN if tells_stops else _UNSENT)
            used = processes.cpu_seconds([coa]) - before
    finally:
        stop.set()
        nases.join()
    row: tuple[Any, ...] = cluster.ask(name, _OUTCOME.format(within=ACKED_WITHIN_SECONDS))[0]
    return Outcome(*row, cpu_seconds=used)


def _prepared(cluster: Cluster, name: str) -> Settings:
    cluster.server.create_database(name)
    database.upgrade(cluster.url(name))
    database.allow_logins(cluster.url(name))
    values = {
        "class_secret": new_class_secret(),
        "billing_url": cluster.url(name, DAEMON_ROLE),
        "node": "bench",
    }
    directory = cluster.directory / name
    settings = settings_from_mapping(values, directory)
    settings.journal_directory.mkdir(parents=True)
    return settings


def _be_nases(
    online: dict[str, list[str]], loss: float | None, journal: Path, stop: Event, ports: Any
) -> None:
    """Be all NASes; what is ended goes into the journal as a Stop, as FreeRADIUS would put it there.

    Without a `loss` they send no Stops.
    """
    writer = JournalWriter(journal, Fdatasync.NEVER)

    def report(address: str, session: str, status: str) -> None:
        pairs = [
            ["User-Name", "u" + session.removeprefix("id")],
            ["Acct-Session-Id", session],
            ["Acct-Status-Type", status],
            ["Acct-Session-Time", "3600"],
            ["Acct-Terminate-Cause", "Admin-Reset"],
        ]
        writer.append(encode(ACCOUNTING, time.time_ns() // 1000, address, pairs))

    for address, sessions in online.items():
        for session in sessions:
            report(address, session, "Interim-Update")

    def ended(address: str, session: str) -> None:
        report(address, session, "Stop")

    with NasFarm(online, SECRET.encode(), loss or 0.0, None if loss is None else ended) as farm:
        ports.put(farm.port)
        farm.serve(stop.is_set)
    writer.close()


@contextmanager
def _workers(context: Any, settings: Settings, stop: Event) -> Iterator[int]:
    """Run the meter and one coa worker; yields the process id of the latter."""
    running = [
        context.Process(target=worker.run, args=(settings, stop)) for worker in (meter_worker, coa_worker)
    ]
    for process in running:
        process.start()
    try:
        yield running[1].pid
    finally:
        stop.set()
        for process in running:
            process.join()


def _ask(cluster: Cluster, name: str) -> None:
    with database.transaction(cluster.url(name), "benchmark") as connection, connection.cursor() as cursor:
        cursor.execute(_ASK)


def _await_end(cluster: Cluster, name: str, left: str) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while cluster.ask(name, left)[0][0] and time.monotonic() < deadline:
        time.sleep(0.5)
