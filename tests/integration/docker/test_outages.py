"""A part of the installation is killed, stands still, or is cut off, under traffic: nothing is lost, and it heals."""

import time

import pytest

from tests.integration.docker.conftest import Measured
from tests.integration.docker.ground import wait_until
from tests.integration.docker.site import PASSWORD, Site

pytestmark = pytest.mark.xdist_group("docker")

HARM_SECONDS = 4.0
AROUND_SECONDS = 1.5
USERS = 12


def harm(site: Site, victim: str, how: str) -> None:
    container = site.containers[victim]
    {"killed": container.kill, "paused": container.pause, "cut off": lambda: site.ground.leave(container)}[
        how
    ]()


def heal(site: Site, victim: str, how: str) -> None:
    container = site.containers[victim]
    rejoin = lambda: site.ground.join(container, victim, site.address(victim))  # noqa: E731
    {"killed": container.start, "paused": container.unpause, "cut off": rejoin}[how]()


@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
@pytest.mark.parametrize("victim", ["radius-1", "meter-1", "database"])
def test_nothing_is_lost_when_a_part_fails_under_traffic(
    site: Site, measured: Measured, victim: str, how: str
) -> None:
    # given users who log in, use data, report and log out, all the time
    users = [f"{victim}-{how.replace(' ', '-')}-{number}" for number in range(USERS)]
    site.enrol(f"{victim} {how}", users, 10**12)
    router = site.router("router-1")
    router.tell("start_traffic", users=users, password=PASSWORD, seed=1)
    wait_until(lambda: router.tell("look")["sessions"] >= 2 * USERS)
    # when a part fails for a while
    harm(site, victim, how)
    time.sleep(HARM_SECONDS)
    heal(site, victim, how)
    healed_at = time.monotonic()
    time.sleep(AROUND_SECONDS)
    told = router.tell("end_traffic")
    # then every packet was answered, if only by the other node, nobody was refused, and every octet counts once
    assert told["unanswered"] == 0, told
    assert told["refused"] == []
    wait_until(
        lambda: site.usage(users) == told["totals"],
        lambda: (site.usage(users), told["totals"], site.tail(victim)),
    )
    recovery_seconds = time.monotonic() - healed_at
    wait_until(lambda: _open_sessions(site, users) == 0)
    assert len(_sessions(site, users)) == told["sessions"]
    site.wait_until_well(victim)
    octets = sum(sum(pair) for pair in told["totals"].values())
    measured(
        f"{victim} {how} for {HARM_SECONDS:.0f} s",
        f"{told['packets']} packets, all answered, the slowest after {told['longest_seconds']} s, "
        f"{told['put_off']} logins put off; "
        f"{octets} octets metered exactly, {recovery_seconds:.1f} s after healing",
    )  # fmt: skip


@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_r31_disconnects_wait_for_daemons_that_are_away(site: Site, measured: Measured, how: str) -> None:
    # given somebody online with a megabyte, on two devices
    user = f"daemons-{how.replace(' ', '-')}"
    site.enrol(f"daemons {how}", [user], 1_000_000)
    router = site.router("router-1")
    phone, laptop = router.login(user, PASSWORD, "phone"), router.login(user, PASSWORD, "laptop")
    # when it is used up while both daemons are away
    for daemon in ("daemon-1", "daemon-2"):
        harm(site, daemon, how)
    assert router.tell("use", session=phone, up=0, down=600_000)["answered"]
    assert router.tell("use", session=laptop, up=0, down=400_000)["answered"]
    wait_until(lambda: site.usage([user]) == {user: [0, 1_000_000]})
    for daemon in ("daemon-1", "daemon-2"):
        heal(site, daemon, how)
    healed_at = time.monotonic()
    # then both devices are disconnected when the daemons are back, each by one request
    for session in (phone, laptop):
        assert router.tell("disconnected", session=session, timeout=80)["answered"]
    recovery_seconds = time.monotonic() - healed_at
    wait_until(lambda: _open_sessions(site, [user]) == 0)
    assert site.usage([user]) == {user: [0, 1_000_000]}
    requests = f"SELECT DISTINCT acct_unique_id FROM radius.coa_request WHERE username = '{user}'"
    assert len(site.ask(requests)) == 2
    measured(
        f"both daemons {how}: the disconnects that waited arrived", f"{recovery_seconds:.1f} s after healing"
    )


def _sessions(site: Site, users: list[str]) -> list[dict[str, object]]:
    names = ", ".join(f"'{user}'" for user in users)
    return site.ask(f"SELECT acctstoptime FROM radius.radacct WHERE username IN ({names})")


def _open_sessions(site: Site, users: list[str]) -> int:
    return sum(row["acctstoptime"] is None for row in _sessions(site, users))
