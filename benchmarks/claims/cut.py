"""From the report that uses a quota up to the Disconnect-Request on the wire, while other accounting goes on.

The clock starts when the interim is sent and stops when the NAS has the Disconnect-Request in its hands.
"""

import multiprocessing
import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection

from benchmarks import processes
from benchmarks.arithmetic import percentile
from benchmarks.generator import Outcome
from benchmarks.measuring import Settled, run_of
from benchmarks.packets import (
    ACCOUNTING_RESPONSE,
    INTERIM,
    SECRET,
    START,
    STOP,
    Subscriber,
    Usage,
    accounting_request,
    report,
    session_attributes,
)
from benchmarks.postgresql import private_cluster
from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort
from benchmarks.scenario import Scenario, running
from benchmarks.traffic import sessions
from nas_simulator.wire import DISCONNECT_ACK, decode, reply_to

TITLE = "From used up to cut"
CUTS, QUICK_CUTS = 300, 30
BACKGROUND_RATE = 1_000.0
QUOTA_OCTETS = 1_000_000
LONGEST_SECONDS = 3.0
TARGET_MS = 50.0

_SMALL_QUOTA = "UPDATE radius.entitlement SET quota_octets = {quota} WHERE username < 'u{cuts:07d}'"
_COA_PORT = "INSERT INTO radius.nas_profile (nas_id, coa_port) SELECT id, {port} FROM radius.nas"
_READY = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'herotill coa%'"


def run(effort: Effort, names: tuple[str, ...] = ("ours",)) -> Result:
    """Measure."""
    cuts = QUICK_CUTS if effort.quick else CUTS
    with private_cluster() as cluster, running(names, cluster, effort.sizes) as scenarios:
        ours = scenarios["ours"]
        with _dynamic_authorization_port() as nas:
            _prepare(ours, cuts, nas.getsockname()[1])
            seconds = cuts * 0.06 + 1
            with _background(ours, seconds, cuts, effort) as background:
                times = _cut_all(ours, nas, cuts)
                outcome: Outcome = background.recv()
    told = {"cuts": cuts, "background_per_second": BACKGROUND_RATE}
    runs = {"background accounting": [run_of(outcome, {}, Settled())]}
    return Result("cut", TITLE, told, runs, tuple(_figures(times, cuts)))


def _prepare(ours: Scenario, cuts: int, port: int) -> None:
    quota = _SMALL_QUOTA.format(quota=QUOTA_OCTETS, cuts=cuts)
    ours.cluster.execute(ours.database, quota, _COA_PORT.format(port=port))
    ours.stop_meter()
    ours.start_meter("meter,coa")
    ours.account([_report(number, START) for number in range(cuts)], 10.0)
    ours.settle()
    processes.until(lambda: ours.cluster.ask(ours.database, _READY)[0][0], "no coa worker is connected")


def _report(number: int, status: int, used_octets: int = 0) -> bytes:
    session = session_attributes(Subscriber(number), b"cut%08x" % number)
    usage = None if status == START else Usage(60, 0, used_octets)
    return accounting_request(number % 128, report(status, session, int(time.time()), usage))


@contextmanager
def _dynamic_authorization_port() -> Iterator[socket.socket]:
    """Open the port where the NAS takes Disconnect-Requests."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        port.bind(("127.0.0.1", 0))
        yield port


@contextmanager
def _background(ours: Scenario, seconds: float, first: int, effort: Effort) -> "Iterator[Connection]":
    """Let another process send accounting of other subscribers; its outcome can be received."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    packets = sessions(int(BACKGROUND_RATE * seconds), effort.sizes.accounts - first, first)

    def send() -> None:
        outcome = ours.account_at(packets, BACKGROUND_RATE, effort.ports).outcome(ACCOUNTING_RESPONSE)
        sending.send(outcome)

    process = context.Process(target=send)
    process.start()
    try:
        yield receiving
    finally:
        process.terminate()
        process.join()


def _cut_all(ours: Scenario, nas: socket.socket, cuts: int) -> list[float]:
    """Use one quota up after the other; return how long each took to be answered by a Disconnect-Request."""
    pauses = random.Random(1)
    times: list[float] = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as reports:
        reports.bind(("127.0.0.1", 0))
        reports.connect(("127.0.0.1", ours.server.acct_port))
        for number in range(cuts):
            began = time.perf_counter()
            reports.send(_report(number, INTERIM, 2 * QUOTA_OCTETS))
            if (came := _await_disconnect(nas, Subscriber(number))) is not None:
                times.append(came - began)
            reports.send(_report(number, STOP, 2 * QUOTA_OCTETS))
            time.sleep(pauses.uniform(0.01, 0.05))
    return times


def _await_disconnect(nas: socket.socket, who: Subscriber) -> float | None:
    """Return when the Disconnect-Request for this subscriber arrived; every request is acknowledged."""
    deadline = time.perf_counter() + LONGEST_SECONDS
    while (left := deadline - time.perf_counter()) > 0:
        nas.settimeout(left)
        try:
            octets, source = nas.recvfrom(4096)
        except TimeoutError:
            return None
        came = time.perf_counter()
        request = decode(octets)
        nas.sendto(reply_to(request, DISCONNECT_ACK, SECRET, ()), source)
        if request.value("User-Name") == who.username.decode():
            return came
    return None


def _figures(times: list[float], cuts: int) -> list[Figure]:
    ordered = sorted(times)
    return [
        Figure("interim to Disconnect-Request, p50", percentile(ordered, 50) * 1000, "ms"),
        Figure(
            "interim to Disconnect-Request, p99",
            percentile(ordered, 99) * 1000,
            "ms",
            TARGET_MS,
            at_least=False,
        ),
        Figure("never cut", cuts - len(times), "", 0, at_least=False),
    ]
