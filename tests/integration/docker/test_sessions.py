"""The main job between containers: a router logs users in, reports, is told to disconnect, and changes the node."""

import pytest

from tests.integration.docker.conftest import Measured
from tests.integration.docker.ground import wait_until
from tests.integration.docker.site import PASSWORD, Site

pytestmark = pytest.mark.xdist_group("docker")


def test_images_are_built_and_their_sizes_told(images: tuple[float, str], measured: Measured) -> None:
    seconds, said = images
    sizes = [line for line in said.splitlines() if line.startswith("herotill")]
    assert len(sizes) == 3, said
    measured("building the images", f"{seconds:.0f} s; {'; '.join(sizes)}")


def test_r15_two_routers_share_a_quota_and_both_are_disconnected(site: Site, measured: Measured) -> None:
    # given a megabyte for two devices, on routers in containers of their own
    site.enrol("small", ["ann"], 1_000_000)
    first, second = site.router("router-1"), site.router("router-2", ("radius-2", "radius-1"))
    phone, laptop = first.login("ann", PASSWORD, "phone"), second.login("ann", PASSWORD, "laptop")
    # when they use it up together, to the octet
    assert first.tell("use", session=phone, up=100_000, down=500_000)["answered"]
    assert second.tell("use", session=laptop, up=99_999, down=300_000)["answered"]
    wait_until(lambda: site.usage(["ann"]) == {"ann": [199_999, 800_000]}, lambda: site.usage(["ann"]))
    assert first.tell("use", session=phone, up=1, down=0)["answered"]
    # then both are disconnected, and nothing more or less was counted
    told = [
        first.tell("disconnected", session=phone, timeout=60),
        second.tell("disconnected", session=laptop, timeout=60),
    ]
    assert [each["answered"] for each in told] == [True, True]
    wait_until(lambda: _open_sessions(site, "ann") == 0)
    assert site.usage(["ann"]) == {"ann": [200_000, 800_000]}
    refused = first.tell("login", user="ann", password=PASSWORD, device="phone")
    assert not refused["accepted"]
    assert "used up" in refused["reason"]
    measured(
        "from the octet that used up the quota to both disconnects, with the tests' own delays",
        f"{max(each['seconds'] for each in told):.2f} s",
    )


def test_a_session_that_moves_to_the_other_node_is_metered_once(site: Site, measured: Measured) -> None:
    # given a session that began at the first node
    site.enrol("moving", ["bob"], 10**12)
    router = site.router("router-1")
    phone = router.login("bob", PASSWORD, "phone")
    assert router.tell("use", session=phone, up=1_000, down=10_000)["answered"]
    # when that node is gone in the middle of it, and comes back
    site.containers["radius-1"].kill()
    moved = router.tell("use", session=phone, up=2_000, down=20_000)
    assert moved["answered"]
    site.containers["radius-1"].start()
    assert router.tell("use", session=phone, up=4_000, down=40_000)["answered"]
    assert router.tell("stop", session=phone)["answered"]
    # then there is one session, and every octet counts once
    wait_until(lambda: _open_sessions(site, "bob") == 0)
    assert site.usage(["bob"]) == {"bob": [7_000, 70_000]}
    assert len(site.ask("SELECT FROM radius.radacct WHERE username = 'bob'")) == 1
    nodes = site.ask("SELECT count(DISTINCT node) AS nodes FROM radius.journal_position")
    assert nodes == [{"nodes": 2}]
    measured("a report answered by the other node after", f"{moved['seconds']:.1f} s")


def _open_sessions(site: Site, user: str) -> int:
    rows = site.ask(f"SELECT FROM radius.radacct WHERE username = '{user}' AND acctstoptime IS NULL")
    return len(rows)
