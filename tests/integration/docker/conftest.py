"""What the Docker tests share: a daemon, images, an installation. They skip, saying why, where Docker cannot be.

The installation ends with the last of these tests: containers that nobody uses would slow down the tests that come after.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from docker.client import DockerClient

from tests.integration.docker.dockerd import NoDocker, docker_host
from tests.integration.docker.images import build, debian_suite
from tests.integration.docker.site import Site

Measured = Callable[[str, object], None]
TAG = "test"
HERE = Path(__file__).parent
_LIVING = ExitStack()


@pytest.fixture(scope="session")
def host() -> Iterator[str]:
    """Where the Docker daemon listens."""
    try:
        with docker_host() as address:
            yield address
    except NoDocker as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def client(host: str) -> Iterator[DockerClient]:
    """A client of it."""
    connected = DockerClient(base_url=host, timeout=180)
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def images(host: str) -> tuple[float, str]:
    """The images with the tag `test`: how long building took, and what was said of their sizes."""
    return build(host, debian_suite(), TAG)


@pytest.fixture(scope="session")
def shared_site(client: DockerClient, images: object) -> Iterator[Site]:
    """An installation that most tests harm and heal."""
    made = Site(client, TAG)
    _LIVING.callback(made.close)
    made.open()
    yield made
    _LIVING.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Close what the tests share when this was the last of them in its process."""
    if nextitem is None or HERE not in nextitem.path.parents:
        _LIVING.close()


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The installation, well again after the test: that, too, is asserted."""
    yield shared_site
    shared_site.wait_until_well(*shared_site.containers)


@pytest.fixture
def own_site(client: DockerClient, images: object) -> Iterator[Site]:
    """An installation for one test."""
    made = Site(client, TAG)
    try:
        made.open()
        yield made
    finally:
        made.close()


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Note a figure: it is printed at the end of the run."""
    return lambda what, value: record_property("measured", f"{what}: {value}")
