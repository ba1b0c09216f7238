"""DESIGN.md §3, freshness: what is sold, disabled or over is so at the next login, on every node, whatever is remembered."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import psycopg2.extensions
import pytest

from billing import accounts
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LoginOutcome, Rejected
from rlm_herotill.settings import PacketTimeSettings
from rlm_herotill.store import SnapshotStore
from sync_daemon import database
from tests.faults.conftest import Node, Nodes
from tests.faults.postgresql import be_patient
from tests.integration.conftest import NAS_SECRET
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, now, until
from tests.integration.radclient import ask

OPEN_SESSIONS = "SELECT 1 FROM radius.session WHERE stopped_at IS NULL"
LISTENERS = """
    SELECT {} FROM pg_stat_activity WHERE application_name = 'herotill listen' AND datname = current_database()
"""


@asynccontextmanager
async def nas_of(node: Node) -> AsyncIterator[SimulatedNas]:
    async with SimulatedNas(nas_settings(node.server)) as nas:
        yield nas


def refused(outcome: LoginOutcome, why: str) -> bool:
    return isinstance(outcome, Rejected) and why in outcome.reason


def disable(isp: Isp, username: str) -> None:
    with isp.books() as books:
        accounts.disable(books, username=username, now=now())


def enrol_with_quota(isp: Isp, **policy: object) -> None:
    isp.offer("month", policy=dict(policy), quota_octets=GIB)
    isp.enrol("anna")
    isp.sell("month", "anna")


# -- two nodes


def test_a_disabled_account_is_refused_by_every_node_at_once(nodes: Nodes, isp: Isp) -> None:
    """Given both nodes would accept from memory, when it is disabled, then neither does a notification later."""
    enrol_with_quota(isp)
    a, b = nodes.running("a"), nodes.running("b")

    async def story() -> list[float]:
        async with nas_of(a) as at_a, nas_of(b) as at_b:
            await log_in_twice(at_a, at_b)
            disable(isp, "anna")
            disabled_at = time.monotonic()
            return [await seconds_until_refused(nas, disabled_at) for nas in (at_a, at_b)]

    for name, seconds in zip("ab", asyncio.run(story()), strict=True):
        print(f"node {name} refused {seconds * 1000:.1f} ms after the commit")  # noqa: T201
        assert seconds < 1


async def log_in_twice(*several: SimulatedNas) -> None:
    for _ in range(2):
        for nas in several:
            accepted(await nas.login("anna", PASSWORD))
            await nas.sessions[-1].stop()


async def seconds_until_refused(nas: SimulatedNas, since: float) -> float:
    while not refused(outcome := await nas.login("anna", PASSWORD), "disabled"):
        assert isinstance(outcome, Accepted)
        assert time.monotonic() - since < 15, "still accepted"
    return time.monotonic() - since


def test_a_purchase_is_seen_by_the_very_next_login_at_every_node(nodes: Nodes, isp: Isp) -> None:
    """Given both nodes would refuse from memory, when a plan is sold, then the next login is accepted: no second chance."""
    isp.offer("month", quota_octets=GIB)
    isp.enrol("anna")
    a, b = nodes.running("a"), nodes.running("b")

    async def story() -> None:
        async with nas_of(a) as at_a, nas_of(b) as at_b:
            for nas in (at_a, at_b, at_a, at_b):
                assert refused(await nas.login("anna", PASSWORD), "buy a plan")
            isp.sell("month", "anna")
            for nas in (at_a, at_b):
                outcome = accepted(await nas.login("anna", PASSWORD))
                assert outcome.reply.value("Mikrotik-Total-Limit") == GIB

    asyncio.run(story())


def test_a_stop_at_one_node_makes_room_at_the_other(nodes: Nodes, isp: Isp) -> None:
    """Given one device may be on and is, at one node, when its Stop is metered, then another gets on at the other node."""
    enrol_with_quota(isp, max_sessions=1)
    a, b = nodes.running("a"), nodes.running("b")

    async def story() -> None:
        async with nas_of(a) as at_a, nas_of(b) as at_b:
            session = accepted(await at_a.login("anna", PASSWORD, device="phone")).session
            await until(lambda: bool(isp.ask(OPEN_SESSIONS)))
            for _ in range(2):
                assert refused(await at_b.login("anna", PASSWORD, device="tv"), "Too many devices")
            await session.stop()
            await until(lambda: not isp.ask(OPEN_SESSIONS))
            accepted(await at_b.login("anna", PASSWORD, device="tv"))
            await until(lambda: bool(isp.ask(OPEN_SESSIONS)))
            assert refused(await at_a.login("anna", PASSWORD, device="phone"), "Too many devices")

    asyncio.run(story())


def test_a_session_that_moves_between_nodes_is_metered_once(nodes: Nodes, isp: Isp) -> None:
    """Given a NAS that fails over in mid-session and back, then its octets are counted once and its Stop ends it."""
    enrol_with_quota(isp)
    a, b = nodes.running("a"), nodes.running("b")

    def tell(node: Node, status: str, seconds: int, octets: int) -> None:
        pairs = [
            'User-Name = "anna"',
            'Acct-Session-Id = "0001"',
            f"Acct-Status-Type = {status}",
            f"Acct-Session-Time = {seconds}",
            f"Acct-Output-Octets = {octets}",
            "Acct-Output-Gigawords = 0",
        ]
        assert ask("acct", node.server.acct_port, pairs, secret=NAS_SECRET).code == "Accounting-Response"

    tell(a, "Start", 0, 0)
    tell(a, "Interim-Update", 60, 1000)
    tell(b, "Interim-Update", 120, 3000)
    tell(b, "Interim-Update", 120, 3000)
    tell(a, "Interim-Update", 180, 5000)
    tell(b, "Stop", 200, 7000)
    asyncio.run(until(lambda: bool(isp.ask("SELECT 1 FROM radius.session WHERE output_octets = 7000"))))
    asyncio.run(until(lambda: not isp.ask(OPEN_SESSIONS)))
    assert isp.ask("SELECT used_output_octets FROM radius.entitlement") == [(7000,)]
    assert isp.ask("SELECT sum(output_octets) FROM radius.usage_interval") == [(7000,)]
    assert isp.ask("SELECT count(*), max(session_seconds) FROM radius.session") == [(1, 200)]


# -- nobody listens


def test_a_dead_listener_accepts_nobody_from_memory(nodes: Nodes, isp: Isp, owner_url: str) -> None:
    """Given an accept in memory and a LISTEN connection that is cut, when the account is disabled, then nobody is let in.

    The database is there, so that the outage policy has nothing to say either.
    """
    enrol_with_quota(isp)
    node = nodes.running("a")

    async def story() -> None:
        async with nas_of(node) as nas:
            for _ in range(5):
                await log_in_twice(nas)
                assert listeners(owner_url, "pg_terminate_backend(pid)") == [(True,)]
                disable(isp, "anna")
                assert refused(await nas.login("anna", PASSWORD), "disabled")
                with isp.books() as books:
                    accounts.enable(books, username="anna")
                accepted(await nas.login("anna", PASSWORD))
                await until(lambda: len(listeners(owner_url, "pid")) == 1)

    asyncio.run(story())
    assert isp.ask("SELECT 1 FROM radius.login_outcome WHERE reason = 'outage'") == []


def listeners(owner_url: str, column: str) -> list[tuple[object, ...]]:
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(LISTENERS.format(column))
        found: list[tuple[object, ...]] = cursor.fetchall()
    return found


# -- the meter lags


@pytest.fixture
def unmetered(nodes: Nodes, isp: Isp) -> Node:
    """A node whose meter is not running."""
    node = nodes.node("a")
    node.server.start()
    return node


def test_a_login_right_after_a_stop_sees_it_before_the_meter_does(unmetered: Node, isp: Isp) -> None:
    enrol_with_quota(isp, max_sessions=1)

    async def story() -> None:
        async with nas_of(unmetered) as nas:
            for device, other in (("phone", "tv"), ("tv", "phone"), ("phone", "tv")):
                session = accepted(await nas.login("anna", PASSWORD, device=device)).session
                assert refused(await nas.login("anna", PASSWORD, device=other), "Too many devices")
                await session.stop()

    asyncio.run(story())
    assert isp.ask("SELECT 1 FROM radius.session") == []


def test_a_purchase_is_seen_at_once_though_the_meter_lags(unmetered: Node, isp: Isp) -> None:
    """Given a quota used up that only the journal knows of, when another is sold, then the next login may use that."""
    enrol_with_quota(isp)

    async def story() -> None:
        async with nas_of(unmetered) as nas:
            session = accepted(await nas.login("anna", PASSWORD)).session
            await session.use(output_octets=GIB - 1, seconds=60)
            await session.interim()
            left = accepted(await nas.login("anna", PASSWORD, device="tv"))
            assert left.reply.value("Mikrotik-Total-Limit") == 1
            await session.use(output_octets=1, seconds=1)
            assert session.ended
            for _ in range(2):
                assert refused(await nas.login("anna", PASSWORD), "used up")
            isp.sell("month", "anna", key="2")
            fresh = accepted(await nas.login("anna", PASSWORD))
            assert fresh.reply.value("Mikrotik-Total-Limit") == GIB
            disable(isp, "anna")
            await seconds_until_refused(nas, time.monotonic())
            unmetered.start_meter()
            for one in nas.live_sessions:
                await one.stop()
            await until(lambda: bool(isp.ask("SELECT 1 FROM radius.session")) and not isp.ask(OPEN_SESSIONS))
            told, counted = isp.explain("anna"), nas.totals()["anna"]
            assert (told.input_octets, told.output_octets) == (counted.input_octets, counted.output_octets)

    asyncio.run(story())


# -- loading ahead of logins


@pytest.fixture
def store(nodes: Nodes, isp: Isp, packet_time_url: str) -> Iterator[Callable[..., SnapshotStore]]:
    """Make a store as a node has it, on the database, not started yet."""
    made: list[SnapshotStore] = []

    def make(snapshot_limit: int = 1000) -> SnapshotStore:
        journal = nodes.node("store").settings.journal_directory
        settings = PacketTimeSettings(
            packet_time_url,
            journal,
            "store",
            bytes(32),
            statement_timeout_ms=2000,
            snapshot_limit=snapshot_limit,
        )
        made.append(SnapshotStore(settings, lambda _sentence: None))
        return made[-1]

    yield make
    for one in made:
        one.stop()
    # In FreeRADIUS the whole process is ours; here other tests have connections too.
    psycopg2.extensions.set_wait_callback(None)


def go_online(isp: Isp, count: int) -> list[str]:
    """Accounts with a live session each, as the meter leaves them."""
    names = [f"user-{number:04}" for number in range(count)]
    with isp.radius() as cursor:
        cursor.execute(
            "INSERT INTO radius.managed_account (username, kind, status, policy)"
            " SELECT name, 'prepaid', 'active', '{}' FROM unnest(%s::text[]) AS name",
            (names,),
        )
        cursor.execute(
            "INSERT INTO radius.session (acct_unique_id, session_key, username, nas_address, acct_session_id,"
            " started_at, last_report_at) SELECT name, name, name, '127.0.0.1', name, now(), now()"
            " FROM unnest(%s::text[]) AS name",
            (names,),
        )
    return names


def test_who_is_online_is_loaded_before_he_logs_in(isp: Isp, store: Callable[..., SnapshotStore]) -> None:
    names = go_online(isp, 333)
    node = store()
    node.start()
    asyncio.run(until(lambda: all(node.remembered(name, now()) is not None for name in names)))
    found = [node.account(name, now()) for name in names]
    assert all(from_memory for _, from_memory in found)
    assert all(account is not None and len(account.sessions) == 1 for account, _ in found)


def test_no_more_is_loaded_than_may_be_remembered(isp: Isp, store: Callable[..., SnapshotStore]) -> None:
    names = go_online(isp, 120)
    node = store(snapshot_limit=70)
    node.start()
    asyncio.run(until(lambda: sum(node.remembered(name, now()) is not None for name in names) == 70))
    # A login is never pushed back: it takes the place of the oldest.
    assert not node.account(names[-1], now())[1]
    assert node.account(names[-1], now())[1]


def test_what_is_loaded_ahead_is_as_fresh_as_what_a_login_read(
    isp: Isp, store: Callable[..., SnapshotStore]
) -> None:
    """Given accounts that change while they are being loaded, then the last word of each is what is remembered."""
    names = go_online(isp, 200)
    node = store()
    node.start()
    for name in names:
        change_group(isp, name)
    asyncio.run(until(lambda: all(group_of(node, name) == "late" for name in names)))


def change_group(isp: Isp, username: str) -> None:
    be_patient()
    with isp.radius() as cursor:
        cursor.execute(
            "UPDATE radius.managed_account SET group_name = 'late' WHERE username = %s", (username,)
        )
        cursor.execute("SELECT pg_notify('herotill_account', json_build_array(%s)::text)", (username,))


def group_of(node: SnapshotStore, username: str) -> str | None:
    known = node.remembered(username, now())
    return None if known is None else known.group
