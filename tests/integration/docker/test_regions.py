"""docker/compose.regions.yaml: one set of books, two regions with a RADIUS database, a node and a daemon each (rule R30)."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.integration.docker.conftest import TAG, Measured
from tests.integration.docker.ground import wait_until
from tests.integration.docker.project import Compose

pytestmark = pytest.mark.xdist_group("docker")

REGIONS = {"north": "router-1", "south": "router-2"}
ACCOUNTS = "SELECT username FROM radius.managed_account ORDER BY 1"
USE = "SELECT coalesce(sum(input_octets + output_octets), 0) FROM radius.usage_interval WHERE username = '%s'"
SESSIONS = "SELECT count(*) FROM radius.session WHERE username = '%s'"
MIB = 1 << 20


@pytest.fixture
def compose(host: str, images: object) -> Iterator[Compose]:
    """The regions under a name of their own; everything is removed at the end."""
    made = Compose(host, TAG, "compose.yaml", "compose.regions.yaml")
    yield made
    made.run("down", "--volumes", "--timeout", "5")


def test_r30_each_region_has_its_own_customers_and_lives_on_without_the_books(
    compose: Compose, measured: Measured
) -> None:
    # when both regions are started, each with a router whose customer comes and goes
    compose.run("up", "--detach")
    for region in REGIONS:
        wait_until(lambda region=region: _use(compose, region) > 0, lambda: compose.run("logs"))  # type: ignore[misc]
    # then each RADIUS database knows its own customer and nobody else,
    assert {region: compose.ask(f"database-{region}", ACCOUNTS) for region in REGIONS} == {
        region: f"{region}-1" for region in REGIONS
    }
    assert "Access-Accept" in _login(compose, "router-2", "radius-2", "south-1")
    assert "Access-Reject" in _login(compose, "router-1", "radius-1", "south-1")
    # and the books know both.
    wait_until(lambda: all(_sessions(compose, "database", region) > 0 for region in REGIONS))
    # When the books are away,
    compose.run("kill", "database")
    before = {region: _use(compose, region) for region in REGIONS}
    # then people are let in, and metered,
    for number, (region, router) in enumerate(REGIONS.items(), 1):
        assert "Access-Accept" in _login(compose, router, f"radius-{number}", f"{region}-1")
        wait_until(
            lambda region=region: _use(compose, region) > before[region] + MIB,  # type: ignore[misc]
            lambda: compose.run("logs"),
        )
    # and when the books are back and the routers silent, they have every octet of both.
    compose.run("stop", *REGIONS.values())
    compose.run("start", "database")
    seconds = wait_until(
        lambda: all(_use(compose, region) == _use(compose, region, "database") > 0 for region in REGIONS),
        lambda: compose.run("logs"),
    )
    measured(
        "books away from two regions: everything there, exactly", f"{seconds:.1f} s after they came back"
    )


def _login(compose: Compose, router: str, server: str, user: str) -> str:
    """Log in by hand at a router, whose own container is started again between two of its sessions."""
    options = f"--server {server} --secret-file /run/secrets/nas/nas-secret"
    command = (
        f"herotill-nas login {user} {options} --password-file /run/secrets/nas/subscriber-password; true"
    )
    said: list[str] = []

    def is_said() -> bool:
        with suppress(AssertionError):
            said.append(compose.run("exec", "-T", router, "sh", "-c", command))
        return bool(said)

    wait_until(is_said, lambda: compose.run("ps"))
    return said[0]


def _use(compose: Compose, region: str, database: str = "") -> int:
    return int(compose.ask(database or f"database-{region}", USE % f"{region}-1"))


def _sessions(compose: Compose, database: str, region: str) -> int:
    return int(compose.ask(database, SESSIONS % f"{region}-1"))
