"""A rolling upgrade under traffic: the schema first, then node by node, meter by meter, daemon by daemon."""

import io
import re
import tarfile
import time
from collections.abc import Mapping

import pytest
from docker.client import DockerClient

from tests.integration.docker.conftest import TAG, Measured
from tests.integration.docker.ground import wait_until
from tests.integration.docker.images import REPOSITORY
from tests.integration.docker.site import DAEMONS, METERS, NODES, PASSWORD, Site

pytestmark = pytest.mark.xdist_group("docker")

NEXT = "test-next"
USERS = 12
# What a release adds while the one before it is still at work: columns with a default, an index, a new table.
REVISION = '''
"""A release to come."""

from alembic import op

revision = "next"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("radius.managed_account", "radius.entitlement", "radius.radacct", "radius.usage_interval"):
        op.execute("ALTER TABLE " + table + " ADD COLUMN rehearsal integer NOT NULL DEFAULT 0")
    op.execute("CREATE INDEX radacct_rehearsal ON radius.radacct (rehearsal)")
    op.execute("CREATE TABLE radius.rehearsal (username text PRIMARY KEY)")
'''
DOCKERFILES = {
    "herotill": f"""
        FROM herotill:{TAG}
        USER 0
        COPY revision.py /revision.py
        RUN mv /revision.py /opt/herotill/lib/python3*/site-packages/sync_daemon/sql/versions/
        USER herotill
    """,
    "herotill-radius": f"FROM herotill-radius:{TAG}\nLABEL release=next",
}


@pytest.fixture
def next_images(client: DockerClient, images: object) -> None:
    """Images of a release to come, with a migration of its own."""
    revision = REVISION.replace("{head}", _head_revision())
    for name, text in DOCKERFILES.items():
        context = _context({"Dockerfile": text.replace("        ", ""), "revision.py": revision})
        client.images.build(fileobj=context, custom_context=True, tag=f"{name}:{NEXT}", rm=True)


def test_everything_is_replaced_under_traffic_without_a_failed_packet(
    next_images: None, own_site: Site, measured: Measured
) -> None:
    # given users who log in, use data, report and log out, all the time, on two routers that prefer different nodes
    site = own_site
    groups = {"router-1": NODES, "router-2": NODES[::-1]}
    users = {name: [f"{name}-{number}" for number in range(USERS)] for name in groups}
    site.enrol("endless", [user for those in users.values() for user in those], 10**12)
    routers = {name: site.router(name, servers) for name, servers in groups.items()}
    for name, router in routers.items():
        router.tell("start_traffic", users=users[name], password=PASSWORD, seed=len(name))
    for router in routers.values():
        wait_until(lambda router=router: router.tell("look")["sessions"] >= 2 * USERS)  # type: ignore[misc]
    began = time.monotonic()
    # when the schema is migrated, and one container after the other replaced
    site.prepare(NEXT)
    migrated_seconds = time.monotonic() - began
    for name in (*NODES, *METERS, *DAEMONS):
        site.replace(name, NEXT)
    upgraded_seconds = time.monotonic() - began
    told = {name: router.tell("end_traffic") for name, router in routers.items()}
    # then every packet was answered, nobody was refused by a rule, every octet counts once, and the schema is the new one
    assert {name: each["unanswered"] for name, each in told.items()} == dict.fromkeys(groups, 0)
    assert {name: each["refused"] for name, each in told.items()} == {name: [] for name in groups}
    for name, each in told.items():
        wait_until(
            lambda name=name, each=each: site.usage(users[name]) == each["totals"],  # type: ignore[misc]
            lambda name=name, each=each: (site.usage(users[name]), each),  # type: ignore[misc]
        )
    assert site.ask("SELECT version_num FROM public.alembic_version") == [{"version_num": "next"}]
    measured(
        "rolling upgrade of schema, nodes, meters and daemons",
        f"{sum(each['packets'] for each in told.values())} packets in {upgraded_seconds:.0f} s, all answered, "
        f"{sum(each['put_off'] for each in told.values())} logins put off, "
        f"the slowest after {max(each['longest_seconds'] for each in told.values())} s; "
        f"schema after {migrated_seconds:.1f} s; metered exactly",
    )


def _head_revision() -> str:
    texts = [path.read_text() for path in (REPOSITORY / "sql/versions").glob("*.py")]
    revisions = {found for text in texts for found in re.findall(r'^revision = "(\w+)"', text, re.MULTILINE)}
    left = {found for text in texts for found in re.findall(r'^down_revision = "(\w+)"', text, re.MULTILINE)}
    (head,) = revisions - left
    return str(head)


def _context(files: Mapping[str, str]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    made.seek(0)
    return made
