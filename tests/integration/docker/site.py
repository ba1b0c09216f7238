"""An installation in containers, as docker/compose.yaml has it: PostgreSQL, two RADIUS nodes, their meters, two daemons."""

import json
import secrets
from pathlib import Path
from typing import Any

from docker.client import DockerClient
from docker.models.containers import Container

from tests.integration.docker.ground import LIBRARY, PYTHON, Ground, Recipe, archive_of, wait_until
from tests.integration.docker.nas_container import Nas

HERE = Path(__file__).parent
JOURNAL = "/var/lib/herotill/journal"
PASSWORD = "correct horse"
NODES = ("radius-1", "radius-2")
METERS = ("meter-1", "meter-2")
DAEMONS = ("daemon-1", "daemon-2")
NAMES = ("database", "prepare", "secrets", *NODES, *METERS, *DAEMONS, "router-1", "router-2")
FIRST_ADDRESS = 10
DAEMON = {
    "HEROTILL_BILLING_URL": "postgresql://herotill_daemon@database/herotill",
    "HEROTILL_BILLING_PASSWORD_FILE": "/run/secrets/daemon/daemon-password",
    "HEROTILL_CLASS_SECRET_FILE": "/run/secrets/daemon/class-secret",
    "HEROTILL_VOUCHER_SECRET_FILE": "/run/secrets/daemon/voucher-secret",
}
OWNER = DAEMON | {
    "HEROTILL_BILLING_URL": "postgresql://postgres@database/herotill",
    "HEROTILL_BILLING_PASSWORD_FILE": "/run/secrets/owner/owner-password",
}
RADIUS = {
    "HEROTILL_BILLING_URL": "postgresql://herotill_radius@database/herotill",
    "HEROTILL_BILLING_PASSWORD_FILE": "/run/secrets/radius/radius-password",
    "HEROTILL_PACKET_TIME_URL": "postgresql://herotill_radius@database/herotill",
    "HEROTILL_PACKET_TIME_PASSWORD_FILE": "/run/secrets/radius/radius-password",
    "HEROTILL_CLASS_SECRET_FILE": "/run/secrets/radius/class-secret",
}
POSTGRES = {
    "POSTGRES_USER": "postgres",
    "POSTGRES_DB": "herotill",
    "POSTGRES_PASSWORD_FILE": "/run/secrets/owner/owner-password",
}


class Site:
    """The containers of one installation, by name. `close` removes all that `open` and its users made."""

    def __init__(self, client: DockerClient, tag: str) -> None:
        self.tag = tag
        self.ground = Ground(client)
        self.containers: dict[str, Container] = {}
        self._routers: dict[str, tuple[Nas, str]] = {}

    def open(self) -> None:
        """Start everything, each when what it needs is well."""
        secret_mounts = _secrets("owner", "daemon", "radius", "nas", below="/secrets")
        command = [f"{LIBRARY}/new_secrets.py", "/secrets"]
        self._run_to_its_end(
            "secrets", Recipe("herotill", self.tag, command, {}, secret_mounts, entrypoint=[PYTHON], user="0")
        )
        mounts = _secrets("owner") | {"database": "/var/lib/postgresql/data"}
        self._run("database", Recipe("herotill-postgres", self.tag, None, POSTGRES, mounts))
        self.wait_until_well("database")
        self.prepare(self.tag)
        for name in (*NODES, *METERS, *DAEMONS):
            self.start(name, self.tag)
        self.wait_until_well(*NODES, *METERS, *DAEMONS)

    def close(self) -> None:
        """Remove everything."""
        for nas, _ in self._routers.values():
            nas.close()
        self.ground.clear()

    def prepare(self, tag: str) -> None:
        """Bring the schema to what the image with this tag wants."""
        command = [PYTHON, f"{LIBRARY}/prepare.py"]
        self._run_to_its_end(
            "prepare", Recipe("herotill", tag, command, OWNER, _secrets("owner", "daemon", "radius"))
        )

    def start(self, name: str, tag: str) -> None:
        """Start a node, a meter or a daemon from the image with this tag."""
        kind, _, number = name.partition("-")
        node = {"HEROTILL_NODE": f"radius-{number}"}
        journal = {f"journal-{number}": JOURNAL}
        recipes = {
            "radius": Recipe("herotill-radius", tag, None, RADIUS | node, _secrets("radius") | journal),
            "meter": Recipe(
                "herotill",
                tag,
                ["herotill", "serve", "--only", "meter,metrics"],
                DAEMON | node,
                _secrets("daemon") | journal,
            ),
            "daemon": Recipe("herotill", tag, None, DAEMON, _secrets("daemon")),
        }
        self._run(name, recipes[kind])

    def replace(self, name: str, tag: str) -> None:
        """Stop a container as an upgrade does, and start it again from another image."""
        container = self.containers.pop(name)
        container.stop(timeout=20)
        container.remove(v=True)
        self.start(name, tag)
        self.wait_until_well(name)

    def address(self, name: str) -> str:
        """Return the address a container has, and keeps."""
        return str(self.ground.subnet[FIRST_ADDRESS + NAMES.index(name)])

    # Asking

    def wait_until_well(self, *names: str) -> None:
        """Wait until the health checks of these containers are content."""
        for name in names:
            wait_until(
                lambda name=name: self.health(name) == "healthy",  # type: ignore[misc]
                lambda name=name: f"{name} is {self.health(name)}: {self.tail(name)}",  # type: ignore[misc]
            )

    def health(self, name: str) -> str:
        """Return healthy, unhealthy, starting, or why there is no health to speak of."""
        container = self.containers[name]
        container.reload()
        state = container.attrs["State"]
        return str(state["Health"]["Status"] if state["Running"] else state["Status"])

    def tail(self, name: str) -> str:
        """Return the end of a container's log, for who reads a failure."""
        return str(self.containers[name].logs(tail=15).decode(errors="replace"))

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Ask the database, inside of its container: whatever the networks do. Raises ConnectionError."""
        wrapped = f"SELECT coalesce(json_agg(asked), '[]') FROM ({query}) AS asked"
        command = [
            "psql",
            "-U",
            "postgres",
            "-d",
            "herotill",
            "-qAtX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            wrapped,
        ]
        status, output = self.containers["database"].exec_run(command)
        if status != 0:
            raise ConnectionError(output.decode(errors="replace"))
        rows: list[dict[str, Any]] = json.loads(output)
        return rows

    def usage(self, users: list[str]) -> dict[str, list[int]]:
        """Return what was metered for these users: octets up and down."""
        names = ", ".join(f"'{user}'" for user in users)
        rows = self.ask(
            "SELECT username, sum(input_octets)::bigint AS up, sum(output_octets)::bigint AS down"
            f" FROM radius.usage_interval WHERE username IN ({names}) GROUP BY username"
        )
        return {row["username"]: [row["up"], row["down"]] for row in rows}

    def run_in(self, name: str, *command: str) -> str:
        """Run a command in a container; it must end well. Returns what it printed."""
        status, output = self.containers[name].exec_run(list(command))
        assert status == 0, output.decode(errors="replace")
        return str(output.decode())

    # Customers and routers

    def enrol(self, plan: str, users: list[str], quota_octets: int) -> None:
        """Enter users who have bought so many octets."""
        wanted = {"plan": plan, "users": users, "quota_octets": quota_octets, "password": PASSWORD}
        code = (HERE / "enrolment.py").read_text()
        self.run_in("daemon-1", PYTHON, "-c", code, json.dumps(wanted))

    def router(self, name: str, servers: tuple[str, ...] = NODES) -> Nas:
        """Return a router with a fresh memory, which asks these nodes in turn: three times each, a second apart."""
        if name in self._routers:
            self._routers[name][0].tell("close")
        else:
            self._routers[name] = self._new_router(name)
        nas, secret = self._routers[name]
        addresses = [self.address(server) for server in servers]
        nas.tell("open", servers=addresses, secret=secret, timeout=1.0, attempts=3)
        return nas

    def _new_router(self, name: str) -> tuple[Nas, str]:
        secret = secrets.token_hex(16)
        enter = f"echo {secret} | herotill nas add {name} --address {self.address(name)} --type mikrotik --secret-file -"
        self.run_in("daemon-1", "sh", "-c", enter)
        recipe = Recipe("herotill", self.tag, ["/tmp/nas_agent.py"], {}, {}, [PYTHON], stdin_open=True)
        container = self.ground.create(name, self.address(name), recipe)
        container.put_archive("/tmp", archive_of(HERE / "nas_agent.py"))
        nas = Nas(container)
        container.start()
        return nas, secret

    def _run(self, name: str, recipe: Recipe) -> None:
        self.containers[name] = self.ground.create(name, self.address(name), recipe)
        self.containers[name].start()

    def _run_to_its_end(self, name: str, recipe: Recipe) -> None:
        container = self.ground.create(name, self.address(name), recipe)
        container.start()
        status = container.wait(timeout=150)["StatusCode"]
        assert status == 0, container.logs().decode(errors="replace")
        container.remove(v=True)


def _secrets(*kinds: str, below: str = "/run/secrets") -> dict[str, str]:
    return {f"secrets-{kind}": f"{below}/{kind}" for kind in kinds}
