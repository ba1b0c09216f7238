"""docker/compose.yaml as an operator runs it: `up` gives a working system with example data, and routers that use it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.docker.conftest import TAG
from tests.integration.docker.ground import wait_until
from tests.integration.docker.images import REPOSITORY

pytestmark = pytest.mark.xdist_group("docker")

UP_SECONDS = 400


class Compose:
    """One project of that file."""

    def __init__(self, command: tuple[str, ...], host: str) -> None:
        project = f"herotill-test-{secrets.token_hex(3)}"
        self._command = (
            *command,
            "--project-name",
            project,
            "--file",
            "docker/compose.yaml",
            "--profile",
            "simulator",
        )
        ports = [f"HEROTILL_RADIUS_{node}_{kind}" for node in (1, 2) for kind in ("AUTH", "ACCT")]
        self._environment = {
            **os.environ,
            **dict(zip(ports, _free_ports(len(ports)), strict=True)),
            "DOCKER_HOST": host,
            "HEROTILL_TAG": TAG,
            "HEROTILL_POSTGRES_IMAGE": f"herotill-postgres:{TAG}",
            "HEROTILL_SUBNET": f"10.{150 + secrets.randbelow(50)}.{secrets.randbelow(256)}.0/24",
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            (*self._command, *arguments),
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=UP_SECONDS,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout


@pytest.fixture
def compose(host: str, images: object) -> Iterator[Compose]:
    """The file under a name of its own; everything is removed at the end."""
    made = Compose(_compose_command(host), host)
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
        lambda: _used(compose, "north-1") > 0 and _used(compose, "south-1") > 0, lambda: compose.run("logs")
    )
    # and all of it can be started again.
    compose.run("up", "--detach")


def _used(compose: Compose, user: str) -> int:
    listed = compose.run(
        "exec", "-T", "database", "psql", "-U", "postgres", "-d", "herotill", "-Atc", USED % user
    )
    return int(listed)


USED = (
    "SELECT coalesce(sum(acctsessiontime), 0) FROM radius.radacct"
    " WHERE username = '%s' AND nasipaddress <<= '10.128.0.0/9'::inet"
)


def _compose_command(host: str) -> tuple[str, ...]:
    environment = {**os.environ, "DOCKER_HOST": host}
    plugin = subprocess.run(
        ("docker", "compose", "version"), capture_output=True, check=False, env=environment
    )
    if plugin.returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose") is None:
        pytest.skip("neither docker compose nor docker-compose is installed")
    return ("docker-compose",)


def _free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(count)]
        for each in opened:
            each.bind(("", 0))
        return [str(each.getsockname()[1]) for each in opened]
