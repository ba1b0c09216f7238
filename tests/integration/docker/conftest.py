"""What the Docker tests share: a daemon, images, an installation. They skip, saying why, where Docker cannot be."""

from collections.abc import Callable, Iterator

import pytest
from docker.client import DockerClient

from tests.integration.docker.dockerd import NoDocker, docker_host
from tests.integration.docker.images import build, debian_suite
from tests.integration.docker.site import Site

Measured = Callable[[str, object], None]
TAG = "test"


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
    yield from _opened(client)


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The installation, well again after the test: that, too, is asserted."""
    yield shared_site
    shared_site.wait_until_well(*shared_site.containers)


@pytest.fixture
def own_site(client: DockerClient, images: object) -> Iterator[Site]:
    """An installation for one test."""
    yield from _opened(client)


def _opened(client: DockerClient) -> Iterator[Site]:
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
