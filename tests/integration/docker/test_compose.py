"""docker/compose.yaml as an operator runs it: `up` gives a working system with example data, and routers that use it."""

import json
from collections.abc import Iterator

import pytest

from tests.integration.docker.conftest import TAG
from tests.integration.docker.ground import wait_until
from tests.integration.docker.project import Compose

pytestmark = pytest.mark.xdist_group("docker")

USED = (
    "SELECT coalesce(sum(acctsessiontime), 0) FROM radius.radacct"
    " WHERE username = '%s' AND nasipaddress <<= '10.128.0.0/9'::inet"
)


@pytest.fixture
def compose(host: str, images: object) -> Iterator[Compose]:
    """The file under a name of its own; everything is removed at the end."""
    made = Compose(host, TAG, "compose.yaml")
    yield made
    made.run("down", "--volumes", "--timeout", "5")


def test_up_gives_a_working_system_with_example_data_and_routers(compose: Compose) -> None:
    # when it is started with the profile of simulated routers
    compose.run("up", "--detach")
    # then there is a month of example data,
    customers = json.loads(compose.run("exec", "-T", "daemon", "herotill", "customer", "list", "--json"))
    assert customers
    # both routers have somebody online who uses data, through either node,
    wait_until(
        lambda: all(int(compose.ask("database", USED % user)) > 0 for user in ("north-1", "south-1")),
        lambda: compose.run("logs"),
    )
    # and all of it can be started again.
    compose.run("up", "--detach")
