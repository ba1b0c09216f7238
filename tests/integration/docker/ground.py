"""What the containers of one installation stand on: a network with addresses that stay, volumes, and a label."""

import io
import secrets
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from docker.client import DockerClient
from docker.errors import APIError
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

LABEL = "herotill-test"
DEADLINE_SECONDS = 150.0
PYTHON = "/opt/herotill/bin/python"
LIBRARY = "/usr/local/lib/herotill"
SECOND = 1_000_000_000  # Docker counts nanoseconds
CHECKS = {
    "herotill": [PYTHON, f"{LIBRARY}/healthy.py", "daemon"],
    "herotill-radius": [PYTHON, f"{LIBRARY}/healthy.py", "radius"],
    "herotill-postgres": ["pg_isready", "-q", "-h", "127.0.0.1"],
}
"""The images' own health checks, to be asked more often than an operator would."""
HOW_OFTEN = {"interval": 2 * SECOND, "timeout": 10 * SECOND, "retries": 3}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a container is made of. `mounts` says which volume lies where."""

    image: str
    tag: str
    command: list[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    entrypoint: list[str] | None = None
    user: str | None = None
    stdin_open: bool = False


class Ground:
    """One installation's network and volumes; `clear` removes them with every container on it."""

    def __init__(self, client: DockerClient) -> None:
        self.client = client
        self.name = f"herotill-test-{secrets.token_hex(3)}"
        self._labels = {LABEL: self.name}
        self.subnet, self._network = self._free_network()

    def create(self, name: str, address: str, recipe: Recipe) -> Container:
        """Make a container with an address of its own, which the others know by name; it is not started."""
        container = self.client.containers.create(
            f"{recipe.image}:{recipe.tag}",
            recipe.command,
            entrypoint=recipe.entrypoint,
            environment=dict(recipe.environment),
            healthcheck={"test": ["CMD", *CHECKS[recipe.image]], **HOW_OFTEN},
            hostname=name,
            labels=self._labels,
            name=f"{self.name}-{name}",
            network=self._network.name,
            stdin_open=recipe.stdin_open,
            user=recipe.user,
            volumes=self._volumes(recipe.mounts),
        )  # fmt: skip
        # The address can be chosen only when joining.
        self._network.disconnect(container, force=True)
        self.join(container, name, address)
        return container

    def join(self, container: Container, name: str, address: str) -> None:
        """Put a container on the network."""
        self._network.connect(container, ipv4_address=address, aliases=[name])

    def leave(self, container: Container) -> None:
        """Take a container off the network: what is sent to it is lost."""
        self._network.disconnect(container)

    def clear(self) -> None:
        """Remove containers, volumes and the network, whatever state they are in."""
        mine = {"label": f"{LABEL}={self.name}"}
        for container in self.client.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
        for volume in self.client.volumes.list(filters=mine):
            volume.remove(force=True)
        self._network.remove()

    def _volumes(self, mounts: Mapping[str, str]) -> dict[str, dict[str, str]]:
        made = {}
        for volume, place in mounts.items():
            name = f"{self.name}-{volume}"
            self.client.volumes.create(name, labels=self._labels)
            made[name] = {"bind": place, "mode": "rw"}
        return made

    def _free_network(self) -> tuple[IPv4Network, Any]:
        for _ in range(100):
            subnet = IPv4Network(f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(256)}.0/24")
            ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))])
            if any(subnet.overlaps(taken) for taken in _routed()):
                continue
            with suppress(APIError):  # another network has it
                return subnet, self.client.networks.create(
                    self.name, driver="bridge", ipam=ipam, labels=self._labels
                )
        raise AssertionError("no network is free")


def wait_until(
    condition: Callable[[], bool], told: Callable[[], object] = lambda: "", seconds: float = DEADLINE_SECONDS
) -> float:
    """Poll until it is so and return how long that took; a database that does not answer is not so."""
    began = time.monotonic()
    while True:
        with suppress(ConnectionError):
            if condition():
                return time.monotonic() - began
        assert time.monotonic() - began < seconds, told()
        time.sleep(0.1)


def archive_of(path: Path) -> bytes:
    """Return a tar archive that holds this file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        data = path.read_bytes()
        entry = tarfile.TarInfo(path.name)
        entry.size, entry.mode = len(data), 0o644
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def _routed() -> list[IPv4Network]:
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    numbers = [(bytes.fromhex(row[1])[::-1], bytes.fromhex(row[7])[::-1]) for row in rows]
    return [IPv4Network((place, int.from_bytes(mask).bit_count())) for place, mask in numbers if any(mask)]
