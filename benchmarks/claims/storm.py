"""A power cut in town: every NAS says Accounting-On and all subscribers come back at once.

Then the other storm: one NAS with all sessions on it says Accounting-On.
"""

import time
from contextlib import closing

from benchmarks import processes
from benchmarks.generator import Load, Outcome, Ports
from benchmarks.homecoming import Homecoming, Returned
from benchmarks.measuring import Settled, run_of
from benchmarks.packets import ACCOUNTING_RESPONSE, nas_restart
from benchmarks.postgresql import private_cluster
from benchmarks.results import Figure, Result
from benchmarks.rounds import Effort
from benchmarks.saying import say
from benchmarks.scenario import Scenario, Sizes, running

TITLE = "Everybody comes back at once"
SUBSCRIBERS, NASES, OVER_SECONDS = 100_000, 100, 50.0
QUICK_SUBSCRIBERS, QUICK_NASES, QUICK_SECONDS = 5_000, 100, 5.0
USED_UP_EVERY, USED_UP_AT = 50, 7
"""Which subscribers have no quota left, and must be refused."""
PORTS_PER_NAS = 4
"""Source ports of each NAS: so many that no Identifier comes back while an answer to its last request may."""
BIG_NAS = "127.2.0.1"

# Each subscriber's session before the cut, on the NAS it comes back to.
_SESSIONS = """
    INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,
        calling_station_id, framed_ip_address, started_at, last_report_at, session_seconds, input_octets)
    SELECT md5('live' || n), md5('live key' || n), 'u' || lpad(n::text, 7, '0'), '127.1.0.1'::inet + n %% {nases},
           'live' || n, 'C0:00:00:00:00:01', '10.0.0.1'::inet + n, now() - interval '1 hour', now(), 3600, 1000000
    FROM generate_series(0, {last}) n
"""
_USE_UP = f"""
    UPDATE radius.entitlement SET used_input_octets = quota_octets
    WHERE right(username, 7)::integer %% {USED_UP_EVERY} = {USED_UP_AT}
"""
_MOVE = f"UPDATE radius.session SET nas_address = '{BIG_NAS}' WHERE stopped_at IS NULL"
_IDLE_CORES = 0.1
_LIVE = "SELECT count(*) FROM radius.session WHERE stopped_at IS NULL"


def run(effort: Effort, names: tuple[str, ...] = ("ours",)) -> Result:
    """Measure."""
    count, nases, seconds = (
        (QUICK_SUBSCRIBERS, QUICK_NASES, QUICK_SECONDS)
        if effort.quick
        else (SUBSCRIBERS, NASES, OVER_SECONDS)
    )
    with (
        private_cluster() as cluster,
        running(names, cluster, Sizes(count, effort.sizes.sessions)) as scenarios,
    ):
        ours = scenarios["ours"]
        cluster.execute(
            ours.database,
            _SESSIONS.replace("%%", "%").format(nases=nases, last=count - 1),
            _USE_UP.replace("%%", "%"),
        )
        cluster.execute(ours.database, "VACUUM ANALYZE", "CHECKPOINT")
        _begin_the_day(ours)
        returned, settled = _come_back(ours, count, nases, seconds)
        answered, gone = _restart_big_nas(ours)
    runs = {
        "logins": [run_of(returned.logins, {}, settled)],
        "starts": [run_of(returned.starts, {}, settled)],
    }
    told = {"subscribers": count, "nases": nases, "over_seconds": seconds, "used_up": len(_refused(count))}
    return Result("storm", TITLE, told, runs, tuple(_figures(returned, settled, answered, gone, seconds)))


def _refused(count: int) -> list[int]:
    return list(range(USED_UP_AT, count, USED_UP_EVERY))


def _begin_the_day(ours: Scenario) -> None:
    """Start FreeRADIUS anew, and let it load who is online, as it will have when the cut comes."""
    ours.server.stop()
    ours.server.start()
    ours.await_nas()
    processes.until(lambda: _is_idle(ours), "accounts are still being loaded", 300.0)


def _is_idle(ours: Scenario) -> bool:
    before = ours.cpu()
    time.sleep(1.0)
    return sum(ours.cpu().values()) - sum(before.values()) < _IDLE_CORES


def _come_back(ours: Scenario, count: int, nases: int, seconds: float) -> tuple[Returned, Settled]:
    addresses = [f"127.1.0.{number + 1}" for number in range(nases)]
    with (
        closing(Ports(ours.server.auth_port, nases * PORTS_PER_NAS, addresses)) as authentication,
        closing(Ports(ours.server.acct_port, nases * PORTS_PER_NAS, addresses)) as accounting,
    ):
        homecoming = Homecoming(authentication, accounting, count, _refused(count))
        restarts = [nas_restart(255, int(time.time())) for _ in range(nases)]
        Load(accounting, restarts).open(1_000)
        say(f"{nases} NASes have restarted, {count:,} subscribers come")
        returned = homecoming.run(seconds)
    settled = ours.settle()
    online = ours.cluster.ask(ours.database, _LIVE)[0][0]
    # An answer that came after the NAS stopped waiting leaves one more in the database, never one fewer.
    if not isinstance(online, int) or online < returned.starts.answered:
        raise AssertionError(f"{returned.starts.answered} Starts were answered, {online} are in the database")
    return returned, settled


def _restart_big_nas(ours: Scenario) -> tuple[Outcome, float]:
    """Let the NAS with all sessions on it restart; return the answer, and after how long no session was left."""
    ours.cluster.execute(ours.database, _MOVE, "VACUUM ANALYZE radius.session", "CHECKPOINT")
    with closing(Ports(ours.server.acct_port, 1, [BIG_NAS])) as port:
        Load(port, [nas_restart(1, int(time.time()) - 3_600)]).open(1_000)  # makes it known; closes nothing
        began = time.perf_counter()
        outcome = Load(port, [nas_restart(2, int(time.time()) + 1)]).open(1_000).outcome(ACCOUNTING_RESPONSE)
    processes.until(lambda: ours.cluster.ask(ours.database, _LIVE)[0][0] == 0, "sessions are left", 60.0)
    return outcome, time.perf_counter() - began


def _figures(
    returned: Returned, settled: Settled, answered: Outcome, gone: float, over_seconds: float
) -> list[Figure]:
    both = (returned.logins, returned.starts)
    # Whoever was not answered is not online, however soon the others were.
    online_seconds = float("nan") if any(outcome.lost for outcome in both) else returned.seconds
    answer_seconds = answered.latency_ms(100) / 1000
    return [
        Figure(f"all online, coming over {over_seconds:.0f} s", online_seconds, "s", 60, at_least=False),
        Figure("all in the database, after the last Start", settled.seconds, "s"),
        Figure("wrong decisions", sum(outcome.wrong for outcome in both), "", 0, at_least=False),
        Figure("not answered", sum(outcome.lost for outcome in both), "", 0, at_least=False),
        Figure("answered later than 2 s", sum(outcome.late for outcome in both), "", 0, at_least=False),
        Figure("slowest login", returned.logins.latency_ms(100), "ms"),
        Figure("one big NAS: Accounting-On answered after", answer_seconds, "s", 1, at_least=False),
        Figure("one big NAS: all sessions ended after", gone, "s", 4, at_least=False),
    ]
