"""Rule R34: PostgreSQL is stopped, paused or late; the policy answers logins, accounting goes on, all is right after.

The times printed are those the client measured. Users wait for what issue 3 asks, 100 ms; the bound asserted is wider,
because the machine that tests may be busy.
"""

import asyncio
from dataclasses import dataclass, field

import pytest

from billing import accounts
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Accepted, LoginOutcome, Rejected
from nas_simulator.session import Session
from sync_daemon import database
from tests.faults.conftest import Node, Nodes
from tests.faults.postgresql import Fragile
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, now, until

ANSWER_SECONDS = 1.0
POLICIES = ("last_known", "closed", "open")
DISTURBED = "not available at the moment"
OPEN_SESSIONS = "SELECT 1 FROM radius.session WHERE stopped_at IS NULL"
PREWARMED = """
    SELECT 1 FROM pg_stat_activity WHERE application_name = 'herotill listen' AND datname = current_database()
    AND (query LIKE '%account_snapshot%' OR query = 'SELECT 1') AND state = 'idle'
"""


@dataclass
class Times:
    """What the client measured."""

    of: dict[str, float] = field(default_factory=dict)

    def note(self, what: str, outcome: LoginOutcome) -> LoginOutcome:
        self.of[what] = outcome.answer.elapsed_seconds
        assert outcome.answer.attempts == 1, what
        return outcome

    def show(self, title: str) -> None:
        told = ", ".join(f"{what} {seconds * 1000:.1f} ms" for what, seconds in self.of.items())
        print(f"{title}: {told}")  # noqa: T201 - what was measured, for who runs it with -rP
        assert max(self.of.values()) < ANSWER_SECONDS, told


def found_users(isp: Isp) -> None:
    """One user in a group of each policy, named after it, with a gigabyte."""
    isp.offer("month", quota_octets=GIB)
    for policy in POLICIES:
        isp.found_group(f"group-{policy}", policy={"outage": policy})
        isp.enrol(policy, group=f"group-{policy}")
        isp.sell("month", policy)


def timeout_of(outcome: LoginOutcome) -> object:
    return accepted(outcome).reply.value("Session-Timeout")


def refusal(outcome: LoginOutcome) -> str:
    assert isinstance(outcome, Rejected), outcome
    return outcome.reason


async def use_and_tell(session: Session) -> None:
    """Use something and report it; every report is answered."""
    await session.use(input_octets=1003, output_octets=7001, seconds=60)
    assert (await session.interim()).answered


async def online(isp: Isp, nas: SimulatedNas) -> list[Session]:
    """Everybody is on, and the meter has heard of it: what nodes remember is outdated."""
    sessions = [accepted(await nas.login(policy, PASSWORD)).session for policy in POLICIES]
    for session in sessions:
        await use_and_tell(session)
    await until(lambda: isp.ask("SELECT count(*) FROM radius.session WHERE input_octets = 1003") == [(3,)])
    return sessions


async def meets_the_policies(nas: SimulatedNas, times: Times) -> None:
    """Log everybody in, with another device, while the database is away."""
    # Nobody remembers this one, so that it finds out that the database is away, and waits longest.
    assert DISTURBED in refusal(times.note("unknown", await nas.login("nobody", PASSWORD)))
    assert timeout_of(times.note("last_known", await nas.login("last_known", PASSWORD, device="tv"))) == 600
    assert DISTURBED in refusal(times.note("closed", await nas.login("closed", PASSWORD, device="tv")))
    assert timeout_of(times.note("open", await nas.login("open", PASSWORD, device="tv"))) == 600
    for policy in POLICIES:
        wrong = times.note(f"{policy}, wrong password", await nas.login(policy, "guessed", device="tv"))
        assert "password is wrong" in refusal(wrong)


@pytest.mark.parametrize("way", ["stopped", "paused"])
def test_r34_an_outage_is_answered_by_the_policy_and_forgotten_after_it(
    way: str, nodes: Nodes, isp: Isp, postgresql: Fragile
) -> None:
    """Given users of three policies online, when PostgreSQL fails, then each meets his own, and all are counted."""
    found_users(isp)
    node, times = nodes.running(), Times()

    async def story() -> None:
        async with SimulatedNas(nas_settings(node.server)) as nas:
            sessions = await online(isp, nas)
            with getattr(postgresql, way)():
                await meets_the_policies(nas, times)
                for session in (*sessions, *nas.live_sessions):
                    await use_and_tell(session)
                await sessions[0].stop()
                assert nas.discarded_replies == []
            await usual_again(nas)
            for session in nas.live_sessions:
                await session.stop()
            await until(lambda: not isp.ask(OPEN_SESSIONS))
            numbers_are_right(isp, nas)

    asyncio.run(story())
    assert ("outage", True) in isp.ask("SELECT DISTINCT reason, accepted FROM radius.login_outcome")
    assert ("unavailable", False) in isp.ask("SELECT DISTINCT reason, accepted FROM radius.login_outcome")
    times.show(way)


async def usual_again(nas: SimulatedNas) -> None:
    """Everybody logs in as ever, without a restart of FreeRADIUS: his own limits, no shortened session."""
    for policy in POLICIES:
        async with asyncio.timeout(15):
            while not _is_usual(await nas.login(policy, PASSWORD, device="tablet")):
                await asyncio.sleep(0.05)
    assert "password is wrong" in refusal(await nas.login("nobody", PASSWORD))


def _is_usual(outcome: LoginOutcome) -> bool:
    return isinstance(outcome, Accepted) and outcome.reply.value("Session-Timeout") is None


def numbers_are_right(isp: Isp, nas: SimulatedNas) -> None:
    for policy in POLICIES:
        told, counted = isp.explain(policy), nas.totals()[policy]
        assert (told.input_octets, told.output_octets) == (counted.input_octets, counted.output_octets)
        (used,) = isp.ask(
            "SELECT used_input_octets, used_output_octets FROM radius.entitlement WHERE username = %s", policy
        )
        assert used == (counted.input_octets, counted.output_octets)


def has_prewarmed(owner_url: str) -> bool:
    """Whether the node has loaded ahead what it wanted, and waits for notifications."""
    with database.transaction(owner_url, "test") as connection, connection.cursor() as cursor:
        cursor.execute(PREWARMED)
        return cursor.fetchone() is not None


def restarted(node: Node) -> None:
    node.server.stop()
    node.server.start()


@pytest.mark.parametrize("way", ["stopped", "paused"])
@pytest.mark.parametrize("unknown", ["closed", "open"])
def test_r34_freeradius_started_without_its_database_knows_its_nases_and_answers_by_policy(
    way: str, unknown: str, nodes: Nodes, isp: Isp, postgresql: Fragile
) -> None:
    """Given PostgreSQL late at start-up, then nobody is remembered, packets are answered, and all is usual once it comes."""
    found_users(isp)
    node, times = nodes.running(outage_for_unknown=unknown, outage_session_seconds=120), Times()
    node.server.stop()
    node.server.nas_secret = None  # start, and wait for no answer: ours is the first packet

    async def story() -> None:
        with getattr(postgresql, way)():
            node.server.start()
            async with SimulatedNas(nas_settings(node.server)) as nas:
                for policy in POLICIES:
                    outcome = times.note(policy, await nas.login(policy, PASSWORD))
                    if unknown == "open":
                        assert timeout_of(outcome) == 120
                    else:
                        assert DISTURBED in refusal(outcome)
                for session in nas.live_sessions:
                    await use_and_tell(session)
                    await session.stop()
        async with SimulatedNas(nas_settings(node.server)) as nas:
            await usual_again(nas)

    asyncio.run(story())
    expected = [(3,)] if unknown == "open" else [(0,)]
    asyncio.run(
        until(lambda: isp.ask("SELECT count(*) FROM radius.session WHERE input_octets = 1003") == expected)
    )
    times.show(f"late, {way}, unknown {unknown}")


def test_r34_who_is_online_is_remembered_by_a_freeradius_that_has_just_started(
    nodes: Nodes, isp: Isp, postgresql: Fragile, owner_url: str
) -> None:
    """Given nobody has logged in since the start, when PostgreSQL stops, then live sessions' users are known last."""
    found_users(isp)
    node, times = nodes.running(), Times()

    async def story() -> None:
        async with SimulatedNas(nas_settings(node.server)) as nas:
            await online(isp, nas)
            restarted(node)
            await until(lambda: has_prewarmed(owner_url))
            with postgresql.stopped():
                await meets_the_policies(nas, times)

    asyncio.run(story())
    times.show("just started")


def test_r34_somebody_disabled_right_before_the_outage_is_not_known_as_he_was(
    nodes: Nodes, isp: Isp, postgresql: Fragile
) -> None:
    found_users(isp)
    node = nodes.running()

    async def story() -> None:
        async with SimulatedNas(nas_settings(node.server)) as nas:
            await online(isp, nas)
            for policy in POLICIES:
                with isp.books() as books:
                    accounts.disable(books, username=policy, now=now())
            with postgresql.stopped():
                for policy in POLICIES:
                    refusal(await nas.login(policy, PASSWORD))

    asyncio.run(story())
