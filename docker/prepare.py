"""Prepares the databases for the other containers: schema, roles and their passwords, and what to try it with. Repeatable.

Runs as the databases' owner, whom no other container of ours knows. `HEROTILL_PREPARE` may hold words: `example` fills empty
books with a month of a small ISP, or, where RADIUS has a database of its own, gives its region a group with one customer;
`simulated` lets any container of the same network ask, as simulated routers do.
"""

import os
import socket
import struct
import subprocess
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

import psycopg2
from psycopg2 import sql

from sync_daemon import database
from sync_daemon.settings import load_settings

SECRETS = Path("/run/secrets")
WAIT_SECONDS = 120.0
ROLES = {"herotill_daemon": "daemon/daemon-password", "herotill_radius": "radius/radius-password"}


def main(words: list[str]) -> None:
    """Prepare everything, in the order in which the one needs the other."""
    settings = load_settings(Path(os.environ["HEROTILL_CONFIG"]), Path(os.environ["HEROTILL_STATE"]))
    books, radius = database.billing_url(settings), database.radius_url(settings)
    urls = tuple(dict.fromkeys((books, radius)))
    for url in urls:
        wait_for(url)
    herotill("init")
    for url in urls:
        let_roles_log_in(url)
    if "example" in words:
        if database.are_apart(settings):
            settle(books, settings.region)
        elif is_empty(books):
            herotill("init", "--example")
    if "simulated" in words:
        for network in own_networks(Path("/proc/net/route").read_text()):
            add_simulated(radius, network)


def herotill(*arguments: str) -> None:
    """Run the command; what it refuses ends us too."""
    status = subprocess.run(("herotill", *arguments), check=False).returncode
    if status != 0:
        sys.exit(status)


def wait_for(url: str) -> None:
    """Wait until PostgreSQL takes connections."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            database.connect(url, "herotill init").close()
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                sys.exit(f"Error: the database does not answer: {error}")
            time.sleep(0.5)
        else:
            return


def let_roles_log_in(url: str) -> None:
    """Give the roles the passwords in the files; a changed file changes the password."""
    with database.transaction(url, "herotill init") as connection, connection.cursor() as cursor:
        for role, path in ROLES.items():
            password = (SECRETS / path).read_text().strip()
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
            cursor.execute(statement.format(sql.Identifier(role), sql.Literal(password)))


def is_empty(url: str) -> bool:
    """Whether there is nobody in the books."""
    with database.transaction(url, "herotill init") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM billing.customer)")
        row = cursor.fetchone()
    return row is not None and not row[0]


def settle(books: str, region: str) -> None:
    """Enter the region in the books, with a group of its name and a customer who may log in there and nowhere else."""
    herotill("sync", "apply", "--yes")
    with database.transaction(books, "herotill init") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM billing.customer_group WHERE name = %s)", (region,))
        row = cursor.fetchone()
    if row is not None and row[0]:
        return
    user, plan = f"{region}-1", f"{region} 100 GiB"
    password = ("--password-file", str(SECRETS / "nas/subscriber-password"))
    herotill("group", "add", region)
    herotill("group", "move", region, region, "--yes")
    herotill("plan", "add", plan, "--price", "0", "--quota", "100GiB")
    herotill("customer", "add", "--name", user, "--group", region, "--user", user, "--verified", *password)
    herotill("sell", plan, "--to", user, "--key", f"example:{user}")


def own_networks(routes: str) -> list[str]:
    """Return the IPv4 networks this container is in, from the kernel's table of routes."""
    rows = [line.split() for line in routes.splitlines()[1:]]
    numbers = [(int(row[1], 16), int(row[7], 16)) for row in rows]  # octets of an address stand in reverse
    return sorted(
        str(IPv4Network(tuple(socket.inet_ntoa(struct.pack("<I", each)) for each in pair)))
        for pair in numbers
        if pair[1]
    )


def add_simulated(url: str, network: str) -> None:
    """Let simulated routers ask, from whatever address of the network they have."""
    with database.transaction(url, "herotill init") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM radius.nas WHERE nasname = %s)", (network,))
        row = cursor.fetchone()
    if row is not None and not row[0]:
        secret = str(SECRETS / "nas/nas-secret")
        herotill(
            "nas", "add", "simulated", "--address", network, "--type", "mikrotik", "--secret-file", secret
        )


if __name__ == "__main__":
    main(os.environ.get("HEROTILL_PREPARE", "").split())
