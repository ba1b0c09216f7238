"""Which routers still send requests without Message-Authenticator, told while that is allowed (rule R33, CVE-2024-3596)."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas_simulator.credentials import Method
from nas_simulator.nas import SimulatedNas
from nas_simulator.outcomes import Rejected
from sync_daemon.settings import Settings
from tests.conftest import RunHerotill
from tests.contract.coa_fake_nas import wait_until
from tests.integration.conftest import INSERT_NAS, NAS_SECRET
from tests.integration.freeradius import Freeradius
from tests.integration.isp import GIB, PASSWORD, Isp, accepted, nas_settings
from tests.integration.workers import Workers

TOPIC = "Message-Authenticator"
ADDRESSES = {"new": "127.0.0.2", "old": "127.0.0.3", "idle": "127.0.0.4"}


@pytest.fixture
def isp(settings: Settings) -> Isp:
    """Anna, and three routers of which nothing was heard yet."""
    isp = Isp(settings)
    isp.enrol("anna")
    isp.offer("day", quota_octets=GIB)
    isp.sell("day", "anna")
    with isp.radius() as cursor:
        for name, address in ADDRESSES.items():
            cursor.execute(INSERT_NAS, (address, name, "mikrotik", NAS_SECRET))
    return isp


@pytest.fixture
def lenient(tmp_path: Path, settings: Settings, nas_secret: str, isp: Isp) -> Iterator[Freeradius]:
    """FreeRADIUS as `herotill freeradius install --allow-unsigned` sets it up."""
    server = Freeradius(tmp_path / "freeradius", settings, nas_secret, require_message_authenticator=False)
    server.start()
    yield server
    server.stop()


def test_r33_nas_test_tells_the_router_that_signs_from_the_one_that_does_not(
    lenient: Freeradius, isp: Isp, workers: Workers, run_herotill: RunHerotill
) -> None:
    # Given: of every password protocol an accepted login and a refused one, at a router that signs and one that does not.
    asyncio.run(_logins(lenient, "new", signs=True))
    asyncio.run(_logins(lenient, "old", signs=False))
    wait_until(lambda: _noted(isp) == (12, 6))
    # Then
    found = {name: _finding(run_herotill, lenient, name) for name in ADDRESSES}
    assert {name: finding["health"] for name, finding in found.items()} == {
        "new": "good", "old": "wrong", "idle": "unknown",
    }  # fmt: skip
    assert "all of the last 6 logins" in found["new"]["sentence"]
    assert "6 of the last 6 logins" in found["old"]["sentence"]
    assert _doctor(run_herotill, lenient)["health"] == "wrong"
    assert "old (127.0.0.3), 6 of 6 logins" in _doctor(run_herotill, lenient)["sentence"]
    assert "new" not in _doctor(run_herotill, lenient)["sentence"]


def test_r33_a_router_that_has_learned_to_sign_is_told_from_one_that_does_not(
    lenient: Freeradius, isp: Isp, workers: Workers, run_herotill: RunHerotill
) -> None:
    asyncio.run(_logins(lenient, "old", signs=False))
    asyncio.run(_logins(lenient, "old", signs=True))
    wait_until(lambda: _noted(isp) == (12, 6))
    # Then: that is not certain at once, since it may sign for one of its services and not for another.
    finding = _finding(run_herotill, lenient, "old")
    assert finding["health"] == "wrong"
    assert "6 of the last 12 logins, in none of the last 6" in finding["sentence"]
    # When a day has passed
    with isp.radius() as cursor:
        cursor.execute(
            "UPDATE radius.login_outcome SET occurred_at = occurred_at - interval '1 day' WHERE unsigned"
        )
    # Then
    assert _finding(run_herotill, lenient, "old")["health"] == "advice"
    assert _doctor(run_herotill, lenient)["health"] == "good"


async def _logins(server: Freeradius, name: str, *, signs: bool) -> None:
    settings = nas_settings(server, source_address=ADDRESSES[name], name=name, signs_access_requests=signs)
    async with SimulatedNas(settings) as nas:
        for method in Method:
            accepted(await nas.login("anna", PASSWORD, method=method))
            assert isinstance(await nas.login("anna", "not it", method=method), Rejected)


def _noted(isp: Isp) -> tuple[Any, ...]:
    return isp.ask("SELECT count(*), count(*) FILTER (WHERE unsigned) FROM radius.login_outcome")[0]


def _finding(run_herotill: RunHerotill, server: Freeradius, name: str) -> dict[str, Any]:
    return _named(run_herotill("nas", "test", name, "--raddb", str(server.raddb), "--json").output, TOPIC)


def _doctor(run_herotill: RunHerotill, server: Freeradius) -> dict[str, Any]:
    return _named(run_herotill("doctor", "--raddb", str(server.raddb), "--json").output, "unsigned routers")


def _named(output: str, topic: str) -> dict[str, Any]:
    found: dict[str, Any] = next(finding for finding in json.loads(output) if finding["topic"] == topic)
    return found
