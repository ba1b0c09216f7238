"""Everything through pgbouncer, in session mode; and how it is found out that transaction mode does not do."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Rejected
from sync_daemon import database
from sync_daemon.doctor.pooling import hears_notifications
from sync_daemon.embedded_postgresql import DAEMON_ROLE, OWNER_ROLE, RADIUS_ROLE, EmbeddedPostgresql
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings, until
from tests.integration.pgbouncer import PROGRAM, Pgbouncer
from tests.integration.workers import Workers

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed: apt install pgbouncer")


@pytest.fixture
def pool_mode() -> str:
    return "session"


@pytest.fixture
def pgbouncer(cluster: EmbeddedPostgresql, pool_mode: str) -> Iterator[Pgbouncer]:
    """A pgbouncer of this test; short path, and readable for the user PostgreSQL runs as."""
    directory = Path(tempfile.mkdtemp(prefix="herotill-pgbouncer-"))
    running = Pgbouncer(directory, cluster, pool_mode)
    running.start()
    yield running
    running.stop()
    shutil.rmtree(directory)


@pytest.fixture
def database_url(pgbouncer: Pgbouncer, database_name: str) -> str:
    """What the daemon and the CLI use goes through it."""
    return pgbouncer.url(DAEMON_ROLE, database_name)


@pytest.fixture
def packet_time_url(pgbouncer: Pgbouncer, database_name: str) -> str:
    """What FreeRADIUS uses, too."""
    return pgbouncer.url(RADIUS_ROLE, database_name)


@pytest.fixture
def isp(settings: Settings) -> Isp:
    return Isp(settings)


def test_in_session_mode_a_customer_logs_in_is_metered_and_cut_off(
    radius_server: Freeradius, isp: Isp, workers: Workers
) -> None:
    isp.enrol("anna")
    isp.offer("gib", {"max_sessions": 2}, quota_octets=GIB)
    isp.sell("gib", "anna")

    async def story() -> None:
        async with SimulatedNas(nas_settings(radius_server)) as nas:
            isp.listen_for_coa_on(nas)
            phone = accepted(await nas.login("anna", PASSWORD, device="phone")).session
            laptop = accepted(await nas.login("anna", PASSWORD, device="laptop")).session
            for session in (phone, laptop):
                await session.use(output_octets=GIB // 2 + 1)
                await session.interim()
            await asyncio.gather(nas.wait_for_disconnect(phone), nas.wait_for_disconnect(laptop))
            await asyncio.gather(phone.wait_until_stopped(), laptop.wait_until_stopped())
            assert isinstance(await nas.login("anna", PASSWORD), Rejected)
            # A sale is heard of: the next login knows of it.
            isp.sell("gib", "anna", key="2")
            again = accepted(await nas.login("anna", PASSWORD)).session
            assert again.limits.total_octets == GIB
            await again.stop()
            await until(lambda: not isp.ask("SELECT 1 FROM radius.session WHERE stopped_at IS NULL"))

    asyncio.run(story())
    assert isp.ask("SELECT sum(output_octets)::bigint FROM radius.usage_interval") == [(GIB + 2,)]


def test_in_session_mode_a_lock_is_held_while_its_holder_is_connected_and_settings_are_its_own(
    settings: Settings, pgbouncer: Pgbouncer, database_name: str
) -> None:
    url = database.radius_url(settings)
    lock = "SELECT pg_try_advisory_lock(1), current_setting('herotill.writer'), current_setting('TimeZone')"
    first = database.connect(url, "first", autocommit=True)
    with first.cursor() as cursor:
        cursor.execute(lock)
        assert cursor.fetchone() == (True, "herotill", "UTC")
    with database.transaction(url, "second") as second, second.cursor() as cursor:
        cursor.execute(lock)
        assert cursor.fetchone() == (False, "herotill", "UTC")
    first.close()
    # Whoever gets that connection next has neither the lock nor our name.
    by_hand = psycopg2.connect(pgbouncer.url(DAEMON_ROLE, database_name))
    with by_hand, by_hand.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting('herotill.writer', true), '')")
        assert cursor.fetchone() == ("",)
        # pgbouncer cleans up when it has noticed that the holder is gone: this waits for it.
        cursor.execute("SET LOCAL lock_timeout = '30s'; SELECT pg_advisory_xact_lock(1)")
    by_hand.close()


def test_in_session_mode_the_schema_is_migrated_through_it(pgbouncer: Pgbouncer, database_name: str) -> None:
    before, after = database.upgrade(pgbouncer.url(OWNER_ROLE, database_name))
    assert before == after is not None


def test_in_session_mode_notifications_are_heard(settings: Settings) -> None:
    assert hears_notifications(database.radius_url(settings))


@pytest.mark.parametrize("pool_mode", ["transaction"])
def test_in_transaction_mode_nobody_hears_of_a_change_and_the_doctor_says_so(
    settings: Settings, run_herotill: RunHerotill
) -> None:
    assert not hears_notifications(database.radius_url(settings))
    told = run_herotill("doctor").output
    assert "pool_mode = session" in " ".join(told.replace("│", " ").split())


@pytest.mark.parametrize("pool_mode", ["transaction"])
def test_in_transaction_mode_a_lock_is_nobodys(settings: Settings) -> None:
    url = database.radius_url(settings)
    first = database.connect(url, "first", autocommit=True)
    with first.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(1)")
    # Another client is handed the same connection, and believes that it has the lock: two meters at once.
    second = database.connect(url, "second", autocommit=True)
    with second.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(1)")
        assert cursor.fetchone() == (True,)
    second.close()
    first.close()
