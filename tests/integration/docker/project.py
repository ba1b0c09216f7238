"""A project of docker compose, by the files an operator would use."""

import os
import secrets
import shutil
import socket
import subprocess
from contextlib import ExitStack

import pytest

from tests.integration.docker.images import REPOSITORY

UP_SECONDS = 400


class Compose:
    """One project of these files under docker/, with a name, ports and a network of its own."""

    def __init__(self, host: str, tag: str, *files: str) -> None:
        chosen = [argument for file in files for argument in ("--file", f"docker/{file}")]
        project = ("--project-name", f"herotill-test-{secrets.token_hex(3)}", "--profile", "simulator")
        self._command = (*_compose_command(host), *chosen, *project)
        ports = [f"HEROTILL_RADIUS_{node}_{kind}" for node in (1, 2) for kind in ("AUTH", "ACCT")]
        self._environment = {
            **os.environ,
            **dict(zip(ports, _free_ports(len(ports)), strict=True)),
            "DOCKER_HOST": host,
            "HEROTILL_TAG": tag,
            "HEROTILL_POSTGRES_IMAGE": f"herotill-postgres:{tag}",
            "HEROTILL_SUBNET": f"10.{150 + secrets.randbelow(50)}.{secrets.randbelow(256)}.0/24",
        }

    def run(self, *arguments: str) -> str:
        """Run a command of compose, which must end well, and return what it printed."""
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

    def ask(self, database: str, query: str) -> str:
        """Return what psql prints in the container of this database: a row in a line, columns parted by `|`."""
        return self.run(
            "exec", "-T", database, "psql", "-U", "postgres", "-d", "herotill", "-Atc", query
        ).strip()


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
