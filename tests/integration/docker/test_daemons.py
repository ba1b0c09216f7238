"""Two daemons share the work; one of them dies in the middle of it."""

import pytest

from tests.integration.docker.conftest import Measured
from tests.integration.docker.ground import wait_until
from tests.integration.docker.site import DAEMONS, PASSWORD, Site

pytestmark = pytest.mark.xdist_group("docker")

USERS = 10
QUOTA_OCTETS = 1_000_000


def test_r31_what_a_dying_daemon_had_in_hand_the_other_does(site: Site, measured: Measured) -> None:
    # given ten users online, each with a megabyte for two devices
    users = [f"orphan-{number}" for number in range(USERS)]
    site.enrol("orphans", users, QUOTA_OCTETS)
    router = site.router("router-1")
    phones = {user: router.login(user, PASSWORD, f"{user}'s phone") for user in users}
    laptops = {user: router.login(user, PASSWORD, f"{user}'s laptop") for user in users}
    # when a daemon dies while they use it up, one after the other
    for number, user in enumerate(users):
        assert router.tell("use", session=phones[user], up=0, down=QUOTA_OCTETS // 2)["answered"]
        assert router.tell("use", session=laptops[user], up=0, down=QUOTA_OCTETS // 2)["answered"]
        if number == USERS // 2:
            site.containers["daemon-1"].kill()
    # then all of them are disconnected, each session by one request, and every octet counts once
    seconds = [
        router.tell("disconnected", session=session, timeout=80)["seconds"]
        for session in (*phones.values(), *laptops.values())
    ]
    wait_until(lambda: _unfinished(site) == 0, lambda: site.tail("daemon-2"))
    assert site.usage(users) == {user: [0, QUOTA_OCTETS] for user in users}
    requests = site.ask("SELECT acct_unique_id FROM radius.coa_request WHERE username LIKE 'orphan-%'")
    assert len(requests) == len({row["acct_unique_id"] for row in requests}) == 2 * USERS
    # and the dead one comes back to work
    site.containers["daemon-1"].start()
    measured("one of two daemons killed: all disconnected", f"{sum(seconds):.1f} s after the last report")


CHORES_OF = """
    SELECT host(client_addr) AS address FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND application_name = 'herotill chores'
"""


def test_r32_what_a_daemon_did_whose_machine_vanishes_the_other_does(site: Site, measured: Measured) -> None:
    # given the daemon that closes stale sessions, and keeps history: one does, by a lock
    wait_until(lambda: len(site.ask(CHORES_OF)) == 1)
    (holder,) = site.ask(CHORES_OF)
    victim, other = sorted(DAEMONS, key=lambda name: site.address(name) != holder["address"])
    # when its machine is gone without a word: no connection of it is ever closed
    site.ground.leave(site.containers[victim])
    # then the other daemon does it
    seconds = wait_until(
        lambda: site.ask(CHORES_OF) == [{"address": site.address(other)}], lambda: site.ask(CHORES_OF)
    )
    site.ground.join(site.containers[victim], victim, site.address(victim))
    measured("a daemon's machine vanishes: the other has its chores", f"after {seconds:.1f} s")


def _unfinished(site: Site) -> int:
    query = "SELECT FROM radius.coa_request WHERE username LIKE 'orphan-%' AND state <> 'confirmed'"
    return len(site.ask(query))
